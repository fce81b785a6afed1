"""Which of many are best when there is more than one aim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def losses(figures: Sequence[Mapping[str, float]], aims: Mapping[str, str]) -> Array:
    """(n, aims) what is to be made small.

    Args:
        figures: each candidate's figures by name.
        aims: ``"min"`` or ``"max"`` by the figure's name.

    Raises:
        ValueError: no aim, or another direction.
    """
    if not aims or set(aims.values()) - {"min", "max"}:
        raise ValueError(f"aims must say 'min' or 'max' for at least one figure, got {dict(aims)}")
    signs = [1.0 if direction == "min" else -1.0 for direction in aims.values()]
    rows = [[sign * each[name] for name, sign in zip(aims, signs, strict=True)] for each in figures]
    return np.array(rows, float).reshape(len(figures), len(aims))


def front(points: Array) -> list[int]:
    """Those that no other is at least as good as everywhere and better than somewhere.

    Args:
        points: (n, aims), each to be small. Of equal points all are in the front.

    Returns:
        Their indices, ascending.
    """
    remaining = np.lexsort(points.T[::-1])  # none is dominated by a later one
    undominated: list[int] = []
    while remaining.size:
        best = points[remaining[0]]
        undominated.append(int(remaining[0]))
        rest = remaining[1:]
        dominated = (points[rest] >= best).all(axis=1) & (points[rest] > best).any(axis=1)
        remaining = rest[~dominated]
    return sorted(undominated)


def hypervolume(points: Array, reference: Sequence[float]) -> float:
    """The area between two-dimensional points and a reference that is worse than they are.

    Args:
        points: (n, 2), each to be small; those beyond the reference add nothing.
        reference: the worst corner.
    """
    worst_x, worst_y = reference
    area = 0.0
    for x, y in sorted(map(tuple, points.tolist())):
        if x < worst_x and y < worst_y:
            area += (worst_x - x) * (worst_y - y)
            worst_y = y
    return float(area)
