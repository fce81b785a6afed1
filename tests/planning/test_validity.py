"""Ten thousand random plans, each valid by the execution model's own rules and by its replay."""

import itertools
import random

import pytest
from plans import check_valid

from keras_concurrent.board import CLIENT, Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.errors import ClusterError
from keras_concurrent.network import ClientComputer, Link, Network
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.schedule import schedule
from keras_concurrent.planning.segments import merge_segments
from keras_concurrent.planning.simulator import replay
from keras_concurrent.planning.taskgraph import Task, TaskGraph

CASES, PARTS = 10_000, 10
TINY = 1e-9


def draw_graph(rng):
    """Up to 30 tasks; each reads up to three tensors written before it."""
    sizes = {f"image{i}": rng.randint(1, 50_000) for i in range(rng.choice((1, 1, 2)))}
    images, written, tasks = tuple(sizes), [*sizes], []
    for i in range(rng.randint(1, 30)):
        recent = written[-rng.choice((3, 8, 40)) :]
        reads = rng.sample(recent, min(len(recent), rng.randint(1, 3)))
        writes = tuple(f"x{i}_{k}" for k in range(rng.choice((1, 1, 1, 2))))
        work = rng.choice((0, 100_000, rng.randint(1, 20_000_000)))
        tasks.append(Task(f"t{i}", work, tuple(reads), writes, rng.randint(0, 100_000), (i,)))
        sizes |= {name: rng.randint(0, 50_000) for name in writes}
        written += writes
    read = {name for task in tasks for name in task.inputs}
    outputs = [name for task in tasks for name in task.outputs if name not in read]
    return TaskGraph(tuple(tasks), sizes, images, (*outputs,))


def draw_cluster(rng):
    """Up to 8 boards; some of another speed, with little memory, behind a slow link, on WiFi.

    Messages cost nothing, or each of the boards something else; the client may be on a board.
    """
    rates = [rng.choice((1.0, 2.5, 2.5, 10.0)) for _ in range(rng.randint(1, 8))]
    tight = rng.random() < 0.3
    most_ms = rng.choice((0.0, 0.5, 2.0))
    boards = tuple(
        Board(f"b{i}", rate, f"tcp/127.0.0.1:{7000 + i}", rng.choice((0.0, 0.1)),
              rng.uniform(0.2, 3.0) if tight else None, message_ms=most_ms * rng.choice((0.2, 1)),
              message_gb_per_s=rng.choice((0.02, 1.0)) if most_ms else None)
        for i, rate in enumerate(rates)
    )  # fmt: skip
    own = rng.choice((None, None, boards[0].name))
    client = ClientComputer(most_ms / 5, 0.1 if most_ms else None, on=own)
    pairs = list(itertools.combinations([CLIENT, *(board.name for board in boards)], 2))
    odd = rng.sample(pairs, min(len(pairs), rng.choice((0, 0, 1, 3))))
    links = tuple(Link(pair, rng.choice((5.0, 500.0)), rng.choice((0.0, 3.0))) for pair in odd)
    medium = rng.choice(("switch", "switch", "shared"))
    network = Network(rng.choice((10.0, 100.0, 1000.0)), 0.5, medium)
    return Cluster(boards, network, links, client)


def check(plan, cluster, pins):
    """Pins and memory; all else is everything's that is a plan."""
    slots = {slot.task: slot for slot in plan.slots}
    assert all(slots[task].board == board for task, board in pins.items() if task in slots)
    held = {board.name: set() for board in cluster.boards}
    weights = dict.fromkeys(held, 0)
    for task in plan.graph.tasks:
        board = slots[task.name].board
        held[board].update(task.inputs, task.outputs)
        weights[board] += task.parameter_bytes
    for board in cluster.boards:
        needed = weights[board.name] + sum(plan.graph.tensor_bytes[t] for t in held[board.name])
        assert needed <= board.memory_bytes


@pytest.mark.parametrize("part", range(PARTS))
def test_every_plan_is_valid_and_replays_to_its_own_times(part):
    refused = 0
    for seed in range(part, CASES, PARTS):
        rng = random.Random(seed)
        graph, cluster = draw_graph(rng), draw_cluster(rng)
        names = [board.name for board in cluster.boards]
        pinned = rng.sample(sorted(graph.by_name), min(len(graph.tasks), rng.choice((0, 0, 2))))
        pins = {name: rng.choice(names) for name in pinned}
        try:
            plan = schedule(
                graph, cluster, effort=Effort(rng.choice((0, 30)), seed=seed), pins=pins
            )
        except ClusterError:
            refused += 1
            continue
        segments = merge_segments(plan, cluster)
        for found, calls in ((plan, False), (segments, True)):
            check(found, cluster, pins if found is plan else {})
            check_valid(found, cluster, calls=calls)
            replayed = replay(found, cluster, calls=calls)
            assert abs(replayed.latency_s - found.latency_s) < TINY
        # Segments keep their tasks' boards, and their quotient is acyclic: a TaskGraph must be.
        home = {
            operator: segments.assignment[task.name]
            for task in segments.graph.tasks
            for operator in task.operators
        }
        assert home == {
            operator: plan.assignment[task.name]
            for task in plan.graph.tasks
            for operator in task.operators
        }
    assert refused < 0.3 * CASES / PARTS
