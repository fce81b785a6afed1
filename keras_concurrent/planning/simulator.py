"""What a plan comes to when it is played event by event: the second opinion on its times.

Nothing here looks at a plan's times. Boards and interfaces do the next thing of their planned order
as soon as it can be done, and whatever happens next happens, so a plan whose times are wrong, or
whose orders wait for each other, is found out.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.planning.schedule import Message, Plan, Slot


@dataclass(frozen=True)
class Replay:
    """What happened.

    Args:
        slots: when every task ran, by start, then name.
        messages: when every tensor travelled, by start, then tensor and receiver.
        latency_s: when the last output was at the client.
    """

    slots: tuple[Slot, ...]
    messages: tuple[Message, ...]
    latency_s: float


def replay(plan: Plan, cluster: Cluster, *, calls: bool = False) -> Replay:
    """Play a plan's orders.

    Args:
        plan: its assignment and the orders of its tasks and messages are taken, its times are not.
        cluster: the boards and their network.
        calls: each task costs its board's ``call_s`` on top of its seconds.

    Raises:
        ValueError: the orders wait for each other, or a tensor never comes; names who is stuck.
    """
    return _Simulation(plan, cluster, calls).run()


class _Simulation:
    def __init__(self, plan: Plan, cluster: Cluster, calls: bool) -> None:
        self._graph = plan.graph
        self._cluster = cluster
        self._calls = calls
        self._now = 0.0
        self._number = itertools.count()  # of equal moments, the one arranged first comes first
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._tasks = {board.name: deque(plan.tasks_on(board.name)) for board in cluster.boards}
        self._sends = {
            sender: deque(plan.messages_from(sender)) for sender in (CLIENT, *self._tasks)
        }
        if cluster.network.shared:
            self._sends = {"the medium": deque(plan.messages)}
        self._computing: set[str] = set()
        self._sending: set[str] = set()
        self._there = {(tensor, CLIENT): 0.0 for tensor in self._graph.inputs}
        self._slots: list[Slot] = []
        self._messages: list[Message] = []

    def run(self) -> Replay:
        """Let everything happen."""
        self._begin_what_can()
        while self._coming:
            self._now, _, happen = heapq.heappop(self._coming)
            happen()
            self._begin_what_can()
        self._check_all_done()
        return Replay(
            tuple(sorted(self._slots, key=lambda s: (s.start_s, s.task))),
            tuple(sorted(self._messages, key=lambda m: (m.start_s, m.tensor, m.receiver))),
            max(self._there[tensor, CLIENT] for tensor in self._graph.outputs),
        )

    def _after(self, seconds: float, happen: Callable[[], None]) -> float:
        moment = self._now + seconds
        heapq.heappush(self._coming, (moment, next(self._number), happen))
        return moment

    def _begin_what_can(self) -> None:
        for board, waiting in self._tasks.items():
            if waiting and board not in self._computing:
                task = self._graph.by_name[waiting[0]]
                if all((tensor, board) in self._there for tensor in task.inputs):
                    self._compute(board, waiting.popleft())
        for interface, messages in self._sends.items():
            if not messages or interface in self._sending:
                continue
            if (messages[0].tensor, messages[0].sender) in self._there:
                self._send(interface, messages.popleft())

    def _compute(self, board: str, name: str) -> None:
        task = self._graph.by_name[name]
        described = self._cluster.board(board)
        seconds = self._graph.seconds_on(task, described)
        seconds += described.call_s if self._calls else 0.0

        def done() -> None:
            self._computing.remove(board)
            for tensor in task.outputs:
                self._there[tensor, board] = self._now

        self._computing.add(board)
        self._slots.append(Slot(name, board, self._now, self._after(seconds, done)))

    def _send(self, interface: str, planned: Message) -> None:
        sender, receiver = planned.sender, planned.receiver
        size = self._graph.tensor_bytes[planned.tensor]
        start = self._now

        def arrived() -> None:
            self._there[planned.tensor, receiver] = self._now

        def sent() -> None:
            self._sending.remove(interface)
            arrival = self._after(self._cluster.latency_s(sender, receiver), arrived)
            self._messages.append(
                Message(planned.tensor, sender, receiver, size, start, self._now, arrival)
            )

        self._sending.add(interface)
        self._after(size / self._cluster.bytes_per_s(sender, receiver), sent)

    def _check_all_done(self) -> None:
        stuck = [f"{board} at {tasks[0]}" for board, tasks in self._tasks.items() if tasks]
        stuck += [
            f"{messages[0].sender} with {messages[0].tensor} for {messages[0].receiver}"
            for messages in self._sends.values()
            if messages
        ]
        missing = [t for t in self._graph.outputs if (t, CLIENT) not in self._there]
        if stuck or missing:
            raise ValueError(
                f"plan's orders must not wait for each other; stuck: {', '.join(stuck) or 'none'}; "
                f"outputs that never come: {', '.join(missing) or 'none'}"
            )
