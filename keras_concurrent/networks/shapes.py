"""Shapes of images, of what first blocks read, and of what tensors are pooled to for a sum."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from keras_concurrent.networks.block_work import Shape

PADDINGS = ("valid", "same")


@lru_cache(maxsize=4096)  # a network has few sizes
def window_side(size: int, smallest: int, padding: str) -> int | None:
    """Side of the window, which is its stride too, that pools ``size`` positions to ``smallest``.

    Args:
        size: positions on an axis.
        smallest: what is to be left of them.
        padding: ``"valid"`` pools whole multiples alone: 12 to 4 by 3. ``"same"`` pools by powers
            of two with SAME padding, of which one leaves as many positions as its halvings in a
            row, each rounded up: 299 to 75 by 4, as by way of 150.

    Returns:
        The least such side, 1 where nothing is to be done; ``None`` where there is none.
    """
    if padding == "valid":
        return size // smallest if size % smallest == 0 else None
    side = 1
    while -(-size // side) > smallest:
        side *= 2
    return side if -(-size // side) == smallest else None


def check_input_shape(shape: Sequence[int]) -> None:
    """Raise ValueError unless it is height, width and channels."""
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"input_shape must be (height, width, channels), got {shape!r}")


def source_shape(input_shape: Shape, stem_filters: int | None, stem_strides: int) -> Shape:
    """What the first blocks read: the image, or what the stem makes of it.

    Raises:
        ValueError: filters or strides that no stem has.
    """
    if stem_filters is not None and stem_filters < 1:
        raise ValueError(f"stem_filters must be at least 1 or None, got {stem_filters!r}")
    if stem_strides not in ((1,) if stem_filters is None else (1, 2)):
        raise ValueError(
            f"stem_strides must be 1 or, of a stem, 2, got {stem_strides!r} with "
            f"stem_filters={stem_filters!r}"
        )
    height, width, channels = input_shape
    return -(-height // stem_strides), -(-width // stem_strides), stem_filters or channels


def common_shape(reader: str, shapes: Sequence[Shape], padding: str = "valid") -> Shape:
    """Height, width and channels to which a scaling block brings tensors of these shapes.

    Args:
        reader: who reads them, for the message of the error.
        shapes: at least one.
        padding: see `window_side`.

    Raises:
        ValueError: sizes that cannot be pooled to the smallest; names the ``reader``.
    """
    height, width, channels = shapes[0]
    for shape in shapes[1:]:  # two to a block, thousands of blocks a second: no min() of generators
        if shape[0] < height:
            height = shape[0]
        if shape[1] < width:
            width = shape[1]
        if shape[2] > channels:
            channels = shape[2]
    for shape in shapes:
        if window_side(shape[0], height, padding) and window_side(shape[1], width, padding):
            continue
        fitting = "a whole multiple of" if padding == "valid" else "one that halves to"
        raise ValueError(
            f"{reader} expects every input size to be {fitting} the smallest, "
            f"got {shape[0]}x{shape[1]} beside {height}x{width}"
        )
    return height, width, channels
