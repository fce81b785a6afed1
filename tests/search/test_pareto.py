"""Fronts and hypervolumes against counting by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_concurrent.search.pareto import front, hypervolume, losses


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=30))
def test_the_front_is_what_nobody_dominates(points):
    expected = [
        i
        for i, one in enumerate(points)
        if not any(
            all(a <= b for a, b in zip(other, one, strict=True)) and other != one
            for other in points
        )
    ]
    assert front(np.array(points, float)) == expected


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_hypervolume_counts_the_cells_that_are_dominated(points):
    cells = sum(
        any(x <= a and y <= b for x, y in points) for a, b in itertools.product(range(5), range(5))
    )
    assert hypervolume(np.array(points, float).reshape(-1, 2), (5, 5)) == cells


def test_aims_need_a_direction():
    with pytest.raises(ValueError, match="'min' or 'max'"):
        losses([{"a": 1.0}], {"a": "less"})
    assert losses([{"a": 1.0, "b": 2.0}], {"b": "max", "a": "min"}).tolist() == [[-2.0, 1.0]]
