"""A link is measured by round trips."""

import time

import pytest

from keras_concurrent.edge.link.probe import SIZES, LinkProbe, figures_of


def test_a_links_figures_follow_from_the_quickest_round_trips():
    trips = [0.004 if not size else 0.030 for size in SIZES]
    trips[0] = 1.0  # other traffic
    found = figures_of(trips, [0.0] * (len(SIZES) + 1), direct=True)
    assert found.one_way_s == pytest.approx(0.002)
    assert found.bytes_per_s == pytest.approx(SIZES[-1] / 0.026)


def test_what_messages_take_of_the_processor_is_shared_by_those_sent_and_those_taken_in():
    """0.3 ms a small message, 1 ns a byte, and 50 ms to warm up, which do not count."""
    spent = [0.0]
    for number, size in enumerate(SIZES):
        spent.append(spent[-1] + (50e-3 if number == 0 else 2 * 0.3e-3 + size * 1e-9))
    found = figures_of([1.0] * len(SIZES), spent, direct=True)
    assert found.message_s == pytest.approx(0.3e-3)
    assert found.message_byte_s == pytest.approx(1e-9)


def test_a_probe_sends_one_after_another_and_ignores_foreign_echoes():
    put, told = [], []
    probe = LinkProbe(
        lambda number, size: put.append((number, size)), told.append, time.monotonic,
        time.process_time, direct=False,
    )  # fmt: skip
    probe.begin()
    probe.echoed(7, time.monotonic())
    for number in range(len(SIZES)):
        assert put == list(enumerate(SIZES))[: number + 1]
        probe.echoed(number, time.monotonic())
    assert [figures.direct for figures in told] == [False]
    probe.echoed(len(SIZES), 0.0)
    assert len(told) == 1
