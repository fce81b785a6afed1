"""How a tensor is written while it travels: float32, float16, or one byte a value.

One byte a value is an affine code: ``value = scale * (byte - zero_point)``, rounded to the nearest,
so that the error is at most half the scale within the range that the code covers.

A sigmoid's output lies in (0, 1): the code with scale 1/256 and zero point -128 covers it without
any calibration. So does a weighted sum of sigmoids lie between bounds that follow from its weights,
see `keras_concurrent.wire.ranges`.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

SENT_AS = ("auto", "float32", "float16", "int8")
"""What a user may ask for; ``"auto"`` decides tensor by tensor."""

BYTES = {"float32": 4, "float16": 2, "int8": 1}
"""Bytes of a value, by the dtype in which it travels."""

_LEAST, _MOST = -128, 127


@dataclass(frozen=True)
class WireFormat:
    """A way to write float32 values.

    Args:
        dtype: ``"float32"`` (as they are), ``"float16"`` or ``"int8"``.
        scale: what one step of the int8 code is worth.
        zero_point: the byte of the int8 code that stands for 0.

    Raises:
        ValueError: another dtype, or a code that an interpreter would refuse.
    """

    dtype: str
    scale: float = 1.0
    zero_point: int = 0

    def __post_init__(self) -> None:
        if self.dtype not in BYTES:
            raise ValueError(f"dtype must be one of {', '.join(BYTES)}, got {self.dtype!r}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale must be a positive number, got {self.scale!r}")
        if not _LEAST <= self.zero_point <= _MOST:
            raise ValueError(f"zero_point must lie in {_LEAST}..{_MOST}, got {self.zero_point!r}")

    @property
    def bytes(self) -> int:
        """Bytes a value."""
        return BYTES[self.dtype]


FLOAT32 = WireFormat("float32")
FLOAT16 = WireFormat("float16")
SIGMOID = WireFormat("int8", 1 / 256, -128)
"""Covers 0 to 255/256; a value above that is off by at most 1/256, any other by at most 1/512."""


_TINY = 1e-30


def int8_for(low: float, high: float) -> WireFormat:
    """The int8 code that covers a range; zero keeps a byte of its own.

    Args:
        low: the least value.
        high: the greatest.

    Raises:
        ValueError: a range that is none, or not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"a range must be two finite numbers in order, got {low!r} and {high!r}")
    if (low, high) == (0.0, 1.0):
        return SIGMOID
    low, high = min(low, 0.0), max(high, 0.0)
    scale = _float32((high - low) / (_MOST - _LEAST))
    if scale < _TINY:
        scale = 1.0  # all of it is as good as zero, and so small a scale has few digits
    return WireFormat("int8", scale, round(_LEAST - low / scale))


def _float32(value: float) -> float:
    """The value as the file will hold it."""
    return float(struct.unpack("f", struct.pack("f", value))[0])
