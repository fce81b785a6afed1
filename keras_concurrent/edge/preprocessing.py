"""How the bytes of a picture become the values that a model was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_concurrent.interpreter import Array

RANGES = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0), "0..255": (0.0, 255.0)}
"""Values that stand for black and for white, by the name of their range."""

RESIZES = ("stretch", "crop")
_CHANNELS = (1, 3)  # that a mean or a deviation may be given for


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a picture before a model sees it.

    A byte of 0..255 becomes a value of the range, then ``(value - mean) / deviation``.

    Args:
        value_range: one of `RANGES`. ``None`` where nobody said: ``"0..1"``, or what an input that
            takes integers says itself, see `keras_concurrent.edge.images.settled`.
        mean: one number, or one a channel; in values of the range.
        deviation: as ``mean``; above 0.
        resize: ``"stretch"``: all of the picture, its sides scaled apart; ``"crop"``: the middle
            of the picture, its shorter side filled, as it looks.

    Raises:
        ValueError: an unknown range or resize, a mean or a deviation that is none.
    """

    value_range: str | None = None
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)
    resize: str = "stretch"

    def __post_init__(self) -> None:
        if self.value_range is not None and self.value_range not in RANGES:
            raise ValueError(
                f"value_range must be one of {', '.join(RANGES)}, got {self.value_range!r}"
            )
        if self.resize not in RESIZES:
            raise ValueError(f"resize must be one of {', '.join(RESIZES)}, got {self.resize!r}")
        for name in ("mean", "deviation"):
            numbers = getattr(self, name)
            if len(numbers) not in _CHANNELS or not all(_is_number(each) for each in numbers):
                raise ValueError(f"{name} must be 1 or 3 finite numbers, got {numbers!r}")
        if min(self.deviation) <= 0:
            raise ValueError(f"deviation must be above 0, got {self.deviation!r}")

    @property
    def is_plain(self) -> bool:
        """Whether values of the range are taken as they are."""
        return not any(self.mean) and all(each == 1 for each in self.deviation)

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest value that a picture can have."""
        each = zip((self.mean * 3)[:3], (self.deviation * 3)[:3], strict=True)
        both = [(end - mean) / deviation for mean, deviation in each for end in self._range]
        return min(both), max(both)

    @property
    def _range(self) -> tuple[float, float]:
        return RANGES[self.value_range or "0..1"]

    def applied(self, pixels: Array) -> Array:
        """A picture's bytes as values.

        Args:
            pixels: ``(..., c)``, bytes of 0..255.

        Returns:
            float64 of the same shape.

        Raises:
            ValueError: a mean or a deviation of three channels, a picture of another number.
        """
        for name in ("mean", "deviation"):
            numbers = getattr(self, name)
            if len(numbers) not in (1, pixels.shape[-1]):
                raise ValueError(
                    f"{name} must be one number or one for each of the picture's "
                    f"{pixels.shape[-1]} channels, got {len(numbers)}"
                )
        low, high = self._range
        values: Array = (pixels / 255.0 * (high - low) + low - self.mean) / self.deviation
        return values

    def __str__(self) -> str:
        """One line, such as ``"values of 0..1, stretched"``."""
        text = f"values of {self.value_range or '0..1'}"
        if not self.is_plain:
            text += f", less {_listed(self.mean)}, divided by {_listed(self.deviation)}"
        return f"{text}, {'stretched' if self.resize == 'stretch' else 'cropped to the middle'}"


def _listed(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{each:g}" for each in numbers)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
