"""Plan -> few convex segments, cut out of the .tflite.

A segment is a set of tasks that one board runs in one call. The quotient graph of all segments has
no cycle, so any assignment of segments to boards can run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from keras_concurrent.cluster import Cluster
from keras_concurrent.schedule import Plan, decode, fits, schedule
from keras_concurrent.taskgraph import TaskGraph
from keras_concurrent.tflite_file import TfliteFile

EVALUATIONS = 20_000
_CHAIN = 1 / 8  # of the smallest board's memory: more would leave gaps that nothing fits into
_ROUNDING = 1 + 1e-9  # latencies this close are equal: they are sums in another order


@dataclass(frozen=True)
class CutSegment:
    """A segment's file.

    Args:
        task: name of the plan's task that it computes.
        content: the .tflite's bytes.
        inputs: tensor names, in the file's order.
        outputs: tensor names, in the file's order.
    """

    task: str
    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def merge_segments(plan: Plan, cluster: Cluster) -> Plan:
    """Group a plan's tasks into segments, so that calls cost little.

    Neighbours in a board's planned order are merged as long as the predicted latency, calls
    included, does not grow. Merging saves a call and may delay a tensor that someone waits for.

    Returns:
        A plan whose tasks are the segments.
    """
    graph = plan.graph
    groups = {board: [[task] for task in plan.tasks_on(board)] for board in plan.boards}

    def decoded() -> Plan | None:
        try:
            merged = graph.merged(group for board in groups for group in groups[board])
        except ValueError:
            return None  # the groups would wait for each other
        boards = {
            group_name: plan.assignment[group_name]
            for group_name in (task.name for task in merged.tasks)
        }
        return decode(merged, cluster, boards)

    best = decoded()
    assert best is not None  # single tasks cannot wait for each other
    improved = True
    while improved:
        improved = False
        for own in groups.values():
            index = 0
            while index + 1 < len(own):
                first, second = own[index], own[index + 1]
                own[index : index + 2] = [first + second]
                candidate = decoded()
                if candidate is not None and candidate.latency_s <= best.latency_s * _ROUNDING:
                    best = candidate
                    improved = True
                else:
                    own[index : index + 1] = [first, second]
                    index += 1
    return best


def one_board(graph: TaskGraph, cluster: Cluster) -> Plan:
    """Everything as one segment on the best board: what distribution has to beat.

    A board without the memory for it is taken only where none has it.
    """
    whole = graph.merged([[task.name for task in graph.tasks]])
    name = whole.tasks[0].name
    plans = [decode(whole, cluster, {name: board.name}) for board in cluster.boards]
    return min(plans, key=lambda plan: (not fits(plan, cluster), plan.latency_s))


def plan_segments(
    graph: TaskGraph,
    cluster: Cluster,
    *,
    evaluations: int = EVALUATIONS,
    seed: int = 0,
    budget_s: float | None = None,
    polish_s: float | None = None,
    pins: Mapping[str, str] | None = None,
) -> Plan:
    """Plan a graph as segments on the boards of a cluster; on one board where that is best.

    Args:
        graph: the tasks.
        cluster: the boards and their network.
        evaluations: of the search for a better plan than the list schedules'.
        seed: of that search.
        budget_s: of that search, see `keras_concurrent.schedule.schedule`.
        polish_s: how long CP-SAT goes on from there, see `keras_concurrent.polish`.
        pins: board that a task must be on, by the task's name.

    Raises:
        ClusterError: the boards' memory is not enough, or a pin's board is none of the cluster's.
        MissingExtraError: numba is not installed, or ortools where ``polish_s`` is given.
        ValueError: a graph without a task or without an output, a pin of a task that is not there,
            or a negative number.
    """
    pins = dict(pins or {})
    alone = one_board(graph, cluster)
    least = min(board.memory_bytes for board in cluster.boards)
    roomy = max(alone.memory_bytes.values()) <= least
    groups = graph.chains(pins, math.inf if roomy else least * _CHAIN)
    chains = graph.merged(groups)
    pinned = {group[0]: pins[task] for group in groups for task in group if task in pins}
    # A search that knows no calls may leave more of them than the list schedule it started from.
    efforts = dict.fromkeys((0, evaluations))
    plans = [
        schedule(chains, cluster, evaluations=n, seed=seed, budget_s=budget_s, pins=pinned)
        for n in efforts
    ]
    if polish_s is not None:
        from keras_concurrent.polish import polish

        found = polish(plans[-1], cluster, time_limit_s=polish_s, seed=seed, pins=pinned)
        plans.append(found.plan)
    merged = [merge_segments(plan, cluster) for plan in plans]
    shared = min(merged, key=lambda plan: plan.latency_s)
    allowed = fits(alone, cluster) and set(pins.values()) <= set(alone.boards)
    return alone if allowed and shared.latency_s * _ROUNDING >= alone.latency_s else shared


def cut(file: TfliteFile, plan: Plan) -> tuple[CutSegment, ...]:
    """Cut a plan's segments out of the .tflite that its graph was read from."""
    return tuple(
        CutSegment(
            task.name,
            file.cut(task.operators, task.inputs, task.outputs),
            task.inputs,
            task.outputs,
        )
        for task in plan.graph.tasks
    )
