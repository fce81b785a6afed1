"""Boards that have become slower than planned: found by what they did, and worked around."""

import threading
import time

import numpy as np
import pytest
from in_process import running, slow_boards

from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.client.pace import Pace
from keras_concurrent.edge.placement import Event, Placement, Program
from keras_concurrent.edge.segment_costs import SegmentCosts
from keras_concurrent.edge.watch.bench import random_images, reference
from keras_concurrent.export.assemble import export_bundle


def ran(**seconds):
    """Each board's run, of the segment that is named like it."""
    return {board: (Event("run", board, board, 5.0, 5.0 + s),) for board, s in seconds.items()}


def planned(**seconds):
    programs = {board: Program((board,), ()) for board in seconds}
    events = tuple(event for events in ran(**seconds).values() for event in events)
    return Placement(programs, (), sum(seconds.values()), events)


PLAN = planned(a=0.1, b=0.1, c=0.1)


def test_a_board_three_times_slower_than_planned_is_found_by_two_late_images():
    pace = Pace()
    assert not pace.is_late(PLAN, 0.32, 0.0)
    assert pace.is_late(PLAN, 0.5, 1.0)
    assert not pace.judge(PLAN, ran(a=0.1, b=0.3, c=0.1), 1.0)  # once may be chance
    assert pace.is_late(PLAN, 0.5, 2.0)
    assert pace.judge(PLAN, ran(a=0.1, b=0.3, c=0.1), 2.0)
    assert pace.slowness == pytest.approx({"b": 3.0})
    assert not pace.forgives(10.0)
    assert pace.forgives(20.0)
    assert pace.slowness == {}


def test_what_became_slow_again_is_tried_again_after_twice_as_long():
    pace = Pace()
    for start_s, pause_s in ((0.0, 15.0), (100.0, 30.0), (200.0, 60.0)):
        for _ in range(2):
            pace.judge(PLAN, ran(a=0.1, b=0.3, c=0.1), start_s)
        assert not pace.forgives(start_s + pause_s - 0.1)
        assert pace.forgives(start_s + pause_s)


@pytest.mark.parametrize(
    "took",
    [
        {"a": 0.3, "b": 0.3, "c": 0.3},  # all alike: the description is wrong, not a board
        {"a": 0.1, "b": 0.18, "c": 0.1},
        {"b": 0.9},  # the others did not tell
    ],
)
def test_others_are_not_slow(took):
    pace = Pace()
    assert not any(pace.judge(PLAN, ran(**took), now) for now in (1.0, 2.0, 3.0))
    assert pace.slowness == {}


def test_milliseconds_are_not_worth_another_plan():
    pace, plan = Pace(), planned(a=0.001, b=0.001)
    assert not pace.is_late(plan, 0.01, 1.0)
    assert not any(pace.judge(plan, ran(a=0.001, b=0.01), now) for now in (1.0, 2.0, 3.0, 4.0))


SLOWER = slow_boards(3, gflops_per_s=0.001)


@pytest.fixture(scope="module")
def slower(small_file, tmp_path_factory):
    """A network that takes a fifth of a second, so that a hiccup of this machine is nothing."""
    return export_bundle(small_file, SLOWER, tmp_path_factory.mktemp("slower") / "bundle")


def test_a_board_that_becomes_three_times_slower_is_worked_around_within_two_seconds(
    slower, monkeypatch, caplog
):
    image = random_images(slower, 1)[0]
    expected = reference(slower, [image])[0]["classes"]
    factors = dict.fromkeys(slower.placement("boards").programs, 1.0)

    def infer_s():
        start = time.monotonic()
        assert np.array_equal(client.infer(image)["classes"], expected)
        return time.monotonic() - start

    with running(slower, cluster=SLOWER) as (client, _, _):
        as_planned(slower, factors, monkeypatch)
        for _ in range(5):
            infer_s()
        assert client._slowness == {}
        factors["pi3-1"] = 3.0  # which has the most to do
        start, late_s = time.monotonic(), infer_s()
        while not client._slowness and time.monotonic() < start + 5.0:
            infer_s()
        assert time.monotonic() - start < 2.0
        client.wait_prepared(5)
        assert client._slowness == pytest.approx({"pi3-1": 3.0}, rel=0.3)
        assert min(infer_s() for _ in range(3)) < 0.75 * late_s
        assert client.absent == ()
    assert "takes longer than planned, and gets less: pi3-1" in caplog.text


def as_planned(bundle, factors, monkeypatch):
    """Let boards, each in a thread that is named like it, take what is planned times a factor."""
    compute, costs = Workshop.run, SegmentCosts(bundle.manifest, SLOWER)

    def run(workshop, name, tensors):
        board, start = threading.current_thread().name, time.monotonic()
        compute(workshop, name, tensors)
        seconds = costs.run_s(name, board) * factors[board]
        time.sleep(max(0.0, start + seconds - time.monotonic()))

    monkeypatch.setattr(Workshop, "run", run)
