"""Small task graphs and clusters, drawn or by hand, and what every plan of them must keep."""

import dataclasses
import itertools
from itertools import pairwise

import pytest
from hypothesis import strategies as st

from keras_concurrent.board import Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.network import ClientComputer, Link, Network
from keras_concurrent.planning.simulator import replay
from keras_concurrent.planning.taskgraph import Task, TaskGraph

MS = 1e-3


def cluster_of(*gflops, call_ms=0.0, mbit=8.0, latency_ms=1.0, message_ms=0.0):
    """Boards p1, p2, ...; by default 1,000 bytes take 1 ms on the interface and 1 ms to arrive.

    Each end of a message, the client too, spends ``message_ms`` on it.
    """
    boards = tuple(
        Board(f"p{i}", rate, f"tcp/127.0.0.1:{7000 + i}", call_ms, message_ms=message_ms)
        for i, rate in enumerate(gflops, 1)
    )
    return Cluster(boards, Network(mbit, latency_ms), client=ClientComputer(message_ms, None))


def work(name, ms, reads, writes):
    """A task that takes some milliseconds on a board of 1 GFLOP/s."""
    return Task(name, int(ms * 1e6), tuple(reads.split()), tuple(writes.split()))


def check_replay(plan, cluster, *, calls):
    found = replay(plan, cluster, calls=calls)
    near = {"abs": 1e-9, "rel": 1e-9}
    planned = {slot.task: slot for slot in plan.slots}
    assert {slot.task for slot in found.slots} == planned.keys()
    for slot in found.slots:
        assert slot.board == planned[slot.task].board
        assert slot.start_s == pytest.approx(planned[slot.task].start_s, **near)
        assert slot.end_s == pytest.approx(planned[slot.task].end_s, **near)
        assert slot.sends_s == pytest.approx(planned[slot.task].sends_s, **near)
    sent = {(m.tensor, m.receiver): m for m in plan.messages}
    assert len(found.messages) == len(sent)
    for message in found.messages:
        expected = sent[message.tensor, message.receiver]
        assert (message.sender, message.bytes) == (expected.sender, expected.bytes)
        for moment in ("begun_s", "start_s", "sent_s", "arrival_s"):
            assert getattr(message, moment) == pytest.approx(getattr(expected, moment), **near)
    assert plan.latency_s == pytest.approx(found.latency_s, **near)


def check_valid(plan, cluster, *, calls):
    """Everything the execution model demands of a plan, on its own numbers."""
    graph = plan.graph
    tiny = 1e-9 * (1 + plan.latency_s)
    boards = {board.name: board for board in cluster.boards}
    assert [slot.task for slot in plan.slots] == [task.name for task in graph.tasks]
    assert len(set(plan.assignment)) == len(plan.slots) == len(graph.tasks)
    slot_of = {slot.task: slot for slot in plan.slots}
    for slot in plan.slots:
        board, task = boards[slot.board], graph.by_name[slot.task]
        seconds = graph.seconds_on(task, board) + (board.call_ms / 1e3 if calls else 0)
        assert slot.end_s - slot.start_s == pytest.approx(seconds, abs=tiny)
    arrival = {(tensor, "client"): 0.0 for tensor in graph.inputs}
    arrival |= {(t, slot_of[n].board): slot_of[n].end_s for t, n in graph.producer.items()}
    home = dict.fromkeys(graph.inputs, "client")
    home |= {tensor: slot_of[name].board for tensor, name in graph.producer.items()}
    wanted = {(t, slot_of[task.name].board) for task in graph.tasks for t in task.inputs}
    wanted |= {(tensor, "client") for tensor in graph.outputs}
    needed = {pair for pair in wanted if pair[1] != home[pair[0]]}
    sent = [(m.tensor, m.receiver) for m in plan.messages]
    assert sorted(sent) == sorted(needed)  # each once, none for nobody
    for m in plan.messages:
        assert m.sender == home[m.tensor]
        assert m.bytes == graph.tensor_bytes[m.tensor]
        assert m.begun_s >= arrival[m.tensor, m.sender] - tiny
        assert m.start_s >= m.begun_s + cluster.message_s(m.sender, m.bytes) - tiny
        held = m.bytes / cluster.bytes_per_s(m.sender, m.receiver)
        assert m.sent_s - m.start_s == pytest.approx(held, abs=tiny)
        travel = cluster.latency_s(m.sender, m.receiver)
        assert m.arrival_s - m.sent_s == pytest.approx(travel, abs=tiny)
        arrival[m.tensor, m.receiver] = m.arrival_s

    def in_hand(tensors, place, free, held):
        """When a place that is free from then on has taken in what it did not have before."""
        for tensor in sorted(tensors, key=lambda t: arrival[t, place]):
            new = tensor not in held and home[tensor] != place
            taking = cluster.message_s(place, graph.tensor_bytes[tensor]) if new else 0
            free = max(free, arrival[tensor, place]) + taking
            held.add(tensor)
        return free

    for name in boards:
        own = [slot for slot in plan.slots if slot.board == name]
        assert tuple(slot.task for slot in own) == plan.tasks_on(name)
        free, held = 0.0, set()
        for slot in own:
            inputs = graph.by_name[slot.task].inputs
            assert slot.start_s >= in_hand(inputs, name, free, held) - tiny
            sent = [m for m in plan.messages if graph.producer.get(m.tensor) == slot.task]
            sending = sum(cluster.message_s(name, m.bytes) for m in sent)
            assert slot.sends_s == pytest.approx(sending, abs=tiny)
            free = slot.end_s + sending
    for interface in {cluster.interface(name) for name in ("client", *boards)}:
        own = [m for m in plan.messages if cluster.interface(m.sender) == interface]
        assert all(a.sent_s <= b.start_s + tiny for a, b in pairwise(own))
    last = in_hand(graph.outputs, "client", 0.0, set())
    assert plan.latency_s == pytest.approx(last, abs=tiny)


