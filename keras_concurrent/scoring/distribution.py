"""The paper's own distribution of a network over units (section V-A), the baseline to beat.

Connected components of the graph without source and sink are groups; the largest first, each goes
to the least loaded unit, where load is the number of vertices. Every unit gets the input, the sink
gathers. As units grow the largest group decides, so latency stops falling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import networkx as nx

from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.scoring.partition import Partition


def components(graph: TaskGraph) -> list[list[str]]:
    """Names of the tasks that hang together without source and sink.

    Each component in topological order, the component of the first task first.
    """
    joined = nx.Graph()
    joined.add_nodes_from(task.name for task in graph.tasks)
    joined.add_edges_from((a, b) for a, after in graph.successors.items() for b in after)
    position = {task.name: i for i, task in enumerate(graph.tasks)}
    parts = (sorted(names, key=position.__getitem__) for names in nx.connected_components(joined))
    return sorted(parts, key=lambda names: position[names[0]])


def distribute(graph: TaskGraph, units: int) -> Partition:
    """Whole components on units, the largest first, each on the least loaded.

    Of equal components the one of the earliest task comes first; of equal units the lowest.

    Args:
        graph: from `TaskGraph.from_architecture`.
        units: n, at least 1.

    Raises:
        ValueError: ``units`` below 1.
    """
    if units < 1:
        raise ValueError(f"units must be at least 1, got {units!r}")
    loads = [0] * units
    unit_of = {}
    for names in sorted(components(graph), key=len, reverse=True):
        unit = loads.index(min(loads))
        loads[unit] += len(names)
        unit_of.update(dict.fromkeys(names, unit))
    return Partition(unit_of, units)


def balance(loads: Sequence[float]) -> float:
    """Normalised Shannon entropy of the units' loads: 1 is even, 0 is all on one unit.

    Args:
        loads: the load of every unit, unused ones included.

    Raises:
        ValueError: no unit, or no load at all.
    """
    total = sum(loads)
    if not loads or total <= 0:
        raise ValueError(f"loads must hold some load, got {loads!r}")
    if len(loads) == 1:
        return 1.0
    shares = [load / total for load in loads if load]
    return sum(share * math.log(1 / share) for share in shares) / math.log(len(loads))
