import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import clusters, graphs

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.testbed.dilation import dilated
from keras_concurrent.network import Link
from keras_concurrent.planning.schedule import decode


@given(graphs(), clusters(), st.sampled_from([0.5, 2.0, 4.0]), st.data())
def test_every_plan_takes_so_many_times_as_long_on_dilated_boards(graph, cluster, times, data):
    names = [board.name for board in cluster.boards]
    assignment = {task.name: data.draw(st.sampled_from(names)) for task in graph.tasks}
    plan = decode(graph, cluster, assignment)
    slow = decode(graph, dilated(cluster, times), assignment)
    assert slow.latency_s == pytest.approx(times * plan.latency_s)
    for slot, slow_slot in zip(plan.slots, slow.slots, strict=True):
        assert slow_slot.start_s == pytest.approx(times * slot.start_s)


def test_a_message_a_link_and_a_call_take_longer_and_memory_is_as_large():
    two = Cluster.of("pi4", 2, "100mbit")
    tls = tuple(
        dataclasses.replace(board, endpoint=f"tls/10.0.0.{i}:7447", encryption_gb_per_s=0.055)
        for i, board in enumerate(two.boards)
    )
    names = tuple(board.name for board in tls)
    cluster = dataclasses.replace(two, boards=tls, links=(Link(names, 8.0, 3.0),))
    slow = dilated(cluster, 4)
    for place in (*names, "client"):
        assert slow.message_s(place, 1000) == pytest.approx(4 * cluster.message_s(place, 1000))
    assert slow.bytes_per_s(*names) == 0.25e6  # 8 Mbit/s, eight bits a byte, a quarter of it
    assert slow.latency_s(*names) == pytest.approx(12e-3)
    assert slow.bytes_per_s("client", names[0]) == pytest.approx(12.5e6 / 4)
    assert slow.boards[0].call_s == pytest.approx(4 * tls[0].call_s)
    assert slow.boards[0].seconds(1e9, 5e8, 1e6, 3) == pytest.approx(
        4 * tls[0].seconds(1e9, 5e8, 1e6, 3)
    )
    assert slow.boards[0].memory_bytes == tls[0].memory_bytes


@pytest.mark.parametrize("times", [0, -1, float("inf"), float("nan")])
def test_times_must_be_a_number_above_0(times):
    with pytest.raises(ValueError, match="times must be a number above 0, got"):
        dilated(Cluster.of("pi4", 1), times)
