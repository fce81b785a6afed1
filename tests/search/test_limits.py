"""Limits: read from a text, refused, exceeded."""

import pytest

from keras_concurrent.search import Limit
from keras_concurrent.search.limits import excess, limits_of, missed


def test_a_limit_reads_as_it_is_written():
    assert Limit.parse(" latency_s<=3e-2 ") == Limit("latency_s", True, 0.03)
    assert str(Limit.parse("efficiency >= 0.5")) == "efficiency >= 0.5"


@pytest.mark.parametrize(
    "text", ["latency <= 1", "latency_s < 1", "latency_s <= 0", "latency_s <= x", "", "flops"]
)
def test_other_limits_are_refused(text):
    with pytest.raises(ValueError, match="limit"):
        Limit.parse(text)


def test_an_excess_is_a_share_of_the_bound():
    limits = (Limit.parse("latency_s <= 0.02"), Limit.parse("efficiency >= 0.5"))
    assert excess(limits, {"latency_s": 0.02, "efficiency": 0.5}) == 0
    assert excess(limits, {"latency_s": 0.03, "efficiency": 0.9}) == pytest.approx(0.5)
    assert excess(limits, {"latency_s": 0.03, "efficiency": 0.4}) == pytest.approx(0.7)


def test_limits_are_missed_only_by_figures_that_are_told():
    asked = limits_of(["latency_s <= 0.01", "efficiency >= 0.5", "flops <= 10"])
    assert missed(asked, {"latency_s": 0.01, "efficiency": 0.5}) == ()
    assert missed(asked, {"latency_s": 0.011, "efficiency": 0.4}) == asked[:2]
