"""What a vertex computes after the sum of its inputs: its convolutions, by the name of its block.

============= ================================================================================
``paper``     the paper's transformation block: one 3x3 convolution, separable or dense, and a
              batch normalisation; the ReLU stands before them
``plain``     ``depth`` times: 3x3 convolution, batch normalisation, ReLU
``residual``  the same with a shortcut over all of them, added before the last ReLU; where the
              shape changes a 1x1 convolution and a batch normalisation project it (ResNet)
``separable`` ``depth`` times: 3x3 depthwise convolution, batch normalisation, ReLU; 1x1
              convolution, batch normalisation, ReLU (MobileNetV1)
``inverted``  ``depth`` times: 1x1 convolution to ``EXPANSION`` times the channels, 3x3 depthwise
              convolution, 1x1 convolution, each with a batch normalisation, the first two with a
              ReLU; a shortcut where the shape stays (MobileNetV2)
============= ================================================================================

A vertex of strides 2^k halves the resolution in the first k of its ``depth``; its channels change
in the first. What is here is counted and built alike: FLOPs, weights and receptive field follow
from it, and `keras_concurrent.layers.BranchBlock` makes its Keras layers from it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

BRANCHES = ("plain", "residual", "separable", "inverted")
BLOCKS = ("paper", *BRANCHES)
EXPANSION = 6  # as in MobileNetV2


class Convolution(NamedTuple):
    """A convolution with SAME padding and no bias of its own.

    Args:
        kernel: side of its window.
        channels: of its input.
        filters: of its output; of a depthwise one the same.
        strides: 1 or 2; of a shortcut's projection those of the whole vertex.
        depthwise: a filter a channel.
        normalized: whether a batch normalisation follows.
        rectified: whether a ReLU follows that.
    """

    kernel: int
    channels: int
    filters: int
    strides: int = 1
    depthwise: bool = False
    normalized: bool = True
    rectified: bool = True

    @property
    def kernel_weights(self) -> int:
        """Weights of the windows."""
        return self.kernel**2 * self.channels * (1 if self.depthwise else self.filters)

    @property
    def parameters(self) -> int:
        """Weights as Keras counts them: the normalisation's four a filter among them."""
        return self.kernel_weights + 4 * self.filters * self.normalized


class Unit(NamedTuple):
    """Convolutions one after another, and what is added to what they give.

    Args:
        convolutions: at least one.
        shortcut: whether the unit's input is added.
        projection: what that input goes through first.
        rectified: whether a ReLU follows the addition.
    """

    convolutions: tuple[Convolution, ...]
    shortcut: bool = False
    projection: Convolution | None = None
    rectified: bool = False

    @property
    def all_convolutions(self) -> tuple[Convolution, ...]:
        """The projection among them, as the last."""
        return self.convolutions + ((self.projection,) if self.projection else ())


@lru_cache(maxsize=4096)  # the vertices of a network have few shapes
def units_of(
    block: str, channels: int, filters: int, strides: int, depth: int, separable: bool
) -> tuple[Unit, ...]:
    """What a vertex computes after the sum of its inputs.

    Args:
        block: one of ``BLOCKS``.
        channels: of the sum.
        filters: output channels.
        strides: of the whole vertex; a power of two of at most ``2 ** depth``, or with the paper's
            block any.
        depth: how many convolutions, depthwise and pointwise together counting as one; 1 with the
            paper's block.
        separable: of the paper's block.
    """
    if block == "paper" and separable:
        depthwise = Convolution(3, channels, channels, strides, True, False, False)
        return (Unit((depthwise, Convolution(1, channels, filters, rectified=False))),)
    if block == "paper":
        return (Unit((Convolution(3, channels, filters, strides, rectified=False),)),)
    each = [
        (filters if at else channels, 2 if strides >= 2 ** (at + 1) else 1) for at in range(depth)
    ]
    if block == "inverted":
        return tuple(_bottleneck(before, filters, stride) for before, stride in each)
    if block == "separable":
        return (
            Unit(
                tuple(
                    convolution
                    for before, stride in each
                    for convolution in (
                        Convolution(3, before, before, stride, depthwise=True),
                        Convolution(1, before, filters),
                    )
                )
            ),
        )
    dense = tuple(Convolution(3, before, filters, stride) for before, stride in each)
    if block == "plain":
        return (Unit(dense),)
    projection = None
    if channels != filters or strides > 1:
        projection = Convolution(1, channels, filters, strides, rectified=False)
    last = dense[-1]._replace(rectified=False)
    return (Unit((*dense[:-1], last), shortcut=True, projection=projection, rectified=True),)


def _bottleneck(channels: int, filters: int, strides: int) -> Unit:
    wide = EXPANSION * channels
    convolutions = (
        Convolution(1, channels, wide),
        Convolution(3, wide, wide, strides, depthwise=True),
        Convolution(1, wide, filters, rectified=False),
    )
    return Unit(convolutions, shortcut=channels == filters and strides == 1)


def ends_rectified(block: str) -> bool:
    """Whether what a vertex gives has gone through a ReLU."""
    return block in ("plain", "residual", "separable")


def check_block(block: str, depth: int) -> None:
    """Raise ValueError unless it is a known block, of a depth that it can have."""
    if block not in BLOCKS:
        raise ValueError(f"block must be one of {', '.join(BLOCKS)}, got {block!r}")
    if depth < 1 or (block == "paper" and depth > 1):
        raise ValueError(
            f"depth must be at least 1, with the paper's block 1, got {depth!r} with {block!r}"
        )
