"""The plan of an order, and the file that it is of: the model itself, or the model in strips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from keras_concurrent.cluster import Cluster
from keras_concurrent.errors import ClusterError
from keras_concurrent.export.stripping import StripPlan, StripPlanner
from keras_concurrent.planning.bounds import lower_bound_s
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.schedule import Plan
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile

_ROUNDING = 1 + 1e-9  # latencies this close are equal: they are sums in another order


@dataclass(frozen=True)
class Planned:
    """A plan, and what it is of.

    Args:
        plan: of segments.
        file: whose operators they are.
        bound_s: what no plan of these operators can undercut.
        strips: how the model was split, where it was.
    """

    plan: Plan
    file: TfliteFile
    bound_s: float
    strips: StripPlan | None = None


def plan_either(
    file: TfliteFile,
    graph: TaskGraph,
    cluster: Cluster,
    wanted: int | str,
    effort: Effort,
    whole: Callable[[], Plan],
) -> Planned:
    """The better plan: of the model as it is, or of the model in strips.

    Args:
        file: the model.
        graph: its tasks with their costs.
        cluster: the boards.
        wanted: ``"none"``: the model as it is; ``"auto"``: whichever is better, in any number of
            strips; a number: in so many strips.
        effort: what the search for strips may take.
        whole: plans the model as it is.

    Raises:
        ClusterError: no plan fits into the boards' memory.
        ValueError: more strips than boards, or a number of them for a model that has none.
    """
    boards = len(cluster.boards)
    tried = None
    if wanted != "none" and file.whole_because is None and boards > 1:
        counts = range(2, boards + 1) if wanted == "auto" else (int(wanted),)
        rated = as_measured(file, graph, cluster)
        tried = StripPlanner(file, rated, counts, effort).plan()
        if tried is not None:
            bound_s = lower_bound_s(TaskGraph.from_tflite(tried.strips.file), rated)
            in_strips = Planned(tried.plan, tried.strips.file, bound_s, tried)
    if wanted not in ("none", "auto"):
        if tried is None:
            reason = file.whole_because or "no operator of it can be split, or no board has room"
            raise ValueError(f"strips must be none for {file.origin}: {reason}")
        return in_strips
    try:
        plan = whole()
    except ClusterError:
        if tried is None:
            raise
        return in_strips
    if tried is not None and tried.plan.latency_s * _ROUNDING < plan.latency_s:
        return in_strips
    return Planned(plan, file, lower_bound_s(graph, cluster))


def as_measured(file: TfliteFile, graph: TaskGraph, cluster: Cluster) -> Cluster:
    """The boards, as fast as they were measured to compute the whole model.

    Of strips nothing was measured: an operator in strips counts by its board's rates, and these
    are such that the model as it is takes what it was measured to take.
    """
    if not graph.measured_at_flops_per_s and not any(task.work for task in graph.tasks):
        return cluster
    by_rates = TaskGraph.from_tflite(file)
    boards = []
    for board in cluster.boards:
        rated_s, known_s = (
            sum(each.seconds_on(task, board) for task in each.tasks) for each in (by_rates, graph)
        )
        boards.append(board.faster(rated_s / known_s) if rated_s and known_s else board)
    return replace(cluster, boards=tuple(boards))
