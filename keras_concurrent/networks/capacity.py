"""How many weights a network has, and how much of the image its last blocks see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_concurrent.networks.generators import SOURCE

if TYPE_CHECKING:  # an architecture's properties call these
    from keras_concurrent.networks.architecture import Architecture


def parameters_of(network: Architecture) -> int:
    """Number of weights of a whole network, moving averages included, as Keras counts."""
    total = 0
    if network.stem_filters is not None:
        total += (9 * network.input_shape[2] + 4) * network.stem_filters
    for block in network.blocks:
        total += _join_parameters(network, block.inputs, network.scaled_shape(block)[2])
        for unit in network.units(block):
            total += sum(convolution.parameters for convolution in unit.all_convolutions)
    features = [network.shapes[name][2] for name in network.outputs]
    if network.head == "concat":
        width = sum(features)
    else:
        width = max(features)
        total += _join_parameters(network, network.outputs, width)
    return total + (width + 1) * network.classes


def _join_parameters(network: Architecture, inputs: Sequence[str], widest: int) -> int:
    """Weights of a scaling block and of the weighted sum behind it."""
    channels = [network.shapes[name][2] for name in inputs]
    weights = len(channels) if network.weighs(inputs) else 0
    return weights + sum((c + 1) * widest for c in channels if c < widest)


def receptive_field_of(network: Architecture) -> int:
    """Side in pixels of the part of the image that one position of a last block can see."""
    seen = {SOURCE: 3 if network.stem_filters else 1}
    steps = {SOURCE: network.stem_strides}  # pixels from one position to the next
    for block in network.blocks:
        step = max(steps[name] for name in block.inputs)
        reach = max(seen[name] + step - steps[name] for name in block.inputs)
        for unit in network.units(block):
            for convolution in unit.convolutions:
                reach += (convolution.kernel - 1) * step
                step *= convolution.strides
        seen[block.name], steps[block.name] = reach, step
    return max(seen[name] for name in network.outputs)
