import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import BY_HAND, ON, cluster_of, clusters, graphs

from keras_concurrent.cluster import Cluster
from keras_concurrent.planning.bounds import lower_bound_s
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.explain import explain, what_if
from keras_concurrent.planning.schedule import decode, schedule
from keras_concurrent.planning.segments import one_board, plan_segments
from keras_concurrent.planning.simulator import replay

MS = 1e-3


def test_the_critical_path_by_hand():
    plan = decode(BY_HAND, cluster_of(1.0, 1.0), ON)
    found = explain(plan, cluster_of(1.0, 1.0))
    steps = [(s.name, s.where, s.receiver, round(s.end_s / MS, 6)) for s in found.path]
    assert steps == [
        ("image", "client", "p1", 3), ("a", "p1", "", 7), ("d", "p1", "", 12),
        ("second", "p1", "client", 14),
    ]  # fmt: skip
    assert (found.compute, found.wire) == (pytest.approx(9 / 14), pytest.approx(5 / 14))
    assert found.busy == {"p1": pytest.approx(9 / 14), "p2": pytest.approx(3 / 14)}
    assert found.waiting == pytest.approx(1 - (9 + 3) / 28)
    # The client sends the image twice, p1 sends x, w and the second answer, p2 the first.
    assert found.interface_busy == {
        "client": pytest.approx(4 / 14), "p1": pytest.approx(3 / 14), "p2": pytest.approx(0.5 / 14)
    }  # fmt: skip
    assert (found.busiest_board, found.busiest_interface) == ("p1", "client")


def test_a_queue_is_on_the_path_with_what_it_waits_for():
    # Both images are sent, 2 ms each, before y's: b cannot begin before the second has arrived.
    graph = dataclasses.replace(
        BY_HAND, tensor_bytes={**BY_HAND.tensor_bytes, "first": 9_000}, outputs=("first",)
    )
    everything_else_is_short = dataclasses.replace(
        graph, tasks=tuple(dataclasses.replace(t, flops=int(1e6)) for t in graph.tasks)
    )
    cluster = cluster_of(1.0, 1.0)
    found = explain(decode(everything_else_is_short, cluster, ON), cluster)
    # x 4-5, w 5-6, there at 7; c 7-8; first 8-17, there at 18.
    assert [(s.name, round(s.end_s / MS, 6), s.queued_behind) for s in found.path] == [
        ("image", 3, ""), ("a", 4, ""), ("w", 5, ""), ("x", 7, "w"), ("c", 8, ""),
        ("first", 18, ""),
    ]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(graph=graphs(), cluster=clusters())
def test_the_path_leads_without_a_gap_from_the_image_to_the_answer(graph, cluster):
    plan = schedule(graph, cluster)
    found = explain(plan, cluster)
    assert found.path[-1].end_s == plan.latency_s
    assert found.path[0].start_s == pytest.approx(0.0, abs=1e-12)
    for before, after in zip(found.path, found.path[1:], strict=False):
        assert before.end_s == after.start_s
    assert found.compute + found.wire + found.messaging == pytest.approx(1.0)
    assert all(0 <= share <= 1 + 1e-9 for share in found.busy.values())
    assert all(0 <= share <= 1 + 1e-9 for share in found.interface_busy.values())
    assert found.waiting + 1e-9 >= 0
    assert found.busy[found.busiest_board] == max(found.busy.values())


@settings(max_examples=100, deadline=None)
@given(graph=graphs(), cluster=clusters())
def test_no_plan_undercuts_the_lower_bound(graph, cluster):
    bound = lower_bound_s(graph, cluster)
    assert bound <= schedule(graph, cluster, effort=Effort(100)).latency_s * (1 + 1e-9)
    assert bound <= plan_segments(graph, cluster, effort=Effort(50)).latency_s * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), cluster=clusters(call=st.just(0.0)))
def test_all_int8_on_boards_four_times_as_fast_in_it_is_all_float32_on_such_boards(graph, cluster):
    int8 = dataclasses.replace(
        graph, tasks=tuple(dataclasses.replace(t, int8_flops=t.flops) for t in graph.tasks)
    )
    boards = cluster.boards
    able = dataclasses.replace(cluster, boards=tuple(
        dataclasses.replace(board, int8_gops_per_s=4 * board.gflops_per_s) for board in boards
    ))  # fmt: skip
    fast = dataclasses.replace(cluster, boards=tuple(board.faster(4) for board in boards))
    near = pytest.approx(lower_bound_s(graph, fast))
    assert lower_bound_s(int8, able) == near
    plan = schedule(int8, able, effort=Effort(50))
    assert plan.latency_s == pytest.approx(schedule(graph, fast, effort=Effort(50)).latency_s)
    assert replay(plan, able, calls=False).latency_s == pytest.approx(plan.latency_s)


def test_one_board_on_a_free_network_reaches_the_bound():
    free = cluster_of(2.0, mbit=1e12, latency_ms=0, message_ms=0)
    alone = one_board(BY_HAND, free)
    assert lower_bound_s(BY_HAND, free) == pytest.approx(alone.latency_s)
    assert alone.latency_s == pytest.approx(6 * MS)  # 4 + 2 + 1 + 5 ms at 2 GFLOP/s


def test_what_if_changes_one_thing_at_a_time():
    cluster = dataclasses.replace(Cluster.of("pi4", 2, "100mbit"))
    seen = []

    def planned(changed):
        seen.append(changed)
        return float(len(seen))

    assert what_if(cluster, planned) == {
        "twice the bandwidth": 1.0,
        "half the latency of messages": 2.0,
        "half the processor time of messages": 3.0,
        "boards twice as fast": 4.0,
        "one more board": 5.0,
    }
    bandwidth, latency, messages, boards, more = seen
    assert bandwidth.network.bandwidth_mbit_per_s == 200.0
    assert dataclasses.replace(bandwidth, network=cluster.network) == cluster
    assert latency.latency_s("pi4-1", "pi4-2") == pytest.approx(0.5e-3 / 2)
    for place in ("pi4-1", "client"):
        before, after = cluster.message_s(place, 10**6), messages.message_s(place, 10**6)
        assert before == pytest.approx(2 * after)
        assert before > 0
    for before, after in zip(cluster.boards, boards.boards, strict=True):
        work = (10**9, 10**8, 10**7, 50)
        assert before.seconds(*work) == pytest.approx(2 * after.seconds(*work))
    assert len(more.boards) == 3
    assert more.boards[:2] == cluster.boards
