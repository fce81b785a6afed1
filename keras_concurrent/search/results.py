"""What a search has found, read from the records that KerasTuner leaves of its trials.

Needs neither KerasTuner nor TensorFlow.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_concurrent.search.parameters import Value
from keras_concurrent.search.pareto import Array, front, losses

_BINS = 3  # of a parameter with more different values than that


@dataclass(frozen=True)
class Result:
    """One trial.

    Args:
        trial: its id.
        status: ``"COMPLETED"``, ``"FAILED"``, ``"RUNNING"`` or ``"INVALID"`` (to be tried again).
        score: its objective, where it is completed.
        values: its parameters' values by name, from which
            `keras_concurrent.search.space.architecture_of` builds its network.
        figures: metrics and predicted costs of its best epoch.
        message: what went wrong, where something did.
    """

    trial: str
    status: str
    score: float | None
    values: Mapping[str, Value]
    figures: Mapping[str, float]
    message: str | None = None


def read_results(folder: str | Path) -> tuple[Result, ...]:
    """The trials of a tuner's project folder, by id; those being written are left out."""
    results = []
    for path in sorted(Path(folder).glob("trial_*/trial.json")):
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            continue
        metrics = state["metrics"]["metrics"]
        figures = {name: _last(metric["observations"]) for name, metric in metrics.items()}
        results.append(
            Result(
                state["trial_id"],
                state["status"],
                state["score"],
                state["hyperparameters"]["values"],
                {name: value for name, value in figures.items() if value is not None},
                state["message"],
            )
        )
    return tuple(results)


def _last(observations: Sequence[Mapping[str, Sequence[float]]]) -> float | None:
    return float(np.mean(observations[-1]["value"])) if observations else None


def ranked(results: Sequence[Result]) -> tuple[Result, ...]:
    """The completed ones, best first; of equals the earlier."""
    complete = [r for r in results if r.status == "COMPLETED" and r.score is not None]
    return tuple(sorted(complete, key=lambda r: (-(r.score or 0.0), r.trial)))


def pareto(results: Sequence[Result], aims: Mapping[str, str]) -> tuple[Result, ...]:
    """The completed ones that no other beats in all aims, by the last aim."""
    complete = [r for r in results if r.status == "COMPLETED" and set(aims) <= set(r.figures)]
    points = losses([r.figures for r in complete], aims)
    return tuple(complete[i] for i in sorted(front(points), key=lambda i: points[i, -1]))


def leaderboard(results: Sequence[Result]) -> str:
    """All trials as CSV, best first, those without a score last; the values in full."""
    best = ranked(results)
    rest = [r for r in results if r not in best]
    figures = sorted({name for r in results for name in r.figures})
    values = sorted({name for r in results for name in r.values})
    text = io.StringIO()
    head = ["rank", "trial", "status", "score", *figures, *values, "message"]
    writer = csv.DictWriter(text, head, lineterminator="\n")
    writer.writeheader()
    for rank, r in enumerate([*best, *rest], 1):
        said = (r.message or "").strip().splitlines()
        writer.writerow(
            {
                "rank": rank if r in best else "",
                "trial": r.trial,
                "status": r.status,
                "score": r.score,
                **r.figures,
                **r.values,
                "message": said[-1] if said else "",
            }
        )
    return text.getvalue()


def importance(results: Sequence[Result]) -> dict[str, float]:
    """The share of the scores' variance that each parameter explains by itself, largest first.

    It is the adjusted correlation ratio (Kelley's epsilon squared) of the scores grouped by the
    parameter's values; numbers of many values fall into three groups of equal size, and trials to
    which a parameter does not apply are a group of their own. Few trials give rough shares.

    Args:
        results: trials; only completed ones count.
    """
    complete = [r for r in results if r.status == "COMPLETED" and r.score is not None]
    y = np.array([r.score for r in complete], float)
    shares = {}
    for name in dict.fromkeys(name for r in complete for name in r.values):
        shares[name] = _explained(_groups([r.values.get(name) for r in complete]), y)
    ordered = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return {name: share for name, share in ordered if share > 0}


def _groups(values: Sequence[Value | None]) -> list[str]:
    numbers = [v for v in values if isinstance(v, (int, float))]
    if len(set(numbers)) <= _BINS:
        return [str(value) for value in values]
    edges = np.quantile(numbers, np.arange(1, _BINS) / _BINS)
    return [
        str(np.searchsorted(edges, value)) if isinstance(value, (int, float)) else str(value)
        for value in values
    ]


def _explained(groups: Sequence[str], y: Array) -> float:
    names = sorted(set(groups))
    total = float(((y - y.mean()) ** 2).sum()) if y.size else 0.0
    if len(names) < 2 or len(names) == len(groups) or not total:
        return 0.0
    of = np.array(groups)
    within = sum(float(((y[of == n] - y[of == n].mean()) ** 2).sum()) for n in names)
    mean_within = within / (len(groups) - len(names))
    return max(0.0, (total - within - (len(names) - 1) * mean_within) / total)
