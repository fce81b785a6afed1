import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent.board import Board
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.planning.chains import chains_as_tasks, vertices
from keras_concurrent.planning.taskgraph import Task, TaskGraph


def chain(*sizes, flops=10):
    """image -> t0 -> t1 -> ...; sizes of the image and of every task's tensor."""
    tensors = ["image", *(f"x{i}" for i in range(len(sizes) - 1))]
    tasks = tuple(
        Task(f"t{i}", flops, (tensors[i],), (tensors[i + 1],)) for i in range(len(sizes) - 1)
    )
    sizes = dict(zip(tensors, sizes, strict=True))
    return TaskGraph(tasks, sizes, ("image",), (tensors[-1],))


# image -> a -> {b, c} -> d -> answer; a writes a second tensor that only c reads.
DIAMOND = TaskGraph(
    (
        Task("a", 1, ("image",), ("a0", "a1"), 100, (0,), ("vertex_0",)),
        Task("b", 2, ("a0",), ("b0",), 200, (1,), ("vertex_1",)),
        Task("c", 4, ("a0", "a1"), ("c0",), 400, (2,), ("vertex_1",)),
        Task("d", 8, ("b0", "c0"), ("answer",), 800, (3,), ("vertex_2",)),
    ),
    {"image": 10, "a0": 20, "a1": 30, "b0": 40, "c0": 50, "answer": 60},
    ("image",),
    ("answer",),
)


def test_who_reads_whom():
    assert DIAMOND.predecessors == {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    assert DIAMOND.successors == {"a": ("b", "c"), "b": ("d",), "c": ("d",), "d": ()}
    assert DIAMOND.consumers["a0"] == ("b", "c")
    assert DIAMOND.consumers["answer"] == ()
    assert DIAMOND.producer == {"a0": "a", "a1": "a", "b0": "b", "c0": "c", "answer": "d"}
    assert DIAMOND.flops == 1 + 2 + 4 + 8


def test_a_group_becomes_one_task_that_hides_its_inner_tensors():
    merged = DIAMOND.quotient([["c", "a"], ["b"], ["d"]])
    assert merged.tasks == (
        Task("a", 1 + 4, ("image",), ("a0", "c0"), 500, (0, 2), ("vertex_0", "vertex_1")),
        Task("b", 2, ("a0",), ("b0",), 200, (1,), ("vertex_1",)),
        Task("d", 8, ("b0", "c0"), ("answer",), 800, (3,), ("vertex_2",)),
    )
    assert merged.tensor_bytes == {"image": 10, "a0": 20, "b0": 40, "c0": 50, "answer": 60}
    assert (merged.inputs, merged.outputs) == (("image",), ("answer",))


def test_everything_merged_reads_the_image_and_gives_the_answer():
    (task,) = DIAMOND.quotient([["d", "b", "c", "a"]]).tasks
    assert task == Task(
        "a", 15, ("image",), ("answer",), 1500, (0, 1, 2, 3), ("vertex_0", "vertex_1", "vertex_2")
    )


def test_an_output_stays_one_even_where_the_group_reads_it():
    graph = dataclasses.replace(DIAMOND, outputs=("answer", "b0"))
    merged = graph.quotient([["a"], ["b", "c", "d"]])
    assert merged.tasks[1].outputs == ("b0", "answer")


def test_groups_that_wait_for_each_other_are_refused_by_name():
    with pytest.raises(ValueError, match="must not wait for each other; these do: a, b"):
        DIAMOND.quotient([["a", "d"], ["b"], ["c"]])
    # Those behind a cycle wait too.
    longer = chain(1, 1, 1, 1, 1)
    with pytest.raises(ValueError, match="these do: t0, t1, t3"):
        longer.quotient([["t0", "t2"], ["t1"], ["t3"]])


def test_groups_that_are_no_partition_are_refused():
    with pytest.raises(ValueError, match="task 'b' is in two groups"):
        DIAMOND.quotient([["a", "b"], ["b", "c"], ["d"]])
    with pytest.raises(ValueError, match="groups hold 3 of 4 tasks"):
        DIAMOND.quotient([["a", "b"], ["c"]])


@pytest.mark.parametrize("more", [["nobody"], []])
def test_an_unknown_task_or_an_empty_group_is_refused(more):
    with pytest.raises(ValueError, match="group"):
        DIAMOND.quotient([["a"], ["b"], ["c"], ["d"], more])


def random_graph(data, count):
    tasks, sizes = [], {"image": data.draw(st.integers(1, 100))}
    written = ["image"]
    for i in range(count):
        reads = data.draw(st.lists(st.sampled_from(written), min_size=1, max_size=3, unique=True))
        writes = [f"x{i}_{k}" for k in range(data.draw(st.integers(1, 2)))]
        tasks.append(Task(f"t{i}", data.draw(st.integers(0, 50)), tuple(reads), tuple(writes)))
        sizes |= {name: data.draw(st.integers(1, 100)) for name in writes}
        written += writes
    read = {name for task in tasks for name in task.inputs}
    unread = tuple(name for name in written if name not in read and name != "image")
    return TaskGraph(tuple(tasks), sizes, ("image",), unread)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), count=st.integers(1, 12))
