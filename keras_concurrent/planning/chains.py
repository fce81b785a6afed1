"""Tasks that a search need not look at one by one.

`chains`: between them no cut can pay. `vertices`: operators of one vertex, between which it seldom
does; with fewer tasks a search of the same effort comes farther.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from keras_concurrent.planning.taskgraph import TaskGraph


def chains_as_tasks(graph: TaskGraph) -> TaskGraph:
    """The graph with each of its `chains` as one task."""
    return graph.quotient(chains(graph))


def chains(
    graph: TaskGraph, pins: Mapping[str, str] | None = None, most_bytes: float = math.inf
) -> list[list[str]]:
    """Group neighbours between which no cut can pay.

    Where a task's only reader reads nothing else, a cut between the two sends the tensor
    between them; it is never needed if a cut before or behind the pair sends no more.

    Args:
        graph: the tasks.
        pins: board that a task must be on, by name; tasks of two boards are never grouped.
        most_bytes: the most weights that a group may have, so that it fits on a board.

    Returns:
        Names of the tasks of each group, in topological order.
    """
    pins = pins or {}
    members: dict[str, list[str]] = {task.name: [task.name] for task in graph.tasks}
    head = {task.name: task.name for task in graph.tasks}
    board = {task.name: pins.get(task.name) for task in graph.tasks}
    weights = {task.name: task.parameter_bytes for task in graph.tasks}
    wanted = set(graph.outputs)
    for task in graph.tasks:
        readers = graph.successors[task.name]
        if len(readers) != 1 or wanted.intersection(task.outputs):
            continue
        reader = graph.by_name[readers[0]]
        if set(reader.inputs) != set(task.outputs):
            continue
        own = head[task.name]
        here, there = board[own], board[reader.name]
        if here and there and here != there:
            continue
        if weights[own] + weights[reader.name] > most_bytes:
            continue
        first = graph.by_name[members[own][0]]
        between = sum(graph.tensor_bytes[t] for t in task.outputs)
        before = sum(graph.tensor_bytes[t] for t in first.inputs)
        behind = sum(graph.tensor_bytes[t] for t in reader.outputs)
        # A cut before the pair takes along what is before this one; behind it, the reader.
        free = (between >= before and not here) or (between >= behind and not there)
        if free or (here and there):
            members[own] += members.pop(reader.name)
            head[reader.name] = own
            board[own] = board[own] or board[reader.name]
            weights[own] += weights[reader.name]
    return list(members.values())


def vertices(
    graph: TaskGraph, pins: Mapping[str, str] | None = None, most_bytes: float = math.inf
) -> list[list[str]]:
    """Group the operators of a network's vertex, as far as no other vertex reads between them.

    A task goes with its only reader where both compute the same vertex, unless it hands on less
    than it reads, as a pooling does: behind that a cut sends less.

    Args:
        graph: the tasks, in chains or not. Where none knows its vertex nothing is grouped.
        pins: board that a task must be on, by name; such a task stays alone.
        most_bytes: see `chains`.

    Returns:
        Names of the tasks of each group.
    """
    pins = pins or {}
    members = {task.name: [task.name] for task in graph.tasks}
    weights = {task.name: task.parameter_bytes for task in graph.tasks}
    wanted = set(graph.outputs)
    for task in graph.tasks:
        readers = graph.successors[task.name]
        if len(readers) != 1 or wanted.intersection(task.outputs):
            continue
        reader = graph.by_name[readers[0]]
        if not task.vertices or not set(task.vertices) <= set(reader.vertices):
            continue
        if task.name in pins or reader.name in pins:
            continue
        given = sum(graph.tensor_bytes[tensor] for tensor in task.outputs)
        if given < max(graph.tensor_bytes[tensor] for tensor in task.inputs):
            continue
        if weights[task.name] + weights[reader.name] > most_bytes:
            continue
        members[reader.name] = members.pop(task.name) + members[reader.name]
        weights[reader.name] += weights[task.name]
    return list(members.values())
