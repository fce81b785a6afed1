"""Ways to group a file's operators, and the comparison of the pieces with the whole."""

import numpy as np

from keras_concurrent.interpreter import Segment
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile


def image_for(file, seed=0):
    """A random value for each of the model's inputs."""
    rng = np.random.default_rng(seed)
    images = []
    for name in file.inputs:
        info = file.tensors[name]
        if np.issubdtype(info.dtype, np.floating):
            images.append(rng.random(info.shape).astype(info.dtype))
        else:
            limits = np.iinfo(info.dtype)
            images.append(rng.integers(limits.min, limits.max, info.shape, info.dtype, True))
    return dict(zip(file.inputs, images, strict=True))


def run(content, values):
    """Run a piece on the tensors that it names, and add what it gives."""
    segment = Segment(content)
    results = segment.run([values[name] for name in segment.input_names])
    values.update(zip(segment.output_names, results, strict=True))


def check_pieces(file, groups, seed=0):
    """Cut the groups, run the pieces one after another, compare with the whole, bit for bit."""
    merged = TaskGraph.from_tflite(file).quotient(groups)
    values = image_for(file, seed)
    answers = Segment(file.data).run([values[name] for name in file.inputs])
    # An untrained network's answer hardly depends on its image: look at what crosses, too.
    crossing = sorted({t for task in merged.tasks for t in task.outputs} - set(file.outputs))
    watched = dict(values)
    run(file.cut(range(len(file.operators)), file.inputs, crossing), watched)
    for task in merged.tasks:
        piece = file.cut(task.operators, task.inputs, task.outputs)
        assert TfliteFile(piece).inputs == task.inputs
        assert TfliteFile(piece).outputs == task.outputs
        run(piece, values)
    for name, answer in zip(file.outputs, answers, strict=True):
        np.testing.assert_array_equal(values[name], answer)
    for name in crossing:
        np.testing.assert_array_equal(values[name], watched[name])
    ran = sorted(index for task in merged.tasks for index in task.operators)
    assert ran == [operator.index for operator in file.operators if not operator.constant]
    return watched


def check_strips(file, split, threads=1):
    """Strips answer bit for bit as the whole, and none of their tensors is empty."""
    values = image_for(file)
    whole = Segment(file.data, threads).run(list(values.values()))
    parts = Segment(split.file.data, threads).run(split.banded(values))
    assert split.file.outputs == file.outputs
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(0 not in tensor.shape for tensor in split.file.tensors.values())


def random_order(graph, rng):
    """A random topological order of the tasks."""
    waiting = {name: len(before) for name, before in graph.predecessors.items()}
    ready = [name for name, count in waiting.items() if not count]
    order = []
    while ready:
        order.append(ready.pop(rng.randrange(len(ready))))
        for later in graph.successors[order[-1]]:
            waiting[later] -= 1
            if not waiting[later]:
                ready.append(later)
    return order


def random_groups(graph, rng, pieces):
    """A random topological order, chopped at random."""
    order = random_order(graph, rng)
    bounds = sorted(rng.sample(range(1, len(order)), min(pieces, len(order)) - 1))
    return [order[a:b] for a, b in zip([0, *bounds], [*bounds, len(order)], strict=True)]


def board_groups(graph, rng, boards, stay=0.8):
    """Tasks on random boards, mostly where one of their inputs is; a board's tasks between waits.

    A group is what a board can run once it has waited so and so often for another, so a group may
    fall into parts that do not touch, and no two groups wait for each other.
    """
    board, waits, groups = {}, {}, {}
    for name in random_order(graph, rng):
        before = graph.predecessors[name]
        if before and rng.random() < stay:
            board[name] = board[rng.choice(before)]
        else:
            board[name] = rng.randrange(boards)
        waits[name] = max((waits[b] + (board[b] != board[name]) for b in before), default=0)
        groups.setdefault((board[name], waits[name]), []).append(name)
    return list(groups.values())
