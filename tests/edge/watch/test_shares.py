"""Where a board's time goes."""

import pytest

from keras_concurrent.edge.placement import Event
from keras_concurrent.edge.watch.shares import Share, shares


def test_shares_of_a_boards_time():
    events = [
        Event("run", "s", "a", 0.0, 0.3),
        Event("run", "t", "a", 0.5, 0.6),
        Event("send", "x", "a", 0.3, 0.5, "b", 1),
        Event("send", "y", "a", 0.4, 0.7, "client", 1),  # overlaps
        Event("send", "z", "client", 0.0, 0.1, "a", 1),
    ]
    assert shares(events, 1.0) == {
        "a": Share(pytest.approx(0.4), pytest.approx(0.4), pytest.approx(0.6))
    }
