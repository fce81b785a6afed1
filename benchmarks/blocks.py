"""What a vertex's block does to the accuracy of a short training, at equal FLOPs.

First the networks: four lanes of vertices, each of one of the blocks, beside two usual networks for
one board (two convolutions; six with batch normalisations, VGG-like), as many channels each as come
nearest to the same FLOPs. Then the start of the paper's block: its batch normalisation starts with
(gamma, beta), and it ends in a sigmoid of the next one: with Keras's (1, 0) that sigmoid is nearly
a straight line, with (2, -2) a soft ReLU.

python benchmarks/blocks.py           # two data sets, three seeds, about 40 minutes
python benchmarks/blocks.py --quick   # three networks and a smaller one, one seed, one epoch
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from outcome import Section, Target, finish_each

from keras_concurrent import datasets, generate, stage
from keras_concurrent.networks.architecture import Architecture
from keras_concurrent.networks.block_work import Shape
from keras_concurrent.tensorflow_loading import load_tensorflow

STARTS = ((1.0, 0.0), (2.0, -2.0))
FLOPS = 5e6
OURS: dict[str, dict[str, Any]] = {
    "paper": {"separable": False},
    "plain": {"block": "plain", "depth": 2, "staging": "balanced"},
    "residual": {"block": "residual", "depth": 2, "staging": "balanced"},
    "separable": {"block": "separable", "depth": 2, "staging": "balanced"},
}
QUICK = ("six convolutions", "paper", "plain")
DATA = ("mnist", "photos")


class Sized(NamedTuple):
    """A network, by how to build it; FLOPs of one answer."""

    build: Callable[[], Any]
    flops: int


def lanes(filters: int, shape: Shape, classes: int, how: dict[str, Any]) -> Architecture:
    """Sixteen vertices in four lanes."""
    graph = generate("lanes", 16, seed=1, lanes=4)
    return stage(graph, shape, classes, filters=filters, channel_cap=4 * filters, seed=1, **how)


def ours(filters: int, shape: Shape, classes: int, how: dict[str, Any]) -> Sized:
    """A network of one of our blocks."""
    network = lanes(filters, shape, classes, how)

    def build() -> Any:
        from keras_concurrent import build_model

        return build_model(network)

    return Sized(build, network.network_tasks().flops)


def usual(filters: int, shape: Shape, classes: int, deep: bool) -> Sized:
    """Two convolutions of 5x5, or six of 3x3 with batch normalisations; two poolings each."""
    widths = (1, 1, 2, 2, 4, 4) if deep else (1, 2)
    pooled = (2, 4) if deep else (1, 2)  # before which of them
    kernel = 3 if deep else 5

    def build() -> Any:
        import keras
        from keras import layers

        x = image = keras.Input(shape)
        for at, width in enumerate((*widths, None)):
            if at in pooled:
                x = layers.MaxPooling2D(padding="same")(x)
            if width:
                x = layers.Conv2D(width * filters, kernel, padding="same", use_bias=not deep)(x)
                x = layers.BatchNormalization(momentum=0.9)(x) if deep else x
                x = layers.ReLU()(x)
        x = (layers.GlobalAveragePooling2D() if deep else layers.Flatten())(x)
        return keras.Model(image, layers.Dense(classes, activation="softmax")(x))

    flops, (height, width, before) = 0, shape
    for at, factor in enumerate(widths):
        if at in pooled:
            height, width = -(-height // 2), -(-width // 2)
        flops += 2 * height * width * kernel**2 * before * factor * filters
        before = factor * filters
    return Sized(build, flops)


NETWORKS: dict[str, Callable[[int, Shape, int], Sized]] = {
    "two convolutions": partial(usual, deep=False),
    "six convolutions": partial(usual, deep=True),
    **{name: partial(ours, how=how) for name, how in OURS.items()},
}


def of_size(name: str, shape: Shape, classes: int) -> Sized:
    """The network whose FLOPs come nearest to ``FLOPS``, by its channels."""
    sized = (NETWORKS[name](filters, shape, classes) for filters in range(1, 49))
    return min(sized, key=lambda network: abs(network.flops - FLOPS))


def trained(build: Callable[[], Any], data: Any, seed: int, epochs: int) -> float:
    """Test accuracy after a short training."""
    import keras

    from keras_concurrent import training

    keras.utils.set_random_seed(seed)
    return training.train(build(), data, epochs=epochs, seed=seed).test_accuracy


def at_equal_flops(quick: bool) -> Iterator[Section]:
    """A table a data set."""
    for name in DATA[:1] if quick else DATA:
        data = datasets.load(name)
        if quick:
            data = replace(
                data, train_images=data.train_images[:1500], train_labels=data.train_labels[:1500]
            )
        found, rows = {}, []
        for network in QUICK if quick else NETWORKS:
            sized = of_size(network, data.image_shape, data.classes)
            seeds, epochs = ((0,), 1) if quick else ((0, 1, 2), 4)
            values = [trained(sized.build, data, seed, epochs) for seed in seeds]
            found[network] = values
            rows.append((network, f"{sized.flops / 1e6:.2f}", *_shown(values)))
        means = {network: float(np.mean(values)) for network, values in found.items()}
        gain = Target(
            f"gain in accuracy of plain over paper, {name}", 0.0, means["plain"] - means["paper"]
        )
        yield Section(
            f"Test accuracy on {name} after {epochs} epochs",
            ("network", "MFLOP", "mean", "least", "most"),
            rows,
            {f"{name}, {network}": values for network, values in found.items()},
            [gain],
        )


def _shown(values: list[float]) -> tuple[str, ...]:
    return tuple(f"{f(values):.3f}" for f in (np.mean, min, max))


def starting_from(start: tuple[float, float], vertices: int) -> Any:
    """A network of the paper's blocks whose batch normalisations start so."""
    from keras_concurrent import build_model

    data = datasets.load("photos")
    architecture = stage(
        generate("DP", vertices, seed=15),
        data.image_shape,
        data.classes,
        filters=16,
        channel_cap=64,
        separable=False,
        seed=15,
    )
    model = build_model(architecture)
    for name, value in zip(("gamma", "beta"), start, strict=True):
        for variable in (v for v in model.trainable_variables if v.path.endswith(f"/{name}")):
            variable.assign(np.full(variable.shape, value))
    return model


def of_starts(quick: bool) -> Section:
    """The table of the starts."""
    seeds, vertices, epochs = ((0,), 12, 1) if quick else ((0, 1, 2), 24, 3)
    data = datasets.load("photos")
    found = {
        start: [
            trained(partial(starting_from, start, vertices), data, seed, epochs) for seed in seeds
        ]
        for start in STARTS
    }
    means = {start: float(np.mean(values)) for start, values in found.items()}
    usual_start, soft = STARTS
    rows = [(f"{start[0]:g}, {start[1]:g}", *_shown(values)) for start, values in found.items()]
    gain = means[soft] - means[usual_start]
    return Section(
        f"Test accuracy on photos after {epochs} epochs",
        ("gamma, beta", "mean", "least", "most"),
        rows,
        {f"{start[0]:g},{start[1]:g}": values for start, values in found.items()},
        [Target("gain in accuracy of (2, -2) over (1, 0)", 0.0, gain)],
    )


def sections(quick: bool) -> Iterator[Section]:
    """All tables, each as soon as it is there."""
    yield from at_equal_flops(quick)
    yield of_starts(quick)


def main() -> None:
    """Train each network with each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="three networks and a smaller one, one seed, one epoch"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    load_tensorflow()
    finish_each(sections(options.quick), as_json=options.json)


if __name__ == "__main__":
    main()
