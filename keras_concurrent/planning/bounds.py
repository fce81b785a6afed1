"""What no plan can beat: a lower bound of the latency."""

from __future__ import annotations

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.planning.taskgraph import TaskGraph


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
    rates = _rates(graph, cluster)

    def travel_s(tensor: str) -> float:
        """The least time in which a tensor comes from the client, or goes to it."""
        size = graph.tensor_bytes[tensor]
        return min(
            size / cluster.bytes_per_s(CLIENT, board.name) + cluster.latency_s(CLIENT, board.name)
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
    # A task that some board does in no time at all is no work for the boards together.
    work = sum(
        graph.operations(task) for task in graph.tasks
        if task.name in useful and all(graph.seconds_on(task, board) for board in cluster.boards)
    )  # fmt: skip
    work_s = work / sum(rates)
    last_s = min((travel_s(t) for t in answers), default=0.0)
    return max(path_s, min(begins) + work_s + last_s if work_s else 0.0)


def _rates(graph: TaskGraph, cluster: Cluster) -> list[float]:
    """For each board the most operations a second that it reaches in any task."""
    found = []
    for board in cluster.boards:
        seconds = [graph.seconds_on(task, board) for task in graph.tasks]
        rates = [graph.operations(t) / s for t, s in zip(graph.tasks, seconds, strict=True) if s]
        found.append(max(rates, default=board.flops_per_s))
    return found


def _leads_to_an_answer(graph: TaskGraph) -> set[str]:
    """Tasks after which something must still be sent."""
    wanted = set(graph.outputs)
    found = set()
    for task in reversed(graph.tasks):
        if wanted.intersection(task.outputs):
            found.add(task.name)
            wanted.update(task.inputs)
    return found
