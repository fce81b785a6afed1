"""What blocks compute, by the rules of `keras_concurrent.flops` and by what the converter makes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from keras_concurrent import flops

if TYPE_CHECKING:  # an architecture's `block_work` calls this
    from keras_concurrent.networks.architecture import Architecture

FLOAT_BYTES = 4

Shape = tuple[int, int, int]


class Work(NamedTuple):
    """What a block computes.

    Args:
        flops: floating point operations.
        touched_bytes: sum of the float32 tensors and weights that its operators read and write.
        operators: how many the converter makes of it.
    """

    flops: int
    touched_bytes: int
    operators: int


def work_of_blocks(architecture: Architecture) -> dict[str, Work]:
    """What every block computes, by its name.

    A pooled or squashed tensor that several blocks read is computed once, as the converter
    arranges it, and counted at its first reader.
    """
    shapes = architecture.shapes
    shared: set[tuple[str, str, int, int]] = set()
    result = {}
    for block in architecture.blocks:
        scaled = architecture.scaled_shape(block)
        each = flops.elementwise(scaled)
        squashes = architecture.squashes(block)
        many = len(block.inputs)
        # Products with the weights, and their sum.
        total, values, operators = each * (2 * many - 1), each * (5 * many - 3), 2 * many - 1
        for name in block.inputs:
            height, width, channels = shapes[name]
            down, across = height // scaled[0], width // scaled[1]
            pooled = scaled[0] * scaled[1] * channels
            if (down > 1 or across > 1) and ("pool", name, down, across) not in shared:
                shared.add(("pool", name, down, across))
                total += flops.pooling((*scaled[:2], channels), (down, across))
                values += height * width * channels + pooled
                operators += 1
            if channels < scaled[2]:
                total += flops.convolution(scaled, (1, 1), channels)
                values += pooled + each + (channels + 1) * scaled[2]
                operators += 1
            elif ("squash", name, down, across) in shared:
                continue
            else:
                shared.add(("squash", name, down, across))
            if squashes:
                total += each
                values += 2 * each
                operators += 1
        convolved = convolution_work(shapes[block.name], scaled, architecture.separable)
        result[block.name] = Work(
            total + convolved.flops,
            FLOAT_BYTES * values + convolved.touched_bytes,
            operators + convolved.operators,
        )
    return result


class ConvolutionWork(NamedTuple):
    """What a convolution computes, see `Work`, and the number of its weights."""

    flops: int
    touched_bytes: int
    operators: int
    weights: int


@lru_cache(maxsize=4096)  # the blocks of a network have few shapes
def convolution_work(out: Shape, scaled: Shape, separable: bool) -> ConvolutionWork:
    """A block's 3x3 convolution with its weights, its batch normalisation folded into it."""
    read, written, channels = math.prod(scaled), math.prod(out), scaled[2]
    if not separable:
        weights = (9 * channels + 1) * out[2]
        values = read + written + weights
        return ConvolutionWork(
            flops.convolution(out, (3, 3), channels), FLOAT_BYTES * values, 1, weights
        )
    between = (*out[:2], channels)
    weights = 10 * channels + (channels + 1) * out[2]
    values = read + 2 * math.prod(between) + written + weights
    depthwise = flops.depthwise(between, (3, 3))
    pointwise = flops.convolution(out, (1, 1), channels)
    return ConvolutionWork(depthwise + pointwise, FLOAT_BYTES * values, 2, weights)
