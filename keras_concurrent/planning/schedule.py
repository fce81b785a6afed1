"""Who computes what, and when: list scheduling with the network interface in it.

The execution model: a task takes its seconds on its board. A tensor travels once to each board that
reads it. A message takes its sender's processor first, holds its sender's interface for
``bytes / bandwidth``, arrives ``latency`` later and then takes its receiver's processor: messages
from one sender queue and messages from different senders do not. A board does one thing at a time:
it takes in what its next task reads, each tensor as it arrives, computes, and sends what others
read of it before it turns to the task after. Images start at the client, and the answer is there
when the client has taken in the last output.

A plan is an assignment, an order of the tasks on each board and an order of the messages on each
interface; the runtime keeps both orders. Times are computed in `keras_concurrent.planning.kernel`;
here they get their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.errors import ClusterError
from keras_concurrent.planning.effort import LISTS_ALONE, Effort
from keras_concurrent.planning.problem import (
    Problem,
    State,
    fastest_first,
    new_state,
    planned_order,
    problem_of,
    tensor_names,
)  # fmt: skip
from keras_concurrent.planning.taskgraph import TaskGraph

_TO_FIT = 20_000  # evaluations where the list schedules need more memory than there is


@dataclass(frozen=True)
class Slot:
    """A task on a board.

    Args:
        task: its name.
        board: the board's.
        start_s: it computes from here, in seconds after the image is sent,
        end_s: to here.
        sends_s: how long its board then sends what it wrote.
    """

    task: str
    board: str
    start_s: float
    end_s: float
    sends_s: float = 0.0


@dataclass(frozen=True)
class Message:
    """A tensor on its way.

    Args:
        tensor: its name.
        sender: a board, or the client.
        receiver: a board, or the client.
        bytes: its size.
        start_s: the sender's interface is taken from here
        sent_s: to here.
        arrival_s: it is at the receiver, who has not taken it in yet.
        begun_s: the sender's processor begins with it.
    """

    tensor: str
    sender: str
    receiver: str
    bytes: int
    start_s: float
    sent_s: float
    arrival_s: float
    begun_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """Who computes what, and when.

    Args:
        graph: the tasks, in the order in which the plan starts them.
        slots: one a task, in that order.
        messages: by start.
        latency_s: from sending the image to having the answer.
    """

    graph: TaskGraph
    slots: tuple[Slot, ...]
    messages: tuple[Message, ...]
    latency_s: float

    @cached_property
    def assignment(self) -> dict[str, str]:
        """Board of every task."""
        return {slot.task: slot.board for slot in self.slots}

    @property
    def boards(self) -> tuple[str, ...]:
        """The boards that compute something, by name."""
        return tuple(sorted(set(self.assignment.values())))

    @property
    def compute_s(self) -> dict[str, float]:
        """Seconds of work on every board that computes something; messages are none."""
        return {
            board: sum(s.end_s - s.start_s for s in self.slots if s.board == board)
            for board in self.boards
        }

    @cached_property
    def memory_bytes(self) -> dict[str, int]:
        """Weights of its tasks, and tensors that they read or write, on every board in use."""
        held: dict[str, set[str]] = {board: set() for board in self.boards}
        needed = dict.fromkeys(held, 0)
        for task in self.graph.tasks:
            board = self.assignment[task.name]
            held[board].update(task.inputs, task.outputs)
            needed[board] += task.parameter_bytes
        sizes = self.graph.tensor_bytes
        return {board: needed[board] + sum(sizes[t] for t in held[board]) for board in held}

    @property
    def wire_bytes(self) -> int:
        """Bytes of all messages together."""
        return sum(message.bytes for message in self.messages)

    def tasks_on(self, board: str) -> tuple[str, ...]:
        """Tasks of a board in planned order."""
        return tuple(slot.task for slot in self.slots if slot.board == board)

    def messages_from(self, sender: str) -> tuple[Message, ...]:
        """Messages of a board or of the client in planned order."""
        return tuple(message for message in self.messages if message.sender == sender)


def decode(graph: TaskGraph, cluster: Cluster, assignment: Mapping[str, str]) -> Plan:
    """The plan that runs a graph's tasks in the graph's own order on given boards.

    Args:
        graph: its tasks' order is kept on every board. Each task costs its board's ``call_s`` on
            top of its seconds.
        cluster: the boards.
        assignment: name of the board of every task.

    Raises:
        ClusterError: a board that the cluster does not have.
        MissingExtraError: numba is not installed.
        ValueError: a graph without a task or without an output.
    """
    problem = problem_of(graph, cluster, calls=True)
    state = _in_order(graph, cluster, problem, assignment)
    return _plan(graph, cluster, problem, state)


def schedule(
    graph: TaskGraph,
    cluster: Cluster,
    *,
    effort: Effort = LISTS_ALONE,
    pins: Mapping[str, str] | None = None,
    start: Mapping[str, str] | None = None,
) -> Plan:
    """The best of a portfolio of list schedules and packings, then improved by search.

    List schedules are HEFT with the interface in it, whose ranks weigh communication by 0, 0.5 and
    1, on the best single board and on the fastest 2, 3, ... all boards; packings leave together
    what hands each other large tensors, see `keras_concurrent.planning.portfolio`. Calls cost
    nothing here: `keras_concurrent.planning.segments` groups tasks afterwards, with their cost. No
    board gets more weights and tensors than it has memory for.

    Args:
        graph: any task graph with at least one task and one output.
        cluster: the boards and their network.
        effort: what the search after the portfolio may take. Its ``polish_s`` is for
            `keras_concurrent.planning.segments.plan_segments`: nothing is polished here.
        pins: board that a task must be on, by the task's name.
        start: board of every task in a plan that the search begins with too, such as strip k on
            board k.

    Returns:
        The plan of least latency found; of equals in the portfolio, the one on fewer boards.

    Raises:
        ClusterError: the boards' memory is not enough, or a pin's board is none of the cluster's.
        MissingExtraError: numba is not installed.
        ValueError: a graph without a task or without an output, or a pin of a task that is not
            there.
    """
    from keras_concurrent.planning.portfolio import portfolio

    problem = problem_of(graph, cluster, pins=pins)
    boards = len(cluster.boards)
    state, other, _, _ = portfolio(problem, boards)
    plan = _plan(graph, cluster, problem, state)
    fitting = fits(plan, cluster)
    if effort.evaluations or not fitting:
        from keras_concurrent.planning.annealing import search

        enough = replace(effort, evaluations=effort.evaluations or _TO_FIT)
        starts = (
            [state, other]
            if start is None
            else [_in_order(graph, cluster, problem, start), state, other]
        )
        search(problem, starts, boards, enough)
        searched = _plan(graph, cluster, problem, starts[0])
        if not fitting or searched.latency_s < plan.latency_s:
            plan = searched
    check_memory(plan, cluster)
    return plan


def _in_order(
    graph: TaskGraph, cluster: Cluster, problem: Problem, assignment: Mapping[str, str]
) -> State:
    """The plan that runs a graph's tasks in the graph's own order on given boards."""
    from keras_concurrent.planning import kernel

    boards = fastest_first(cluster)
    state = new_state(problem)
    state.board[:] = [boards.index(cluster.board(assignment[task.name])) for task in graph.tasks]
    kernel.place(problem, state, np.arange(len(graph.tasks)), len(boards), False)
    return state


def fits(plan: Plan, cluster: Cluster) -> bool:
    """Whether every board has the memory for its weights and tensors."""
    return all(
        needed <= cluster.board(board).memory_bytes for board, needed in plan.memory_bytes.items()
    )


def check_memory(plan: Plan, cluster: Cluster) -> None:
    """Every board has the memory for its weights and tensors.

    Raises:
        ClusterError: one has not; says how much it needs and has.
    """
    for board, needed in plan.memory_bytes.items():
        there = cluster.board(board).memory_bytes
        if needed > there:
            raise ClusterError(
                f"{board} needs {needed / 1e6:.1f} MB for weights and tensors and has "
                f"{there / 1e6:.1f} MB (memory_mb); more boards, or ones with more memory, may do"
            )


def _plan(graph: TaskGraph, cluster: Cluster, problem: Problem, state: State) -> Plan:
    """A plan in names, from a plan in numbers."""
    from keras_concurrent.planning.kernel import answered_s

    latency_s = float(answered_s(problem, state))
    order = planned_order(state).tolist()
    tensors = tensor_names(graph)
    names = [board.name for board in fastest_first(cluster)] + [CLIENT]
    board, start_s, end_s = state.board.tolist(), state.start_s.tolist(), state.end_s.tolist()
    sends_s = state.sends_s.tolist()
    slots = [
        Slot(graph.tasks[i].name, names[board[i]], start_s[i], end_s[i], sends_s[i]) for i in order
    ]
    messages = []
    for number, receiver in np.argwhere(state.at >= 0).tolist():
        sender, tensor = state.holder[number], tensors[number]
        if sender == receiver:
            continue
        sent_from = float(state.sent_from[number, receiver])
        messages.append(
            Message(
                tensor,
                names[sender],
                names[receiver],
                graph.tensor_bytes[tensor],
                sent_from,
                sent_from + float(problem.sizes[number] * problem.byte_s[sender, receiver]),
                float(state.at[number, receiver]),
                float(state.begun_s[number, receiver]),
            )
        )
    messages.sort(key=lambda m: (m.start_s, m.sent_s, m.tensor, m.receiver))
    tasks = tuple(graph.tasks[i] for i in order)
    return Plan(replace(graph, tasks=tasks), tuple(slots), tuple(messages), latency_s)
