"""Which classes a model's scores speak for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from keras_concurrent.edge.manifest import Manifest
from keras_concurrent.interpreter import Array


@dataclass(frozen=True)
class ScoredClass:
    """A class and its score.

    Args:
        number: its position in the model's output.
        score: as the model gives it.
        name: where it has one.
    """

    number: int
    score: float
    name: str | None = None

    def __str__(self) -> str:
        return f"{self.name or f'class {self.number}'} {self.score:.4g}"


def best_classes(
    scores: Array, names: Sequence[str] = (), count: int = 5
) -> tuple[ScoredClass, ...]:
    """The classes of the highest scores, the best first; of equal ones the first in the output.

    Args:
        scores: one a class, of any shape.
        names: by class; empty where they have none.
        count: how many at most.
    """
    flat = np.ravel(scores).astype(np.float64)
    order = np.argsort(-flat, kind="stable")[:count]
    return tuple(
        ScoredClass(int(each), float(flat[each]), names[each] if names else None) for each in order
    )


def best_of(manifest: Manifest, output: str, scores: Array) -> tuple[ScoredClass, ...]:
    """An output's best classes, by name where the bundle has names for them."""
    return best_classes(scores, manifest.class_names if manifest.is_of_classes(output) else ())


def scores_of(manifest: Manifest, answer: Mapping[str, Array]) -> dict[str, Array]:
    """A model's outputs as real values, where its integers stand for such."""
    return {name: manifest.tensors[name].dequantised(codes) for name, codes in answer.items()}


def told(manifest: Manifest, scores: Mapping[str, Array]) -> dict[str, Any]:
    """Scores and best classes of every output, for JSON."""
    return {
        name: {
            "values": values.ravel().tolist(),
            "best": [asdict(each) for each in best_of(manifest, name, values)],
        }
        for name, values in scores.items()
    }
