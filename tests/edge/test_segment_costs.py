"""How long segments take, by plan and by what boards measured."""

from keras_concurrent.edge.segment_costs import slowness


def test_slowness_compares_what_was_both_measured_and_planned():
    assert slowness({"a": 2.0, "b": 4.0}, {"a": 1.0, "b": 2.0, "c": 9.0}) == 2.0
    assert slowness({}, {"a": 1.0}) == 1.0
    assert slowness({"a": 1.0}, {}) == 1.0
