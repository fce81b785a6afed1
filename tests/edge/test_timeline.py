"""One timeline from clocks that differ."""

from keras_concurrent.edge.placement import Event
from keras_concurrent.edge.timeline import Log, Record, merge


def test_events_of_clocks_that_are_ahead_and_behind_fall_into_one_order():
    record = Record(image=1, route=0, started_s=100.0)
    record.sends.append(Event("send", "x", "client", 100.0, 100.1, "a", 4))
    record.arrived_s["y"] = 100.9
    ahead = Log()  # an hour
    ahead.note(1, "arrival", "x", "a", 3700.2, 3700.2)
    ahead.note(1, "run", "s", "a", 3700.2, 3700.5)
    ahead.note(1, "send", "t", "a", 3700.5, 3700.51, "b", 4)
    behind = Log()  # half a minute
    behind.note(1, "arrival", "t", "b", 70.6, 70.6)
    behind.note(1, "run", "u", "b", 70.6, 70.8)
    behind.note(1, "send", "y", "b", 70.8, 70.81, "client", 4)
    behind.note(2, "run", "u", "b", 80.0, 81.0)
    logs = {"a": ahead.of(1), "b": behind.of(1)}
    events = merge(record, logs, {"a": 3600.0, "b": -30.0})
    assert [(e.kind, e.name, e.board, round(e.start_s, 6), round(e.end_s, 6)) for e in events] == [
        ("send", "x", "client", 0.0, 0.2),  # a send ends when it has arrived
        ("run", "s", "a", 0.2, 0.5),
        ("send", "t", "a", 0.5, 0.6),
        ("run", "u", "b", 0.6, 0.8),
        ("send", "y", "b", 0.8, 0.9),
    ]


def test_a_board_speaks_for_itself_alone():
    record = Record(image=1, route=0, started_s=0.0)
    (event,) = merge(record, {"a": [Event("run", "s", "b", 1.0, 2.0)]}, {})
    assert event.board == "a"
