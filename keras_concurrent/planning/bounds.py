"""What no plan can beat: a lower bound of the latency."""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.planning.taskgraph import Task, TaskGraph


def lower_bound_s(graph: TaskGraph, cluster: Cluster) -> float:
    """The longer of two times, neither of which any plan on these boards can undercut.

    - The longest path: every task of it on the board that is fastest for it, no tensor between
      boards, but the image fetched and the answer sent over the best link.
    - The work: all of it spread evenly by the boards' rates (where tasks were measured on them, the
      highest of any task), once the first image can be there and
      before the first answer can be sent.

    Calls and the queues at the interfaces are left out, so a plan may reach neither.

    Args:
        graph: the tasks.
        cluster: the boards and their network.

    Returns:
        Seconds from sending the image to having the answer.
    """

    def travel_s(tensor: str) -> float:
        """The least time in which a tensor comes from the client, or goes to it."""
        size = graph.tensor_bytes[tensor]
        return cluster.message_s(CLIENT, size) + min(
            size / cluster.bytes_per_s(CLIENT, board.name)
            + cluster.latency_s(CLIENT, board.name)
            + cluster.message_s(board.name, size)
            for board in cluster.boards
        )

    ready = {tensor: travel_s(tensor) for tensor in graph.inputs}
    begins = []
    for task in graph.tasks:
        start = max((ready[tensor] for tensor in task.inputs), default=0.0)
        begins.append(start if not graph.predecessors[task.name] else float("inf"))
        end = start + min(graph.seconds_on(task, board) for board in cluster.boards)
        ready.update(dict.fromkeys(task.outputs, end))
    answers = [t for t in graph.outputs if t in graph.producer]
    path_s = max((ready[t] + travel_s(t) for t in answers), default=0.0)
    useful = _leads_to_an_answer(graph)
    work_s = _shared_s([task for task in graph.tasks if task.name in useful], graph, cluster)
    last_s = min((travel_s(t) for t in answers), default=0.0)
    return max(path_s, min(begins) + work_s + last_s if work_s else 0.0)


def _shared_s(tasks: Sequence[Task], graph: TaskGraph, cluster: Cluster) -> float:
    """The least time in which the boards together do tasks, cut as finely as one likes.

    Any weights w of the tasks give a bound: a board does at most max(w / its seconds) a second.
    The mean of the boards' seconds is exact where the boards are equal.
    """
    seconds = [[graph.seconds_on(task, board) for board in cluster.boards] for task in tasks]
    # A task that some board does in no time at all is no work for the boards together.
    weighed = [(math.fsum(row) / len(row), row) for row in seconds if all(row)]
    if not weighed:
        return 0.0
    rates = [
        max(weight / row[board] for weight, row in weighed) for board in range(len(cluster.boards))
    ]
    return math.fsum(weight for weight, _ in weighed) / math.fsum(rates)


def _leads_to_an_answer(graph: TaskGraph) -> set[str]:
    """Tasks after which something must still be sent."""
    wanted = set(graph.outputs)
    found = set()
    for task in reversed(graph.tasks):
        if wanted.intersection(task.outputs):
            found.add(task.name)
            wanted.update(task.inputs)
    return found
