"""What a search aims at, as `keras_tuner.Objective`: a cost, a limit, or a weighting.

Unlike things are never added raw. `Constrained` orders trials by one metric and puts those that
miss a limit behind all others; `Weighted` first turns every figure into a score from 0 to 1.

The costs must be among the logs: `keras_concurrent.search.ConcurrentHyperModel` with a cluster puts
them there, and for any other HyperModel `keras_concurrent.search.PredictedCosts` does.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras_tuner
from keras_tuner.engine.metrics_tracking import infer_metric_direction

from keras_concurrent.search.costs import DIRECTIONS
from keras_concurrent.search.limits import excess, limits_of


def _direction_of(name: str) -> str:
    direction = DIRECTIONS.get(name) or infer_metric_direction(name)
    if direction is None:
        raise ValueError(
            f"{name!r} is neither one of {', '.join(DIRECTIONS)} nor a metric whose direction "
            "KerasTuner knows: give a keras_tuner.Objective"
        )
    return direction


def _objective(metric: str | keras_tuner.Objective) -> keras_tuner.Objective:
    if isinstance(metric, keras_tuner.Objective):
        return metric
    return keras_tuner.Objective(metric, _direction_of(metric))


class PredictedLatency(keras_tuner.Objective):
    """The predicted latency of one image on the cluster, in seconds; the less the better."""

    def __init__(self):
        super().__init__("latency_s", "min")


class EfficiencyScore(keras_tuner.Objective):
    """How much of the boards' speed a plan makes use of, 0 to 1; the more the better."""

    def __init__(self):
        super().__init__("efficiency", "max")


class ConcurrencyScore(keras_tuner.Objective):
    """The paper's concurrency score on as many units as boards; the less the better."""

    def __init__(self):
        super().__init__("concurrency_score", "min")


class Constrained(keras_tuner.Objective):
    """A metric among the trials that keep some limits.

    A trial that keeps them scores its metric. One that does not scores ``worst``, made worse by the
    shares of the limits' bounds that it misses: behind every trial that keeps them, and the farther
    the more it misses.

    Args:
        metric: such as ``"val_accuracy"``, or an objective of KerasTuner.
        *limits: such as ``"latency_s <= 0.03"``.
        worst: the worst value that the metric can have; kept ones beyond it count as this. For a
            metric to be made large it is 0 unless given; one to be made small needs it.

    Raises:
        ValueError: no limit, or a metric of unknown direction, or no ``worst``.
    """

    def __init__(
        self,
        metric: str | keras_tuner.Objective,
        *limits: str,
        worst: float | None = None,
    ):
        self.metric = _objective(metric)
        self.limits = limits_of(limits)
        if not self.limits:
            raise ValueError("limits must hold at least one, such as 'latency_s <= 0.03'; got none")
        if worst is None:
            if self.metric.direction == "min":
                raise ValueError(f"worst must be given for {self.metric.name}, got None")
            worst = 0.0
        self.worst = worst
        super().__init__(f"{self.metric.name}_within_limits", self.metric.direction)

    def has_value(self, logs):
        """Whether the metric and all limited costs are there."""
        return self.metric.has_value(logs) and all(limit.name in logs for limit in self.limits)

    def get_value(self, logs):
        """The metric, or what stands for a missed limit."""
        missed = excess(self.limits, logs)
        value = self.metric.get_value(logs)
        if self.direction == "max":
            return self.worst - missed if missed else max(value, self.worst)
        return self.worst + missed if missed else min(value, self.worst)


class Weighted(keras_tuner.Objective):
    """A weighted mean of figures that were each turned into a score from 0 (worst) to 1 (best).

    Args:
        weights: above 0, by the figure's name; only their ratios count.
        scales: (worst, best) by name, between which a figure's score grows evenly; beyond them it
            stays 0 or 1. Accuracies and ``efficiency`` go from 0 to 1 unless given; every other
            figure needs its own, as a screening shows it.

    Raises:
        ValueError: no or not positive weights, or a scale that is missing or has no length.

    Example:
        >>> Weighted({"val_accuracy": 3, "latency_s": 1}, {"latency_s": (0.1, 0.01)}).get_value(
        ...     {"val_accuracy": 0.8, "latency_s": 0.055}
        ... )
        0.725
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        scales: Mapping[str, tuple[float, float]] | None = None,
    ):
        if not weights or min(weights.values()) <= 0:
            raise ValueError(f"weights must be above 0, at least one, got {dict(weights)}")
        self.weights = dict(weights)
        self.scales = {}
        for name in weights:
            known = (0.0, 1.0) if name == "efficiency" or "acc" in name else None
            scale = (scales or {}).get(name, known)
            if scale is None or scale[0] == scale[1]:
                raise ValueError(f"scales must say (worst, best) of {name}, got {scale}")
            self.scales[name] = tuple(scale)
        super().__init__("weighted_score", "max")

    def has_value(self, logs):
        """Whether all figures are there."""
        return all(name in logs for name in self.weights)

    def get_value(self, logs):
        """The weighted mean."""
        total = 0.0
        for name, weight in self.weights.items():
            worst, best = self.scales[name]
            total += weight * min(1.0, max(0.0, (logs[name] - worst) / (best - worst)))
        return total / sum(self.weights.values())
