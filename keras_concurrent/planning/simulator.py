"""What a plan comes to when it is played event by event: the second opinion on its times.

Nothing here looks at a plan's times but for their order. Boards and interfaces do the next thing of
their planned order as soon as it can be done, and whatever happens next happens, so a plan whose
times are wrong, or whose orders wait for each other, is found out. A board's processor takes in
what its next task reads, computes and sends, one thing after another.
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
        self._sends: dict[str, deque[Message]] = {}
        for message in plan.messages:
            self._sends.setdefault(cluster.interface(message.sender), deque()).append(message)
        self._tasks_done: set[str] = set()
        self._to_begin = self._messages_to_begin(plan)
        self._busy: set[str] = set()
        self._sending: set[str] = set()
        self._arrived: dict[str, list[str]] = {place: [] for place in (CLIENT, *self._tasks)}
        self._there = {(tensor, CLIENT): 0.0 for tensor in self._graph.inputs}
        self._begun: dict[tuple[str, str], float] = {}  # by tensor and receiver
        self._ready: set[tuple[str, str]] = set()  # for the wire
        self._slots: list[Slot] = []
        self._messages: list[Message] = []

    def _messages_to_begin(self, plan: Plan) -> dict[str, deque[Message]]:
        """What is sent after each task, and by the client, in the planned order."""
        by_task: dict[str, deque[Message]] = {CLIENT: deque()}
        for message in sorted(plan.messages, key=lambda m: m.begun_s):
            writer = self._graph.producer.get(message.tensor, CLIENT)
            by_task.setdefault(writer, deque()).append(message)
        return by_task

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
        self._occupy_client()
        for board, waiting in self._tasks.items():
            if waiting and board not in self._busy:
                self._occupy(board, waiting)
        for interface, messages in self._sends.items():
            if not messages or interface in self._sending:
                continue
            if (messages[0].tensor, messages[0].receiver) in self._ready:
                self._send(interface, messages.popleft())

    def _occupy_client(self) -> None:
        """The client sends and takes in side by side: it has nothing else to do."""
        if self._to_begin[CLIENT] and "client sends" not in self._busy:
            self._begin_message("client sends", CLIENT, self._to_begin[CLIENT].popleft())
        if self._arrived[CLIENT] and CLIENT not in self._busy:
            self._take_in(CLIENT, self._arrived[CLIENT].pop(0))

    def _occupy(self, board: str, waiting: deque[str]) -> None:
        """The next thing of a board's processor, if it can begin."""
        task = self._graph.by_name[waiting[0]]
        if task.name in self._tasks_done:
            if self._to_begin.get(task.name):
                self._begin_message(board, board, self._to_begin[task.name].popleft())
            else:
                waiting.popleft()
                if waiting:
                    self._occupy(board, waiting)
            return
        for tensor in self._arrived[board]:
            if tensor in task.inputs:
                self._arrived[board].remove(tensor)
                self._take_in(board, tensor)
                return
        if all((tensor, board) in self._there for tensor in task.inputs):
            self._compute(board, task.name)

    def _begin_message(self, processor: str, sender: str, message: Message) -> None:
        self._busy.add(processor)
        self._begun[message.tensor, message.receiver] = self._now
        size = self._graph.tensor_bytes[message.tensor]

        def begun() -> None:
            self._busy.remove(processor)
            self._ready.add((message.tensor, message.receiver))

        self._after(self._cluster.message_s(sender, size), begun)

    def _take_in(self, place: str, tensor: str) -> None:
        self._busy.add(place)

        def taken() -> None:
            self._busy.remove(place)
            self._there[tensor, place] = self._now

        self._after(self._cluster.message_s(place, self._graph.tensor_bytes[tensor]), taken)

    def _compute(self, board: str, name: str) -> None:
        task = self._graph.by_name[name]
        described = self._cluster.board(board)
        seconds = self._graph.seconds_on(task, described)
        seconds += described.call_s if self._calls else 0.0
        sends_s = sum(
            self._cluster.message_s(board, self._graph.tensor_bytes[message.tensor])
            for message in self._to_begin.get(name, ())
        )

        def done() -> None:
            self._busy.remove(board)
            self._tasks_done.add(name)
            for tensor in task.outputs:
                self._there[tensor, board] = self._now

        self._busy.add(board)
        self._slots.append(Slot(name, board, self._now, self._after(seconds, done), sends_s))

    def _send(self, interface: str, planned: Message) -> None:
        sender, receiver = planned.sender, planned.receiver
        size = self._graph.tensor_bytes[planned.tensor]
        start = self._now

        def arrived() -> None:
            self._arrived[receiver].append(planned.tensor)

        def sent() -> None:
            self._sending.remove(interface)
            arrival = self._after(self._cluster.latency_s(sender, receiver), arrived)
            self._messages.append(
                Message(
                    planned.tensor, sender, receiver, size, start, self._now, arrival,
                    self._begun[planned.tensor, receiver],
                )
            )  # fmt: skip

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
