"""Hypergraph partitions of a task graph (paper, section III-C), by Mt-KaHyPar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from keras_concurrent.errors import MissingExtraError
from keras_concurrent.taskgraph import TaskGraph

_MAX_TOTAL_WEIGHT = 10**9  # Mt-KaHyPar keeps weights in 32 bits


@dataclass(frozen=True)
class Partition:
    """Which unit computes which task.

    Args:
        unit_of: unit 0..n-1 of every task.
        units: n.
    """

    unit_of: Mapping[str, int]
    units: int

    def loads(self, graph: TaskGraph) -> list[int]:
        """FLOPs on every unit."""
        loads = [0] * self.units
        for task in graph.tasks:
            loads[self.unit_of[task.name]] += task.flops
        return loads

    def connectivity_bytes(self, graph: TaskGraph) -> int:
        """Lambda (Eq. 3): over the cut tensors, bytes * (number of units touched - 1).

        A tensor is sent once to a unit, however many of its readers sit there.
        """
        total = 0
        for tensor, size in graph.tensor_bytes.items():
            tasks = [*graph.consumers[tensor]]
            if tensor in graph.producer:
                tasks.append(graph.producer[tensor])
            touched = {self.unit_of[name] for name in tasks}
            total += size * max(0, len(touched) - 1)
        return total


@cache
def _library() -> tuple[Any, Any]:
    try:
        import mtkahypar
    except ImportError as error:
        raise MissingExtraError("mtkahypar", "design") from error
    return mtkahypar, mtkahypar.initialize(1, print_warnings=False)


def partition(graph: TaskGraph, units: int, epsilon: float, seed: int = 0) -> Partition:
    """Split a graph over n units so that few bytes are cut.

    One vertex a task, weighing its FLOPs; one hyperedge a tensor, joining its writer and all its
    readers, costing its bytes; the objective is the connectivity metric of Eq. 3.

    Args:
        graph: at least one task.
        units: n, at least 1.
        epsilon: a unit may hold ``1 + epsilon`` times the mean load, where that can be met.
        seed: of the partitioner, which runs in its deterministic mode.

    Raises:
        ValueError: ``units`` below 1 or a negative ``epsilon``.
    """
    if units < 1:
        raise ValueError(f"units must be at least 1, got {units!r}")
    if epsilon < 0:
        raise ValueError(f"epsilon must not be negative, got {epsilon!r}")
    names = [task.name for task in graph.tasks]
    if units == 1:
        return Partition(dict.fromkeys(names, 0), 1)
    mtkahypar, library = _library()
    index = {name: i for i, name in enumerate(names)}
    edges, costs = [], []
    for tensor in sorted(graph.producer):
        pins = {index[graph.producer[tensor]], *(index[n] for n in graph.consumers[tensor])}
        if len(pins) > 1:
            edges.append(sorted(pins))
            costs.append(graph.tensor_bytes[tensor])
    context = library.context_from_preset(mtkahypar.PresetType.DETERMINISTIC)
    context.set_partitioning_parameters(units, epsilon, mtkahypar.Objective.KM1)
    context.logging = False
    mtkahypar.set_seed(seed)
    hypergraph = library.create_hypergraph(
        context,
        len(names),
        len(edges),
        edges,
        _scaled([task.flops for task in graph.tasks]),
        _scaled(costs),
    )
    parts = hypergraph.partition(context)
    return Partition({name: parts.block_id(i) for name, i in index.items()}, units)


def _scaled(weights: list[int]) -> list[int]:
    scale = max(1.0, sum(weights) / _MAX_TOTAL_WEIGHT)
    return [max(1, round(weight / scale)) for weight in weights]
