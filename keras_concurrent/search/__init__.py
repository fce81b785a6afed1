"""Search: the most accurate network that keeps a latency, with KerasTuner.

::

    import keras_tuner
    from keras_concurrent import Cluster, datasets, search

    data = datasets.load("photos")
    cluster = Cluster.of("pi4", boards=4, link="1gbit")
    space = search.Space(data.image_shape, data.classes)
    screening = search.screen(space, cluster).keeping("latency_s <= 0.03")  # seconds
    tuner = keras_tuner.RandomSearch(
        search.ConcurrentHyperModel(space, cluster),
        objective=search.Constrained("val_accuracy", "latency_s <= 0.03"),
        max_trials=20,
    )
    first = [c.values for c in screening.spread(20)]
    search.constrain(tuner, "latency_s <= 0.03", first=first)
    tuner.search(data.train_images, data.train_labels, validation_split=0.2, epochs=5)

``space``, ``parameters``, ``costs``, ``limits``, ``pareto`` and ``screening`` are arithmetic and
import no TensorFlow. The names here are loaded on first use. ``keras-concurrent search`` does all
of this from the command line.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_concurrent.search.costs import Costs as Costs
    from keras_concurrent.search.limits import Limit as Limit
    from keras_concurrent.search.screening import Screening as Screening
    from keras_concurrent.search.screening import screen as screen
    from keras_concurrent.search.space import Space as Space
    from keras_concurrent.search.space import architecture_of as architecture_of
    from keras_concurrent.search.tuning.callbacks import PredictedCosts as PredictedCosts
    from keras_concurrent.search.tuning.hypermodel import (
        ConcurrentHyperModel as ConcurrentHyperModel,
    )
    from keras_concurrent.search.tuning.objectives import ConcurrencyScore as ConcurrencyScore
    from keras_concurrent.search.tuning.objectives import Constrained as Constrained
    from keras_concurrent.search.tuning.objectives import EfficiencyScore as EfficiencyScore
    from keras_concurrent.search.tuning.objectives import PredictedLatency as PredictedLatency
    from keras_concurrent.search.tuning.objectives import Weighted as Weighted
    from keras_concurrent.search.tuning.oracle import constrain as constrain

_MODULE_OF = {
    "ConcurrencyScore": "tuning.objectives",
    "ConcurrentHyperModel": "tuning.hypermodel",
    "Constrained": "tuning.objectives",
    "Costs": "costs",
    "EfficiencyScore": "tuning.objectives",
    "Limit": "limits",
    "PredictedCosts": "tuning.callbacks",
    "PredictedLatency": "tuning.objectives",
    "Screening": "screening",
    "Space": "space",
    "Weighted": "tuning.objectives",
    "architecture_of": "space",
    "constrain": "tuning.oracle",
    "screen": "screening",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
