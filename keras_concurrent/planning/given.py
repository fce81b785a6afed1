"""Segments of an assignment that is given, such as strip k on board k, found without a search."""

from __future__ import annotations

from collections.abc import Mapping

from keras_concurrent.cluster import Cluster
from keras_concurrent.planning.schedule import Plan, decode
from keras_concurrent.planning.taskgraph import TaskGraph


def segments_on(graph: TaskGraph, cluster: Cluster, assignment: Mapping[str, str]) -> Plan:
    """The better of two ways to group what is given to each board.

    A board's tasks between two waits for others become one segment, or two: what others wait for,
    so that it travels early, and the rest.

    Args:
        graph: the tasks.
        cluster: the boards.
        assignment: name of the board of every task.

    Raises:
        ClusterError: a board that the cluster does not have.
        ValueError: a graph without a task or without an output.
    """
    plans = []
    for early in (False, True):
        merged = graph.quotient(_groups(graph, assignment, early))
        boards = {task.name: assignment[task.name] for task in merged.tasks}
        plans.append(decode(merged, cluster, boards))
    return min(plans, key=lambda plan: plan.latency_s)


def _groups(graph: TaskGraph, assignment: Mapping[str, str], early: bool) -> list[list[str]]:
    """Tasks by board and by how often something was waited for before them.

    No two groups wait for each other: what a group reads was waited for less often, or as often on
    the same board and, if ``early``, by what sends, which reads nothing of the rest.
    """
    waits: dict[str, int] = {}
    for task in graph.tasks:
        before = graph.predecessors[task.name]
        here = assignment[task.name]
        waits[task.name] = max((waits[b] + (assignment[b] != here) for b in before), default=0)
    home = {name: (assignment[name], waits[name]) for name in waits}
    awaited: set[str] = set()
    if early:
        for task in reversed(graph.tasks):
            behind = graph.successors[task.name]
            if any(
                home[other][0] != home[task.name][0]
                or (other in awaited and home[other] == home[task.name])
                for other in behind
            ):
                awaited.add(task.name)
    groups: dict[tuple[tuple[str, int], bool], list[str]] = {}
    for name in waits:
        groups.setdefault((home[name], name not in awaited), []).append(name)
    return list(groups.values())
