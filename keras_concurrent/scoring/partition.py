"""Hypergraph partitions of a task graph (paper, section III-C), by Mt-KaHyPar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from keras_concurrent.errors import MissingExtraError
from keras_concurrent.planning.taskgraph import TaskGraph

_TOTAL_WEIGHT = 10**9  # Mt-KaHyPar keeps weights in 32 bits


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

        A tensor is sent once to a unit, however many of its readers sit there. The source hands out
        the graph's inputs from a unit that reads them; the sink sits on the unit where gathering
        the graph's outputs costs least.
        """
        travelling = 0
        for tensor, size in graph.tensor_bytes.items():
            travelling += size * max(0, len(self._units_of(graph, tensor)) - 1)
        return travelling + min(self.gathering_bytes(graph))

    def gathering_bytes(self, graph: TaskGraph) -> list[int]:
        """By unit, the bytes of outputs that would travel to the sink if it were there."""
        gathered = [0] * self.units
        for tensor in graph.outputs:
            for unit in set(range(self.units)) - self._units_of(graph, tensor):
                gathered[unit] += graph.tensor_bytes[tensor]
        return gathered

    def _units_of(self, graph: TaskGraph, tensor: str) -> set[int]:
        """The units that write or read a tensor."""
        units = {self.unit_of[name] for name in graph.consumers[tensor]}
        if tensor in graph.producer:
            units.add(self.unit_of[graph.producer[tensor]])
        return units


@cache
def _library() -> tuple[Any, Any]:
    try:
        import mtkahypar
    except ImportError as error:
        raise MissingExtraError("mtkahypar", "design") from error
    return mtkahypar, mtkahypar.initialize(1, print_warnings=False)


def partition(graph: TaskGraph, units: int, epsilon: float, seed: int = 0) -> Partition:
    """Split a graph over n units so that few bytes are cut.

    One vertex a task, weighing its FLOPs, and the weightless sink, which reads the graph's outputs;
    one hyperedge a tensor, joining its writer and all its readers, costing its bytes; the objective
    is the connectivity metric of Eq. 3. The source needs no vertex: it goes where its readers are.

    Args:
        graph: at least one task.
        units: n, at least 1.
        epsilon: a unit may hold ``1 + epsilon`` times the mean load, where that can be met.
        seed: what the partitioner draws from; it runs in its deterministic mode.

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
    sink = len(names)
    edges, costs = [], []
    for tensor, size in sorted(graph.tensor_bytes.items()):
        pins = {index[name] for name in graph.consumers[tensor]}
        if tensor in graph.producer:
            pins.add(index[graph.producer[tensor]])
        if tensor in graph.outputs:
            pins.add(sink)
        if len(pins) > 1:
            edges.append(sorted(pins))
            costs.append(size)
    context = library.context_from_preset(mtkahypar.PresetType.DETERMINISTIC)
    context.set_partitioning_parameters(units, epsilon, mtkahypar.Objective.KM1)
    context.logging = False
    mtkahypar.set_seed(seed)
    hypergraph = library.create_hypergraph(
        context,
        len(names) + 1,
        len(edges),
        edges,
        _scaled([*(task.flops for task in graph.tasks), 0]),
        _scaled(costs),
    )
    parts = hypergraph.partition(context)
    return Partition({name: parts.block_id(i) for name, i in index.items()}, units)


def _scaled(weights: list[int]) -> list[int]:
    """Whole numbers of a fixed sum, so that the least weight, 1, hardly counts."""
    scale = sum(weights) / _TOTAL_WEIGHT or 1.0
    return [max(1, round(weight / scale)) for weight in weights]
