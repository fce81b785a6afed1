"""The one rule by which images of any kind become values of 0..1, and what it refuses to guess.

==================================== =========================================================
what came                            what it is taken for
==================================== =========================================================
whole numbers of 0..255              bytes: kept as bytes, divided by 255 when they are used
floats of 0..1, booleans             values: kept as float32
floats of 0..255                     bytes: rounded
floats of -1..1, some below 0        values: moved to 0..1
==================================== =========================================================

Everything else is refused, since a wrong guess costs accuracy without a word: whole numbers of
0..1 or 0..16, floats of 0..1.5, values that were standardised, and numbers that are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32] | NDArray[np.uint8]

_SLACK = 1e-3  # that resizing leaves beyond the ends
_LEAST_WHITE = 32  # no set of bytes has a lightest pixel darker than this
_CHUNK_BYTES = 1 << 22  # converted at a time, so that no second copy of all is ever held


@dataclass(frozen=True)
class Scale:
    """What numbers stand for black and for white.

    Args:
        black: the number of black.
        white: the number of white.
        whole: whether they are kept as bytes.
        seen: the least and the largest number that came.
    """

    black: float
    white: float
    whole: bool
    seen: tuple[float, float]

    def applied(self, images: NDArray[Any]) -> Images:
        """Images as bytes of 0..255 or float32 of 0..1; themselves where they are that already.

        Args:
            images: of any shape.

        Raises:
            ValueError: numbers beyond black and white.
        """
        least, most = _ends([images])
        slack = _SLACK * (self.white - self.black)
        if not self.black - slack <= least or not most <= self.white + slack:
            raise ValueError(
                f"images must be of {self.black:g}..{self.white:g} like those before them, got "
                f"{least:g}..{most:g}"
            )
        wanted = np.dtype(np.uint8 if self.whole else np.float32)
        if images.dtype == wanted and (self.whole or (self.black == 0 <= least and most <= 1)):
            return images
        converted = np.empty(images.shape, wanted)
        for rows in _chunks(images):
            part = (images[rows].astype(np.float32) - self.black) / (self.white - self.black)
            part = part.clip(0, 1)
            converted[rows] = np.rint(part * 255) if self.whole else part
        return converted

    def __str__(self) -> str:
        """What was done, such as ``"bytes of 3..255, divided by 255"``."""
        seen = f"{self.seen[0]:.4g}..{self.seen[1]:.4g}"
        if self.whole:
            return f"bytes of {seen}, divided by 255"
        return f"values of {seen}, {'moved to 0..1' if self.black else 'taken as they are'}"


def scale_of(*parts: NDArray[Any]) -> Scale:
    """What the numbers of some images stand for; of all parts together, by the module's table.

    Args:
        *parts: such as the images to train on and those to be tested on.

    Raises:
        ValueError: numbers that stand for nothing sure.
    """
    for images in parts:
        if images.dtype.kind not in "buif":
            raise ValueError(f"images must be numbers, got {images.dtype}")
    least, most = seen = _ends(parts)
    advice = "give bytes of 0..255 or floats of 0..1"
    if not np.isfinite([least, most]).all():
        raise ValueError(f"images must be finite numbers, got {least:g}..{most:g}: {advice}")
    kinds = {images.dtype.kind for images in parts}
    if kinds <= set("ui"):
        if least < 0 or most > 255:
            raise ValueError(
                f"images of whole numbers must be of 0..255, got {least:g}..{most:g}: {advice}"
            )
        _check_white(most, "whole numbers", advice)
        return Scale(0.0, 255.0, True, seen)
    if kinds & set("ui"):
        raise ValueError(f"images must be all whole numbers or all floats, got both: {advice}")
    if least >= -_SLACK and most <= 1 + _SLACK:
        return Scale(0.0, 1.0, False, seen)
    if least >= -1 - _SLACK and most <= 1 + _SLACK:
        return Scale(-1.0, 1.0, False, seen)
    if least < -255 * _SLACK or most > 255 * (1 + _SLACK):
        raise ValueError(
            f"images of floats must be of 0..1, -1..1 or 0..255, got {least:g}..{most:g}: {advice}"
        )
    _check_white(most, "floats", advice)
    return Scale(0.0, 255.0, True, seen)


def values_of(images: Images) -> NDArray[np.float32]:
    """A few images as a network takes them: float32 of 0..1, bytes divided by 255."""
    if images.dtype == np.uint8:
        return np.asarray(images / np.float32(255), np.float32)
    return np.asarray(images, np.float32)


def _check_white(most: float, what: str, advice: str) -> None:
    if most < _LEAST_WHITE:
        raise ValueError(
            f"images of {what} must have white at 255, the lightest pixel of all is {most:g}: "
            f"{advice}"
        )


def _ends(parts: Iterable[NDArray[Any]]) -> tuple[float, float]:
    """The least and the largest number; NaN where any is."""
    sized = [images for images in parts if images.size]
    if not sized:
        raise ValueError("images must hold at least one pixel, got none")
    least = min((float(images.min()) for images in sized), key=_nan_first)
    most = max((float(images.max()) for images in sized), key=lambda end: -_nan_first(-end))
    return least, most


def _nan_first(end: float) -> float:
    return -np.inf if np.isnan(end) else end


def _chunks(images: NDArray[Any]) -> Iterator[slice]:
    rows = max(1, _CHUNK_BYTES * len(images) // images.nbytes)
    return (slice(start, start + rows) for start in range(0, len(images), rows))
