import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_concurrent.wire.format import FLOAT16, FLOAT32, SIGMOID, WireFormat, int8_for

ends = st.floats(-1e4, 1e4, width=32)


def test_bytes_a_value():
    assert [f.bytes for f in (FLOAT32, FLOAT16, SIGMOID)] == [4, 2, 1]


def test_what_a_sigmoid_gives_needs_no_calibration():
    assert int8_for(0.0, 1.0) == SIGMOID == WireFormat("int8", 1 / 256, -128)


def test_a_range_by_hand():
    # 255 steps over 0..5.1 are 0.02 each, and 0 is the least byte.
    code = int8_for(0.0, 5.1)
    assert (code.scale, code.zero_point) == (pytest.approx(0.02), -128)
    # -1..3 in steps of 4/255: 0 is 63.75 steps above the least byte, rounded 64.
    assert int8_for(-1.0, 3.0) == WireFormat("int8", float(np.float32(4 / 255)), -64)


@given(st.tuples(ends, ends).map(sorted), st.floats(0, 1))
def test_every_value_of_a_range_is_off_by_one_step_at_most(bounds, share):
    # Half a step from rounding the value, half from rounding the byte that stands for zero.
    low, high = bounds
    code = int8_for(low, high)
    value = low + share * (high - low)
    byte = np.clip(np.round(value / code.scale) + code.zero_point, -128, 127)
    assert abs(code.scale * (byte - code.zero_point) - value) <= code.scale * 1.001
    assert -128 <= code.zero_point <= 127


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_a_range_that_is_none(bounds):
    with pytest.raises(ValueError, match="two finite numbers in order, got"):
        int8_for(*bounds)


def test_a_code_that_no_interpreter_takes():
    with pytest.raises(ValueError, match=r"dtype must be one of .* got 'int4'"):
        WireFormat("int4")
    with pytest.raises(ValueError, match="scale must be a positive number, got 0"):
        WireFormat("int8", 0.0)
    with pytest.raises(ValueError, match=r"zero_point must lie in -128..127, got 128"):
        WireFormat("int8", 1.0, 128)
