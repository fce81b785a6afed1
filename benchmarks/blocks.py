"""What the transformation block's start does to the accuracy of a short training.

The batch normalisation of a block starts with (gamma, beta). A block ends in a sigmoid of the next
one: with Keras's (1, 0) that sigmoid is nearly a straight line, with (2, -2) a soft ReLU.

python benchmarks/blocks.py           # three seeds, about 6 minutes
python benchmarks/blocks.py --quick   # a smaller network, one seed, one epoch
"""

from __future__ import annotations

import argparse

import numpy as np
from outcome import Section, Target, finish

from keras_concurrent import datasets, generate, stage
from keras_concurrent.tensorflow_loading import load_tensorflow

STARTS = ((1.0, 0.0), (2.0, -2.0))


def accuracy(start: tuple[float, float], seed: int, vertices: int, epochs: int) -> float:
    """Test accuracy on the photo patches after a short training."""
    import keras

    from keras_concurrent import build_model, training

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
    keras.utils.set_random_seed(seed)
    model = build_model(architecture)
    for name, value in zip(("gamma", "beta"), start, strict=True):
        for variable in (v for v in model.trainable_variables if v.path.endswith(f"/{name}")):
            variable.assign(np.full(variable.shape, value))
    return training.train(model, data, epochs=epochs, seed=seed).test_accuracy


def main() -> None:
    """Train with each start and each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="a smaller network, one seed, one epoch"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    load_tensorflow()
    seeds, vertices, epochs = ((0,), 12, 1) if options.quick else ((0, 1, 2), 24, 3)
    found = {start: [accuracy(start, seed, vertices, epochs) for seed in seeds] for start in STARTS}
    means = {start: float(np.mean(values)) for start, values in found.items()}
    usual, soft = STARTS
    rows = [
        (f"{start[0]:g}, {start[1]:g}", f"{means[start]:.3f}", f"{min(v):.3f}", f"{max(v):.3f}")
        for start, v in found.items()
    ]
    gain = Target("gain in accuracy of (2, -2) over (1, 0)", 0.0, means[soft] - means[usual])
    section = Section(
        f"Test accuracy on photos after {epochs} epochs",
        ("gamma, beta", "mean", "least", "most"),
        rows,
        {f"{start[0]:g},{start[1]:g}": values for start, values in found.items()},
        [gain],
    )
    finish(section, as_json=options.json)


if __name__ == "__main__":
    main()