def test_a_quotient_keeps_work_and_every_crossing_tensor(data, count):
    graph = random_graph(data, count)
    group_of = {task.name: data.draw(st.integers(0, 3)) for task in graph.tasks}
    groups = [[n for n in group_of if group_of[n] == g] for g in set(group_of.values())]
    crossing = {
        (a, b)
        for b, before in graph.predecessors.items()
        for a in before
        if group_of[a] != group_of[b]
    }
    edges = {(group_of[a], group_of[b]) for a, b in crossing}
    cyclic = _has_cycle(edges)
    if cyclic:
        with pytest.raises(ValueError, match="must not wait for each other"):
            graph.quotient(groups)
        return
    merged = graph.quotient(groups)  # its constructor checks the order
    assert merged.flops == graph.flops
    assert len(merged.tasks) == len(groups)
    assert (merged.inputs, merged.outputs) == (graph.inputs, graph.outputs)
    crossed = {t for a, b in crossing for t in graph.by_name[a].outputs if b in graph.consumers[t]}
    written = {t for task in merged.tasks for t in task.outputs}
    assert written == crossed | set(graph.outputs)
    assert all(merged.tensor_bytes[t] == graph.tensor_bytes[t] for t in written)
    # A group is named after its first task.
    order = [task.name for task in graph.tasks]
    assert {t.name for t in merged.tasks} == {min(g, key=order.index) for g in groups}


def _has_cycle(edges):
    nodes = {n for edge in edges for n in edge}
    while nodes:
        free = {n for n in nodes if not any(b == n and a in nodes for a, b in edges)}
        if not free:
            return True
        nodes -= free
    return False


def test_a_chain_is_merged_where_no_cut_between_can_pay():
    # 10 -> 20 -> 5 -> 30: after t0 the tensor is larger than before it, and than behind t1.
    merged = chains_as_tasks(chain(10, 20, 5, 30))
    assert [task.name for task in merged.tasks] == ["t0", "t2"]
    assert merged.tasks[0].outputs == ("x1",)
    # 10 -> 8 -> 5: a cut behind t1 sends less than one before it.
    assert [task.name for task in chains_as_tasks(chain(10, 8, 5)).tasks] == ["t0"]


def test_a_chain_stays_apart_where_the_tensor_between_is_the_smallest():
    assert [t.name for t in chains_as_tasks(chain(10, 5, 8)).tasks] == ["t0", "t1"]
    # Equal ones gain nothing.
    assert [t.name for t in chains_as_tasks(chain(10, 10, 10, 10)).tasks] == ["t0"]


def test_a_tensor_with_two_readers_or_that_is_an_answer_is_kept():
    assert len(chains_as_tasks(DIAMOND).tasks) == 4


