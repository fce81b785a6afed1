"""What blocks compute, by the rules of `keras_concurrent.flops` and by what the converter makes."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from keras_concurrent import flops
from keras_concurrent.networks.convolutions import Convolution, Unit

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
        products = sum(architecture.multiplies(n, block.inputs, scaled) for n in block.inputs)
        total = values = operators = 0
        for name in block.inputs:
            channels = shapes[name][2]
            down, across = architecture.window(name, scaled)
            pooled = scaled[0] * scaled[1] * channels
            if (down > 1 or across > 1) and ("pool", name, down, across) not in shared:
                shared.add(("pool", name, down, across))
                total += flops.pooling((*scaled[:2], channels), (down, across))
                values += math.prod(shapes[name]) + pooled
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
        # Products with the weights, and their sum.
        total += each * (products + many - 1)
        values += each * (2 * products + 3 * (many - 1))
        operators += products + many - 1
        convolved = convolution_work(architecture.units(block), scaled)
        result[block.name] = Work(
            total + convolved.flops,
            FLOAT_BYTES * values + convolved.touched_bytes,
            operators + convolved.operators,
        )
    return result


class ConvolutionWork(NamedTuple):
    """What a block's convolutions compute, see `Work`, and the number of their weights."""

    flops: int
    touched_bytes: int
    operators: int
    weights: int


@lru_cache(maxsize=4096)  # the blocks of a network have few shapes
def convolution_work(units: tuple[Unit, ...], scaled: Shape) -> ConvolutionWork:
    """A block's convolutions with their weights, their batch normalisations folded into them.

    Args:
        units: from `keras_concurrent.networks.convolutions`.
        scaled: shape of what the first reads.
    """
    total = values = operators = weights = 0
    shape = scaled
    for unit in units:
        read = shape
        for convolution in unit.all_convolutions:
            source = read if convolution is unit.projection else shape
            shape = convolved_shape(convolution, source)
            window = (convolution.kernel, convolution.kernel)
            if convolution.depthwise:
                total += flops.depthwise(shape, window)
            else:
                total += flops.convolution(shape, window, convolution.channels)
            own = convolution.kernel_weights + convolution.filters  # and a bias
            values += math.prod(source) + math.prod(shape) + own
            weights += own
            operators += 1
        if unit.shortcut:
            total += flops.elementwise(shape)
            values += 3 * math.prod(shape)
            operators += 1
    return ConvolutionWork(total, FLOAT_BYTES * values, operators, weights)


def convolved_shape(convolution: Convolution, shape: Shape) -> Shape:
    """What a convolution makes of a tensor's shape."""
    height, width, _ = shape
    strides = convolution.strides
    return -(-height // strides), -(-width // strides), convolution.filters
