"""Search the photographs for an accurate network that four Raspberry Pi 4 answer in 5 ms.

python examples/search_photos.py            # some twenty minutes on two cores
python examples/search_photos.py --quick    # a minute: three tiny networks, to see the steps
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras_tuner

from keras_concurrent import Cluster, TfliteFile, datasets, export_bundle, search, to_tflite

LIMIT = "latency_s <= 0.005"


def main() -> None:
    """Screen, train, export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three tiny networks")
    parser.add_argument("--out", type=Path, default=Path("search_photos"), help="folder")
    options = parser.parse_args()
    samples, trials, epochs, vertices = (400, 3, 1, (4,)) if options.quick else (
        10_000, 20, 5, (12, 16, 24),
    )  # fmt: skip

    data = datasets.load("photos", size=16 if options.quick else 32)
    cluster = Cluster.of("pi4", boards=4, link="1gbit")
    space = search.Space(
        data.image_shape, data.classes, vertices=vertices,
        kinds=("DP", "ER") if options.quick else ("DP", "lanes", "ER", "WS", "BA"),
    )  # fmt: skip

    screening = search.screen(space, cluster, samples)
    kept = screening.keeping(LIMIT)
    print(f"{len(kept.candidates)} of {len(screening.candidates)} candidates keep {LIMIT}")

    tuner = keras_tuner.RandomSearch(
        search.ConcurrentHyperModel(space, cluster),
        objective=search.Constrained("val_accuracy", LIMIT),
        max_trials=trials,
        directory=options.out,
        project_name="trials",
    )
    search.constrain(tuner, LIMIT, first=[c.values for c in kept.spread(trials)])
    tuner.search(
        data.train_images, data.train_labels, validation_split=0.2, epochs=epochs, verbose=0
    )

    best = tuner.oracle.get_best_trials()[0]
    model = tuner.get_best_models()[0]
    _, accuracy = model.evaluate(data.test_images, data.test_labels, verbose=0)
    bundle = export_bundle(TfliteFile(to_tflite(model)), cluster, options.out / "bundle")
    latency_s = bundle.placement("boards").predicted_latency_s
    print(f"best: {best.hyperparameters.values}")
    print(f"test accuracy {accuracy:.3f}, {latency_s * 1e3:.2f} ms predicted with its segments")


if __name__ == "__main__":
    main()