def test_operators_go_with_their_only_reader_of_the_same_vertex():
    def task(name, reads, writes, *known):
        return Task(name, 1, tuple(reads.split()), (writes,), 8, vertices=known)

    sizes = dict.fromkeys(("image", "conv", "squashed", "a", "b", "sum", "end"), 10)
    graph = TaskGraph(
        (
            task("conv", "image", "conv", "v0"),
            task("squash", "conv", "squashed", "v1"),
            task("times", "squashed", "a", "v1"),  # v2 reads the same: squash stays alone
            task("pool", "conv", "pooled", "v1"),  # hands on less than it reads: alone
            task("widen", "pooled", "b", "v1"),
            task("add", "a b", "sum", "v1"),
            task("other", "squashed sum", "end", "v2"),  # another vertex: add stays its own
        ),
        {**sizes, "pooled": 5},
        ("image",),
        ("end",),
    )

    def grouped(**how):
        return sorted(sorted(group) for group in vertices(graph, **how))

    alone = [["conv"], ["other"], ["pool"], ["squash"]]
    assert grouped() == sorted([*alone, ["add", "times", "widen"]])
    assert grouped(pins={"times": "p1"}) == sorted([*alone, ["times"], ["add", "widen"]])
    assert grouped(most_bytes=16) == sorted([*alone, ["add", "times"], ["widen"]])
    graph.quotient(vertices(graph))  # no two groups wait for each other
    answer = dataclasses.replace(chain(10, 10, 10), outputs=("x0", "x1"))
    assert len(chains_as_tasks(answer).tasks) == 2


@settings(max_examples=60, deadline=None)
@given(data=st.data(), count=st.integers(1, 12))
def test_merging_chains_loses_no_work_and_hides_only_tensors_of_chains(data, count):
    graph = random_graph(data, count)
    merged = chains_as_tasks(graph)
    assert merged.flops == graph.flops
    kept = {t for task in merged.tasks for t in (*task.inputs, *task.outputs)}
    for tensor in set(graph.tensor_bytes) - kept - set(graph.inputs):
        (reader,) = graph.consumers[tensor]  # only a chain's inner tensor may vanish
        assert set(graph.by_name[reader].inputs) == set(
            graph.by_name[graph.producer[tensor]].outputs
        )


@settings(max_examples=80, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=10))
def test_for_every_cut_that_vanished_a_kept_one_sends_no_more(sizes):
    graph = chain(*sizes)
    merged = chains_as_tasks(graph)
    kept = {task.inputs[0] for task in merged.tasks} | set(graph.outputs)
    names = list(graph.tensor_bytes)
    for i, name in enumerate(names):
        if name in kept:
            continue
        before = max(k for k in range(i) if names[k] in kept)
        behind = min(k for k in range(i, len(names)) if names[k] in kept)
        assert graph.tensor_bytes[name] >= min(sizes[before], sizes[behind])


def rated(gflops, int8=None):
    """A board."""
    return Board("p1", gflops, "tcp/127.0.0.1:7447", int8_gops_per_s=int8)


def test_durations_follow_flops_until_measured():
    graph = chain(1, 1, 1, flops=4_000_000)
    assert graph.seconds_on(graph.tasks[0], rated(2)) == 0.002
    timed = graph.timed({"t0": 0.5, "t1": 0.25}, flops_per_s=1e9)
    # Measured at 1 GFLOP/s: a board of 2 takes half as long.
    assert timed.seconds_on(timed.tasks[0], rated(1)) == 0.5
    assert timed.seconds_on(timed.tasks[0], rated(2)) == 0.25
    assert timed.seconds_on(timed.tasks[1], rated(0.5)) == 0.5
    merged = timed.quotient([["t0", "t1"]])
    assert merged.seconds_on(merged.tasks[0], rated(1)) == 0.75
    assert graph.tasks[0].seconds is None  # the graph itself did not change


def test_int8_operations_take_what_the_boards_int8_rate_says_until_measured():
    first, second = chain(1, 1, 1, flops=4_000_000).tasks
    graph = dataclasses.replace(
        chain(1, 1, 1), tasks=(dataclasses.replace(first, int8_flops=4_000_000), second)
    )
    # 4 MFLOP: 2 ms in float32, 0.5 ms in int8; a board that says nothing of int8 is no faster.
    assert [graph.seconds_on(task, rated(2, 8)) for task in graph.tasks] == [0.0005, 0.002]
    assert graph.seconds_on(graph.tasks[0], rated(2)) == 0.002
    (both,) = graph.quotient([["t0", "t1"]]).tasks
    assert graph.seconds_on(both, rated(2, 8)) == pytest.approx(0.0025)
    assert graph.seconds_on(both, rated(2, 8).faster(5)) == pytest.approx(0.0005)
    timed = graph.timed({"t0": 0.5, "t1": 0.25}, flops_per_s=2e9)
    assert timed.seconds_on(timed.tasks[0], rated(2, 8)) == 0.5


