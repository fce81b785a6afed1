"""The concurrency score (paper, section III-C): how well a network splits over n units.

Lower is better. It has three terms:

- ``eta``: longest path over vertices a unit (Eq. 2); what n units cannot shorten.
- ``Lambda``: bytes that must travel (Eq. 3).
- ``delta_w``: heaviest unit over mean unit; 1 is perfect.

``CS = (delta_w^a * Lambda'^b * eta^c) ^ (1/3)`` with a = c = 1, b = 1.5 (Eq. 4), where
``Lambda' = Lambda / (U_c * n)`` and ``U_c`` is the smallest tensor of any edge between vertices.
Lambda counts what the source scatters and the sink gathers; eta counts neither of the two.

The partitioner runs for several imbalance bounds epsilon. Each gives one partition, and the
smallest CS of those that use more than one unit is the network's. ``delta_w`` and ``used_units``
stand beside it, since a low score can come from leaving units idle. What the score misses is time:
a plan's predicted latency (`keras_concurrent.planning.segments`) is the second figure to look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.scoring.partition import Partition, partition

EPSILONS = (0.03, 0.1, 0.25, 0.5, 1.0)
_A, _B, _C = 1.0, 1.5, 1.0


@dataclass(frozen=True)
class PartitionScore:
    """The score's terms for one partition.

    Args:
        epsilon: imbalance bound given to the partitioner.
        concurrency_score: CS (Eq. 4).
        eta: longest path / (vertices / n) (Eq. 2).
        lambda_bytes: Lambda (Eq. 3).
        lambda_normalised: Lambda'.
        delta_w: heaviest unit / mean unit.
        used_units: units that got any work.
    """

    epsilon: float
    concurrency_score: float
    eta: float
    lambda_bytes: int
    lambda_normalised: float
    delta_w: float
    used_units: int


@dataclass(frozen=True)
class Score:
    """The concurrency score on n units.

    Args:
        units: n.
        best: the terms of the partition of the smallest CS, of equals of the smallest ``delta_w``,
            among those that use more than one unit; without any, of the one that uses one.
        sweep: the terms of all partitions, one an epsilon.
        partition: the partition that ``best`` is of.
    """

    units: int
    best: PartitionScore
    sweep: tuple[PartitionScore, ...]
    partition: Partition


def longest_path(graph: TaskGraph) -> int:
    """Number of tasks on the longest path."""
    depth: dict[str, int] = {}
    for task in graph.tasks:
        depth[task.name] = 1 + max(
            (depth[name] for name in graph.predecessors[task.name]), default=0
        )
    return max(depth.values(), default=0)


def eta(graph: TaskGraph, units: int) -> float:
    """Longest path / (vertices / n) (Eq. 2)."""
    return longest_path(graph) * units / len(graph.tasks)


def rate(
    graph: TaskGraph, split: Partition, *, epsilon: float = 0.0, unit_bytes: int | None = None
) -> PartitionScore:
    """The score's terms for a given partition.

    Args:
        graph: its inputs are the source's tensors, its outputs what the sink reads.
        split: which unit computes which vertex.
        epsilon: kept for the record.
        unit_bytes: U_c; by default the smallest tensor of any edge between this graph's vertices.
            To compare graphs of one generator, give the smallest of all of them.
    """
    if unit_bytes is None:
        between = [graph.tensor_bytes[t] for t in graph.producer if graph.consumers[t]]
        unit_bytes = min(between or graph.tensor_bytes.values())
    loads = split.loads(graph)
    total = sum(loads)
    delta_w = max(loads) * split.units / total if total else 1.0
    travelling = split.connectivity_bytes(graph)
    normalised = travelling / (unit_bytes * split.units)
    steps = eta(graph, split.units)
    value = (delta_w**_A * normalised**_B * steps**_C) ** (1 / 3)
    used = len(set(split.unit_of.values()))
    return PartitionScore(epsilon, value, steps, travelling, normalised, delta_w, used)


def concurrency_score(
    graph: TaskGraph,
    units: int,
    *,
    epsilons: Sequence[float] = EPSILONS,
    unit_bytes: int | None = None,
    seed: int = 0,
) -> Score:
    """Score a graph on n units.

    Args:
        graph: ``TaskGraph.from_architecture(...)``, or any with FLOPs and bytes.
        units: n.
        epsilons: imbalance bounds to try.
        unit_bytes: U_c; by default the smallest tensor between this graph's vertices, see `rate`.
        seed: what the partitioner draws from.

    Raises:
        ValueError: an empty graph, ``units`` below 1, or no epsilon.
    """
    if not graph.tasks:
        raise ValueError("graph must have at least one task, got none")
    if not epsilons:
        raise ValueError("epsilons must hold at least one imbalance bound, got none")
    partitions = [partition(graph, units, epsilon, seed) for epsilon in epsilons]
    sweep = tuple(
        rate(graph, split, epsilon=epsilon, unit_bytes=unit_bytes)
        for epsilon, split in zip(epsilons, partitions, strict=True)
    )
    best = min(sweep, key=lambda c: (c.used_units == 1, c.concurrency_score, c.delta_w))
    return Score(units, best, sweep, partitions[sweep.index(best)])
