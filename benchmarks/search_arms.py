"""Screening before training against plain random search, at equal training time."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_concurrent import Cluster, datasets
from keras_concurrent.search.pareto import hypervolume
from keras_concurrent.search.screening import screen
from keras_concurrent.search.space import Space

CLUSTER = Cluster.of("pi4", 4, "1gbit")
SHARE_OF_MEDIAN = 0.5  # the latency wish, of the median of random candidates
_HELD_BACK = 600


@dataclass(frozen=True)
class Arm:
    """The trials of one search that ended within the training time.

    Args:
        accuracies: on images held back, at the best epoch.
        latencies_s: predicted.
        seconds: of processor time that they took.
    """

    accuracies: tuple[float, ...]
    latencies_s: tuple[float, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """Both searches on one data set with one seed.

    Args:
        median_s: median predicted latency of random candidates.
        slowest_s: the longest of them, where both hypervolumes end.
        chance: accuracy of guessing.
        random: plain RandomSearch.
        screened: a wish of half the median, the screening's candidates first.
    """

    data: str
    seed: int
    median_s: float
    slowest_s: float
    chance: float
    random: Arm
    screened: Arm

    def volume(self, arm: Arm) -> float:
        """Area of (accuracy above chance) over (latency, as a ratio, below the slowest)."""
        points = [
            (math.log(latency_s / self.slowest_s), -accuracy)
            for accuracy, latency_s in zip(arm.accuracies, arm.latencies_s, strict=True)
        ]
        return hypervolume(np.array(points).reshape(-1, 2), (0.0, -self.chance))

    def linear_volume(self, arm: Arm) -> float:
        """The same with the latency in seconds."""
        points = np.array([arm.latencies_s, [-a for a in arm.accuracies]]).T
        return hypervolume(points, (self.slowest_s, -self.chance))

    @property
    def best_accuracy(self) -> float:
        """The best that either search found."""
        return max(*self.random.accuracies, *self.screened.accuracies)

    def kept(self, arm: Arm) -> float:
        """The best accuracy at the wish's latency; 0 where there is none."""
        limit_s = SHARE_OF_MEDIAN * self.median_s
        pairs = zip(arm.accuracies, arm.latencies_s, strict=True)
        return max((a for a, latency_s in pairs if latency_s <= limit_s), default=0.0)

    @property
    def points_behind(self) -> float:
        """Accuracy that the best found at the wish's latency lacks, in percentage points."""
        return 100 * (self.best_accuracy - self.kept(self.screened))


def compare(
    data: str, seed: int, *, seconds: float, samples: int, images: int, epochs: int, **space: Any
) -> Comparison:
    """Run both searches, each until its trainings have taken so many seconds of processor time."""
    dataset = datasets.load(data, seed=seed)
    where = Space(dataset.image_shape, dataset.classes, **space)
    found = screen(where, CLUSTER, samples, seed=seed)
    latencies_s = [c.costs.latency_s for c in found.candidates]
    median_s = statistics.median(latencies_s)
    limit = f"latency_s <= {SHARE_OF_MEDIAN * median_s}"
    first = [dict(c.values) for c in found.keeping(limit).spread(50)]
    if not first:
        raise ValueError(f"space must hold networks of {limit}, got none in {samples} draws")
    how = {"dataset": dataset, "space": where, "seed": seed, "seconds": seconds,
           "images": images, "epochs": epochs}  # fmt: skip
    plain = _search((), (), **how)
    screened = _search((limit,), first, **how)
    chance = 1 / dataset.classes
    return Comparison(data, seed, median_s, max(latencies_s), chance, plain, screened)


def _search(
    limits: Sequence[str], first: Sequence[dict[str, Any]], *, dataset: datasets.Dataset,
    space: Space, seed: int, seconds: float, images: int, epochs: int,
) -> Arm:  # fmt: skip
    import keras_tuner

    from keras_concurrent.search import ConcurrentHyperModel, constrain

    x, y = dataset.train_images, dataset.train_labels
    held = (x[:_HELD_BACK], y[:_HELD_BACK])
    x, y = x[_HELD_BACK:][:images], y[_HELD_BACK:][:images]
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.RandomSearch(
            ConcurrentHyperModel(space, CLUSTER, seed=seed), objective="val_accuracy",
            max_trials=1000, seed=seed + 1, directory=folder,
        )  # fmt: skip
        if limits:
            constrain(tuner, *limits, first=first)
        train, spent = tuner.run_trial, []

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            try:
                return train(*args, **kwargs)
            finally:
                spent.append(time.process_time() - start)
                if sum(spent) >= seconds:
                    tuner.oracle.max_trials = 1  # no more

        tuner.run_trial = timed
        tuner.search(x, y, validation_data=held, epochs=epochs, batch_size=32, verbose=0)
        within = sum(total <= seconds for total in np.cumsum(spent))
        trials = [tuner.oracle.trials[i] for i in tuner.oracle.start_order[: max(1, within)]]
    figures = [
        (t.metrics.get_best_value("val_accuracy"), t.metrics.get_last_value("latency_s"))
        for t in trials
    ]
    accuracies, latencies_s = zip(*figures, strict=True)
    return Arm(accuracies, latencies_s, tuple(spent[: len(trials)]))
