"""Which tasks stay on which boards, from what a user calls them."""

from __future__ import annotations

from collections.abc import Mapping

from keras_concurrent.planning.taskgraph import TaskGraph


def pinned_tasks(pins: Mapping[str, str], graph: TaskGraph) -> dict[str, str]:
    """Board by task.

    Args:
        pins: board by an operator's number or a vertex's name, see
            `keras_concurrent.export.order.Order`.
        graph: the model's task graph.

    Raises:
        ValueError: the model has no such operator or vertex.
    """
    boards: dict[str, str] = {}
    for what, board in pins.items():
        tasks = [
            task.name
            for task in graph.tasks
            if what in (*task.vertices, *(str(operator) for operator in task.operators))
        ]
        if not tasks:
            raise ValueError(f"a pin must name an operator or a vertex of the model, got {what!r}")
        boards.update(dict.fromkeys(tasks, board))
    return boards
