"""Plan -> few convex segments.

A segment is a set of tasks that one board runs in one call. The quotient graph of all segments has
no cycle, so any assignment of segments to boards can run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from keras_concurrent.cluster import Cluster
from keras_concurrent.planning.chains import chains, vertices
from keras_concurrent.planning.effort import USUAL, Effort
from keras_concurrent.planning.problem import fastest_first, new_state, problem_of
from keras_concurrent.planning.schedule import Plan, decode, fits, schedule
from keras_concurrent.planning.taskgraph import TaskGraph

_CHAIN = 1 / 8  # of the smallest board's memory: more would leave gaps that nothing fits into
_ROUNDING = 1 + 1e-9  # latencies this close are equal: they are sums in another order


def merge_segments(plan: Plan, cluster: Cluster) -> Plan:
    """Group a plan's tasks into segments, so that calls cost little; see `merging`.

    Returns:
        A plan whose tasks are the segments.
    """
    from keras_concurrent.planning import merging

    graph, boards = plan.graph, fastest_first(cluster)
    problem = problem_of(graph, cluster)
    number = {board.name: i for i, board in enumerate(boards)}
    homes = np.array([number[plan.assignment[task.name]] for task in graph.tasks])
    call_s = np.array([board.call_s for board in boards])
    first, _ = merging.merge(problem, new_state(problem), call_s, homes)
    names = [task.name for task in graph.tasks]
    groups: dict[int, list[str]] = {}
    for name, segment in zip(names, first.tolist(), strict=True):
        groups.setdefault(segment, []).append(name)
    merged = graph.quotient(groups.values())
    return decode(merged, cluster, {t.name: plan.assignment[t.name] for t in merged.tasks})


def one_board(graph: TaskGraph, cluster: Cluster) -> Plan:
    """Everything as one segment on the best board: what distribution has to beat.

    A board without the memory for it is taken only where none has it.
    """
    whole = graph.quotient([[task.name for task in graph.tasks]])
    name = whole.tasks[0].name
    plans = [decode(whole, cluster, {name: board.name}) for board in cluster.boards]
    return min(plans, key=lambda plan: (not fits(plan, cluster), plan.latency_s))


def plan_segments(
    graph: TaskGraph,
    cluster: Cluster,
    *,
    effort: Effort = USUAL,
    pins: Mapping[str, str] | None = None,
) -> Plan:
    """Plan a graph as segments on the boards of a cluster; on one board where that is best.

    Args:
        graph: the tasks.
        cluster: the boards and their network.
        effort: what the search for a better plan than the list schedules' may take.
        pins: board that a task must be on, by the task's name.

    Raises:
        ClusterError: the boards' memory is not enough, or a pin's board is none of the cluster's.
        MissingExtraError: numba is not installed, or ortools where ``effort`` polishes.
        ValueError: a graph without a task or without an output, or a pin of a task that is not
            there.
    """
    pins = dict(pins or {})
    alone = one_board(graph, cluster)
    least = min(board.memory_bytes for board in cluster.boards)
    roomy = max(alone.memory_bytes.values()) <= least
    most_bytes = math.inf if roomy else least * _CHAIN
    groups = chains(graph, pins, most_bytes)
    chained = graph.quotient(groups)
    pinned = {group[0]: pins[task] for group in groups for task in group if task in pins}
    grains = [chained]
    wholes = vertices(chained, pinned, most_bytes)
    if len(wholes) < len(chained.tasks):
        grains.insert(0, chained.quotient(wholes))
    # A search that knows no calls may leave more of them than the list schedule it started from.
    efforts = dict.fromkeys((replace(effort, evaluations=0), effort))
    plans = [
        schedule(grain, cluster, effort=each, pins=pinned) for grain in grains for each in efforts
    ]
    if effort.polish_s is not None:
        from keras_concurrent.planning.polish import polish

        polished = polish(
            plans[-1], cluster, time_limit_s=effort.polish_s, seed=effort.seed, pins=pinned
        )
        plans.append(polished.plan)
    merged = [merge_segments(plan, cluster) for plan in plans]
    shared = min(merged, key=lambda plan: plan.latency_s)
    allowed = fits(alone, cluster) and set(pins.values()) <= set(alone.boards)
    return alone if allowed and shared.latency_s * _ROUNDING >= alone.latency_s else shared
