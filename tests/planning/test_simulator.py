from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent.board import Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.network import ClientComputer, Network
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.planning.schedule import Message, Plan, Slot, decode, schedule
from keras_concurrent.planning.simulator import replay
from keras_concurrent.planning.taskgraph import Task, TaskGraph


def two_boards(message_s=0.0, client_s=0.0, **network):
    """1 FLOP a second, 1 byte a second, 10 s on the wire."""
    how = {"bandwidth_mbit_per_s": 8e-6, "latency_ms": 1e4, **network}
    boards = tuple(
        Board(name, 1e-9, f"tcp/127.0.0.1:{port}", 0.0, message_ms=message_s * 1e3)
        for name, port in (("a", 1), ("b", 2))
    )
    return Cluster(boards, Network(**how), client=ClientComputer(client_s * 1e3, None))


def graph():
    tasks = (
        Task("first", 5, ("image",), ("x",)),
        Task("left", 7, ("x",), ("y",)),
        Task("right", 3, ("x",), ("z",)),
        Task("last", 2, ("y", "z"), ("answer",)),
    )
    sizes = {"image": 4, "x": 6, "y": 1, "z": 2, "answer": 1}
    return TaskGraph(tasks, sizes, ("image",), ("answer",))


def test_a_plan_by_hand():
    assignment = {"first": "a", "left": "a", "right": "b", "last": "a"}
    found = replay(decode(graph(), two_boards(), assignment), two_boards())
    # The image holds the wire 4 s and arrives at 14; first until 19. x: 19-25, at b at 35; right
    # until 38; z: 38-40, at a at 50; left 19-26; last 50-52; the answer: 52-53, there at 63.
    assert [(s.task, s.board, s.start_s, s.end_s) for s in found.slots] == [
        ("first", "a", 14, 19), ("left", "a", 19, 26), ("right", "b", 35, 38), ("last", "a", 50, 52)
    ]  # fmt: skip
    assert [(m.tensor, m.receiver, m.start_s, m.sent_s, m.arrival_s) for m in found.messages] == [
        ("image", "a", 0, 4, 14), ("x", "b", 19, 25, 35), ("z", "a", 38, 40, 50),
        ("answer", "client", 52, 53, 63),
    ]  # fmt: skip
    assert found.latency_s == 63


def test_a_plan_by_hand_whose_messages_take_the_processors():
    """3 s at a board, 1 s at the client, for each message."""
    cluster = two_boards(3.0, 1.0)
    assignment = {"first": "a", "left": "a", "right": "b", "last": "a"}
    plan = decode(graph(), cluster, assignment)
    # The client begins with the image at 0; it is on the wire 1-5, at a at 15, in hand at 18;
    # first until 23, then a sends x until 26, on the wire 26-32, at b at 42, in hand at 45; left
    # 26-33; right until 48, b sends z until 51, wire 51-53, at a at 63, in hand at 66; last 66-68,
    # a sends the answer until 71, wire 71-72, there at 82, in the client's hands at 83.
    assert [(s.task, s.start_s, s.end_s, s.sends_s) for s in plan.slots] == [
        ("first", 18, 23, 3), ("left", 26, 33, 0), ("right", 45, 48, 3), ("last", 66, 68, 3)
    ]  # fmt: skip
    assert [(m.tensor, m.begun_s, m.start_s, m.sent_s, m.arrival_s) for m in plan.messages] == [
        ("image", 0, 1, 5, 15), ("x", 23, 26, 32, 42), ("z", 48, 51, 53, 63),
        ("answer", 68, 71, 72, 82),
    ]  # fmt: skip
    assert plan.latency_s == 83
    found = replay(plan, cluster)
    assert (found.slots, found.messages, found.latency_s) == (plan.slots, plan.messages, 83)


def test_orders_that_wait_for_each_other_are_found_out():
    slots = (Slot("last", "a", 0, 2), Slot("first", "a", 2, 7), Slot("left", "a", 7, 14),
             Slot("right", "a", 14, 17))  # fmt: skip
    messages = (Message("image", "client", "a", 4, 0, 4, 14),)
    with pytest.raises(ValueError, match="stuck: a at last; outputs that never come: answer"):
        replay(Plan(graph(), slots, messages, 20.0), two_boards())


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["DP", "WS", "ER", "lanes"]),
    vertices=st.integers(8, 30),
    seed=st.integers(0, 10**6),
    rates=st.lists(st.sampled_from([1.0, 2.5, 3.7]), min_size=1, max_size=6),
    link=st.sampled_from([10.0, 100.0, 1000.0]),
    random_assignment=st.booleans(),
)
def test_every_plan_replays_to_its_own_times(kind, vertices, seed, rates, link, random_assignment):
    drawn = TaskGraph.from_architecture(
        stage(generate(kind, vertices, seed=seed), (16, 16, 3), 10, seed=seed)
    )
    boards = tuple(
        Board(f"b{i}", rate, f"tcp/127.0.0.1:{7000 + i}") for i, rate in enumerate(rates)
    )
    cluster = Cluster(boards, Network(bandwidth_mbit_per_s=link, latency_ms=0.3))  # 0.5 ms an end
    if random_assignment:
        homes = {
            task.name: boards[(seed >> i) % len(boards)].name for i, task in enumerate(drawn.tasks)
        }
        plan = decode(drawn, cluster, homes)
    else:
        plan = schedule(drawn, cluster)
    found = replay(plan, cluster, calls=random_assignment)
    assert found.latency_s == pytest.approx(plan.latency_s, abs=1e-9)
    planned = {slot.task: slot for slot in plan.slots}
    for slot in found.slots:
        assert slot.board == planned[slot.task].board
        assert slot.start_s == pytest.approx(planned[slot.task].start_s, abs=1e-9)
        assert slot.end_s == pytest.approx(planned[slot.task].end_s, abs=1e-9)
    sent = {(m.tensor, m.receiver): m for m in plan.messages}
    assert len(found.messages) == len(plan.messages)
    for message in found.messages:
        expected = sent[message.tensor, message.receiver]
        assert message == replace(
            expected,
            start_s=pytest.approx(expected.start_s, abs=1e-9),
            sent_s=pytest.approx(expected.sent_s, abs=1e-9),
            arrival_s=pytest.approx(expected.arrival_s, abs=1e-9),
            begun_s=pytest.approx(expected.begun_s, abs=1e-9),
        )