def test_a_group_with_an_unmeasured_task_falls_back_to_flops():
    tasks = (
        dataclasses.replace(chain(1, 1, 1).tasks[0], seconds=0.5),
        chain(1, 1, 1).tasks[1],
    )
    graph = dataclasses.replace(chain(1, 1, 1), tasks=tasks, measured_at_flops_per_s=1e9)
    (whole,) = graph.quotient([["t0", "t1"]]).tasks
    assert whole.seconds is None
    assert graph.seconds_on(whole, rated(1)) == 20 / 1e9


def test_an_architecture_gives_one_task_a_vertex():
    architecture = stage(generate("DP", 12, seed=1), (16, 16, 3), 10)
    graph = TaskGraph.from_architecture(architecture)
    assert [task.name for task in graph.tasks] == [block.name for block in architecture.blocks]
    assert graph.inputs == ("source",)
    assert graph.tensor_bytes["source"] == 16 * 16 * 3 * 4
    assert graph.outputs == architecture.outputs
    for task, block in zip(graph.tasks, architecture.blocks, strict=True):
        assert task.flops == architecture.block_flops[block.name]
        assert task.inputs == block.inputs
        height, width, channels = architecture.shapes[block.name]
        # The sink takes the averages of the last blocks, so nothing more travels.
        positions = 1 if block.name in architecture.outputs else height * width
        assert graph.tensor_bytes[block.name] == positions * channels * 4


def test_a_merging_sink_takes_whole_tensors():
    architecture = stage(generate("DP", 12, seed=1), (16, 16, 3), 10, head="merge")
    graph = TaskGraph.from_architecture(architecture)
    for name in architecture.outputs:
        assert graph.tensor_bytes[name] == architecture.block_bytes(name)


@pytest.mark.parametrize(
    ("tasks", "sizes", "message"),
    [
        ([Task("a", 1, ("x",), ("y",))], {"y": 1}, "task 'a' reads 'x' before it is written"),
        (
            [Task("a", 1, (), ("y",)), Task("b", 1, (), ("y",))],
            {"y": 1},
            "tensor 'y' is written twice",
        ),
        ([Task("a", 1, (), ("y",))], {}, "tensor 'y' has no size"),
        ([Task("a", 1, (), ("image",))], {"image": 1, "y": 1}, "tensor 'image' is written twice"),
    ],
)
def test_an_impossible_graph_is_refused(tasks, sizes, message):
    with pytest.raises(ValueError, match=message):
        TaskGraph(tuple(tasks), sizes, ("image",) if "image" in sizes else (), ("y",))


def test_an_answer_that_nobody_writes_is_refused():
    with pytest.raises(ValueError, match="'y'"):
        TaskGraph((Task("a", 1, (), ("x",)),), {"x": 1, "y": 1}, (), ("y",))


def test_two_tasks_of_one_name_are_refused():
    with pytest.raises(ValueError, match="'a'"):
        TaskGraph((Task("a", 1, (), ("x",)), Task("a", 1, (), ("y",))), {"x": 1, "y": 1}, (), ())


def test_a_graph_in_int8_has_the_same_flops_and_a_quarter_of_the_bytes():
    task = Task("a", 1000, ("x",), ("y",), parameter_bytes=400, touched_bytes=800, operator_count=2)
    graph = TaskGraph((task,), {"x": 40, "y": 6}, ("x",), ("y",))
    lighter = graph.in_int8()
    board = Board("b", 1e-6, "tcp/127.0.0.1:1", int8_gops_per_s=4e-6, tensor_gb_per_s=1e-6)
    assert lighter.tensor_bytes == {"x": 10, "y": 2}
    assert graph.seconds_on(task, board) == pytest.approx(1 + 0.8)
    assert lighter.seconds_on(lighter.tasks[0], board) == pytest.approx(0.25 + 0.2)
    assert lighter.tasks[0].parameter_bytes == 100
    assert lighter.in_int8() is None
    assert graph.timed({"a": 1.0}, 1e3).in_int8() is None
