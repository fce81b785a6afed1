"""Memory that reading images and training on them takes, over the images' own bytes.

A process of its own reads an .npz file of bytes, holds images back and trains a tiny model on the
rest for an epoch; its high-water mark is compared with that of one that only loads TensorFlow.

    python benchmarks/memory.py            # 226 MB of images
    python benchmarks/memory.py --quick    # 28 MB
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from outcome import Section, Target, finish

SIDE = 128
MOST_TIMES = 2.5  # of the images' own bytes

_MODEL = """
import resource, sys
import keras
from keras_concurrent import datasets, training
image = keras.Input(({side}, {side}, 3))
x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 8, 8)(image))
model = keras.Model(image, keras.layers.Dense(2, activation="softmax")(x))
"""
_TRAIN = """
data = datasets.load(sys.argv[1])
training.train(model, data, epochs=1, patience=1, progress=False)
"""
_PEAK = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"


def peak_bytes(code: str, *words: str) -> int:
    """The high-water mark of a process that runs some code."""
    script = _MODEL.format(side=SIDE) + code + _PEAK
    done = subprocess.run(
        [sys.executable, "-c", script, *words], stdout=subprocess.PIPE, text=True, check=True
    )
    return int(done.stdout.split()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="an eighth of the images")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    count = 576 if options.quick else 4600
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npz"
        np.savez(path, train_images=images, train_labels=np.arange(count) * 2 // count)
        alone, peak = peak_bytes(""), peak_bytes(_TRAIN, str(path))
    times = (peak - alone) / images.nbytes
    figures = {
        "images_bytes": images.nbytes, "alone_bytes": alone, "peak_bytes": peak, "times": times,
    }  # fmt: skip
    rows = [
        ("the images as bytes", f"{images.nbytes / 1e6:.0f} MB"),
        ("peak with TensorFlow alone", f"{alone / 1e6:.0f} MB"),
        ("peak of reading and training", f"{peak / 1e6:.0f} MB"),
        ("more than TensorFlow alone, over the images' bytes", f"{times:.2f}"),
    ]
    target = Target("times the images' own bytes", MOST_TIMES, times, at_least=False)
    section = Section("Memory", ("what", ""), rows, figures, [target])
    finish(section, as_json=options.json)


if __name__ == "__main__":
    main()
