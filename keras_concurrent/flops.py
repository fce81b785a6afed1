"""Floating point operations of one operator, by one rule for every level.

A multiply-accumulate counts 2. An element-wise operator counts 1 per output element, a pooling
operator 1 per element of its window and output element. Biases and fused activations are free, as
they are where the operators run.

TensorFlow's profiler counts alike on a frozen graph, with these exceptions: a softmax counts 5 an
element there, most activations nothing, and batch normalisation (2 an element, 6 a channel) and
biases (1 an element) count, which the converter folds into the convolution before them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def convolution(out_shape: Sequence[int], window: Sequence[int], in_channels: int) -> int:
    """A dense convolution or matrix product: ``out_shape`` includes the output channels."""
    return 2 * math.prod(out_shape) * math.prod(window) * in_channels


def depthwise(out_shape: Sequence[int], window: Sequence[int]) -> int:
    """A depthwise convolution."""
    return 2 * math.prod(out_shape) * math.prod(window)


def pooling(out_shape: Sequence[int], window: Sequence[int]) -> int:
    """A maximum or average over a window."""
    return math.prod(out_shape) * math.prod(window)


def elementwise(out_shape: Sequence[int]) -> int:
    """An addition, product, sigmoid and the like."""
    return math.prod(out_shape)