@st.composite
def graphs(draw, most=10, least_flops=1):
    """Random tasks that read anything written before them; a task may write two tensors."""
    inputs = tuple(f"image{i}" for i in range(draw(st.integers(1, 2))))
    sizes = {name: draw(st.integers(1, 50_000)) for name in inputs}
    tasks, written = [], list(inputs)
    for i in range(draw(st.integers(1, most))):
        reads = draw(st.lists(st.sampled_from(written), max_size=3, unique=True))
        writes = [f"x{i}_{k}" for k in range(draw(st.sampled_from([1, 1, 1, 2])))]
        flops = draw(st.integers(least_flops, 20_000_000))
        tasks.append(Task(f"t{i}", flops, tuple(reads), tuple(writes)))
        sizes |= {name: draw(st.integers(1, 50_000)) for name in writes}
        written += writes
    read = {name for task in tasks for name in task.inputs}
    outputs = [t for task in tasks for t in task.outputs if t not in read]
    also = draw(st.sampled_from([t for task in tasks for t in task.outputs]))  # read and given
    return TaskGraph(tuple(tasks), sizes, inputs, tuple(dict.fromkeys([*outputs, also])))


@st.composite
def round_graphs(draw, most=10):
    """Few different durations and sizes, and none at all: everything ties."""
    graph = draw(graphs(most))
    tasks = tuple(
        dataclasses.replace(task, flops=draw(st.sampled_from([0, 1_000_000, 2_000_000])))
        for task in graph.tasks
    )
    sizes = {name: draw(st.sampled_from([0, 1000, 2000])) for name in graph.tensor_bytes}
    return dataclasses.replace(graph, tasks=tasks, tensor_bytes=sizes)


CALLS_MS = st.floats(0, 1)


def messaging(costs):
    return dict(zip(("message_ms", "message_gb_per_s"), costs, strict=True))


@st.composite
def clusters(draw, call=CALLS_MS, costly=True):
    """Boards and links of all kinds; ``costly``: messages take processors some time."""
    rates = draw(st.lists(st.sampled_from([0.5, 1.0, 2.5, 2.5, 10.0]), min_size=1, max_size=4))
    bandwidths, latencies = (
        st.sampled_from([1.0, 20.0, 100.0, 1000.0]),
        st.sampled_from([0, 0.2, 2]),
    )
    costs = [(0.0, None), (0.3, None), (0.1, 0.02)] if costly else [(0.0, None)]
    messages = st.sampled_from(costs)
    names = [f"p{i}" for i in range(len(rates))]
    pairs = list(itertools.combinations(["client", *names], 2))
    odd = draw(st.lists(st.sampled_from(pairs), max_size=2, unique=True))
    return Cluster(
        tuple(
            Board(name, rate, f"tcp/127.0.0.1:{7000 + i}", draw(call), **messaging(draw(messages)))
            for i, (name, rate) in enumerate(zip(names, rates, strict=True))
        ),
        Network(
            draw(bandwidths),
            draw(latencies),
            draw(st.sampled_from(["switch", "switch", "shared"])),
        ),
        tuple(Link(pair, draw(bandwidths), draw(latencies)) for pair in odd),
        ClientComputer(*draw(messages), on=draw(st.sampled_from([None, None, *names]))),
    )


#   image (2,000 bytes) -> a (4 ms) -> x, w (1,000 each)     a, d on p1
#   image -> b (2 ms) -> y                                   b, c on p2
#   x, w, y -> c (1 ms) -> first (500)
#   x -> d (5 ms) -> second (1,000)
BY_HAND = TaskGraph(
    (
        work("a", 4, "image", "x w"),
        work("b", 2, "image", "y"),
        work("c", 1, "x w y", "first"),
        work("d", 5, "x", "second"),
    ),
    {"image": 2000, "x": 1000, "w": 1000, "y": 70_000, "first": 500, "second": 1000},
    ("image",),
    ("first", "second"),
)


ON = {"a": "p1", "d": "p1", "b": "p2", "c": "p2"}


def with_memory(cluster, *megabytes):
    boards = tuple(
        dataclasses.replace(board, memory_mb=mb)
        for board, mb in zip(cluster.boards, megabytes, strict=True)
    )
    return dataclasses.replace(cluster, boards=boards)


# image (1,000) -> a (600 kB of weights) -> x (1,000) -> b (600 kB) -> answer (1,000)
HEAVY = TaskGraph(
    (
        dataclasses.replace(work("a", 1, "image", "x"), parameter_bytes=600_000),
        dataclasses.replace(work("b", 1, "x", "answer"), parameter_bytes=600_000),
    ),
    {"image": 1000, "x": 1000, "answer": 1000},
    ("image",),
    ("answer",),
)
