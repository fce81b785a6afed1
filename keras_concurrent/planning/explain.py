"""Why a plan is not faster: what its latency is made of, and what would change it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.planning.schedule import Message, Plan, Slot

_SAME = 1e-9  # of the latency: moments closer than this are one


@dataclass(frozen=True)
class Step:
    """Something that the answer had to wait for.

    Args:
        kind: ``"run"`` or ``"send"``.
        name: the segment's or the tensor's.
        where: the board, or the sender.
        receiver: who a tensor is sent to.
        start_s: beginning.
        end_s: when the next step could begin; of a send, when its reader had taken it in, or when
            the next message had the interface.
        messaging_s: how long of that a processor sends or takes in messages.
        queued_behind: what held the board or the interface just before; empty where the step began
            as soon as its tensors were there.
    """

    kind: str
    name: str
    where: str
    receiver: str
    start_s: float
    end_s: float
    queued_behind: str
    messaging_s: float = 0.0


@dataclass(frozen=True)
class Explanation:
    """What a plan's latency is made of.

    Args:
        latency_s: the plan's, in seconds.
        path: the critical path: without any gap from the image to the answer.
        busy: share of the latency in which each board in use computes.
        interface_busy: share of the latency in which each sender's interface, or the shared medium,
            is held.
    """

    latency_s: float
    path: tuple[Step, ...]
    busy: Mapping[str, float]
    interface_busy: Mapping[str, float]

    @property
    def compute(self) -> float:
        """Share of the latency that the critical path computes."""
        return self._share("run")

    @property
    def wire(self) -> float:
        """Share of the latency that the critical path is on the wire."""
        return self._share("send")

    @property
    def messaging(self) -> float:
        """Share of the latency in which processors on the critical path send or take in."""
        return self._of_latency(sum(step.messaging_s for step in self.path))

    def _share(self, kind: str) -> float:
        return self._of_latency(
            sum(s.end_s - s.start_s - s.messaging_s for s in self.path if s.kind == kind)
        )

    def _of_latency(self, seconds: float) -> float:
        return min(1.0, seconds / self.latency_s) if self.latency_s else 0.0

    @property
    def waiting(self) -> float:
        """Share of the latency in which a board in use does not compute, on average."""
        return 1.0 - sum(self.busy.values()) / len(self.busy)

    @property
    def busiest_board(self) -> str:
        """The board that computes longest; of equals, the first by name."""
        return min(self.busy, key=lambda name: (-self.busy[name], name))

    @property
    def busiest_interface(self) -> str:
        """The interface that is held longest; of equals, the first by name."""
        return min(self.interface_busy, key=lambda name: (-self.interface_busy[name], name))


def explain(plan: Plan, cluster: Cluster) -> Explanation:
    """Find out what a plan waits for.

    Args:
        plan: with its times.
        cluster: that it was made for.
    """
    latency_s = plan.latency_s or 1.0
    held: dict[str, float] = {}
    for message in plan.messages:
        interface = cluster.interface(message.sender)
        held[interface] = held.get(interface, 0.0) + message.sent_s - message.start_s
    return Explanation(
        plan.latency_s,
        _critical_path(plan, cluster),
        {board: seconds / latency_s for board, seconds in plan.compute_s.items()},
        {name: seconds / latency_s for name, seconds in sorted(held.items())},
    )


def what_if(cluster: Cluster, planned_s: Callable[[Cluster], float]) -> dict[str, float]:
    """Latency on clusters that are better in one thing.

    Args:
        cluster: the boards and their network.
        planned_s: plans on a cluster, and tells the latency.

    Returns:
        Seconds by the change: twice the bandwidth, half the latency of messages, boards twice as
        fast, one more board like the fastest.
    """
    network = cluster.network
    fastest = max(cluster.boards, key=lambda board: board.flops_per_s)
    more = replace(fastest, name=_unused(cluster), endpoint="tcp/127.0.0.1:1")
    changes = {
        "twice the bandwidth": replace(
            cluster,
            network=replace(network, bandwidth_mbit_per_s=2 * network.bandwidth_mbit_per_s),
            links=tuple(
                replace(link, bandwidth_mbit_per_s=2 * link.bandwidth_mbit_per_s)
                for link in cluster.links
            ),
        ),
        "half the latency of messages": replace(
            cluster,
            network=replace(network, latency_ms=network.latency_ms / 2),
            links=tuple(replace(link, latency_ms=link.latency_ms / 2) for link in cluster.links),
        ),
        "half the processor time of messages": replace(
            cluster,
            boards=tuple(board.cheaper_messages(2) for board in cluster.boards),
            client=cluster.client.cheaper_messages(2),
        ),
        "boards twice as fast": replace(
            cluster,
            boards=tuple(board.faster(2) for board in cluster.boards),
        ),
        "one more board": replace(cluster, boards=(*cluster.boards, more)),
    }
    return {name: planned_s(changed) for name, changed in changes.items()}


def _unused(cluster: Cluster) -> str:
    names = {board.name for board in cluster.boards}
    return next(f"one-more-{i}" for i in range(1, len(names) + 2) if f"one-more-{i}" not in names)


def _critical_path(plan: Plan, cluster: Cluster) -> tuple[Step, ...]:
    """From the last answer back: each step began when something else had ended."""
    answers = [m for m in plan.messages if m.receiver == CLIENT and m.tensor in plan.graph.outputs]
    if not answers:
        return ()
    causes = _Causes(plan, cluster)
    event: Message | Slot | None = max(answers, key=lambda m: (m.arrival_s, m.tensor))
    until_s = plan.latency_s
    path = []
    while event is not None:
        needed, queued = causes.needed(event), causes.queued(event)
        ready_s = causes.ready_s(event, needed)
        waits = queued is not None and (
            queued.end_s > ready_s + _SAME * plan.latency_s
            and (needed is None or queued.event is not needed.event)
        )
        following = queued if waits else needed
        path.append(_step(event, until_s, queued if waits else None))
        until_s = path[-1].start_s
        event = following.event if following else None
    return tuple(reversed(path))


class _Ended(NamedTuple):
    """An event and when it let others begin."""

    end_s: float
    event: Message | Slot

    @property
    def name(self) -> str:
        """Of the tensor or task."""
        return self.event.tensor if isinstance(self.event, Message) else self.event.task


class _Causes:
    """What an event of a plan had to wait for."""

    def __init__(self, plan: Plan, cluster: Cluster) -> None:
        self._plan = plan
        self._cluster = cluster
        self._slots = {slot.task: slot for slot in plan.slots}
        self._arrived = {(m.tensor, m.receiver): m for m in plan.messages}

    def _there(self, tensor: str, place: str) -> _Ended | None:
        """What brought a tensor to a place; nothing, where the client has it from the start."""
        message = self._arrived.get((tensor, place))
        if message:
            return _Ended(message.arrival_s, message)
        writer = self._plan.graph.producer.get(tensor)
        return _Ended(self._slots[writer].end_s, self._slots[writer]) if writer else None

    def ready_s(self, event: Message | Slot, needed: _Ended | None) -> float:
        """When it could have begun, were it not for a queue."""
        if isinstance(event, Message):
            return event.begun_s + self._cluster.message_s(event.sender, event.bytes)
        return needed.end_s if needed else 0.0

    def needed(self, event: Message | Slot) -> _Ended | None:
        """The last of the tensors that it reads or sends; of an image, the one sent before."""
        if isinstance(event, Message):
            sent = [m for m in self._plan.messages if m.sender == event.sender == CLIENT]
            before = [m for m in sent if m.begun_s < event.begun_s]
            if before:
                return _Ended(event.begun_s, max(before, key=lambda m: m.begun_s))
            return self._there(event.tensor, event.sender)
        task = self._plan.graph.by_name[event.task]
        return _last(self._there(tensor, event.board) for tensor in task.inputs)

    def queued(self, event: Message | Slot) -> _Ended | None:
        """What held its board or its interface before it."""
        if isinstance(event, Message):
            interface = self._cluster.interface(event.sender)
            before = itertools.takewhile(lambda m: m is not event, self._plan.messages)
            return _last(
                _Ended(m.sent_s, m)
                for m in before
                if self._cluster.interface(m.sender) == interface
            )
        earlier = itertools.takewhile(lambda s: s is not event, self._plan.slots)
        return _last(_Ended(s.end_s + s.sends_s, s) for s in earlier if s.board == event.board)


def _last(ended: Iterable[_Ended | None]) -> _Ended | None:
    found = [one for one in ended if one is not None]
    return max(found, key=lambda one: (one.end_s, one.name), default=None)


def _step(event: Message | Slot, until_s: float, behind: _Ended | None) -> Step:
    queued_behind = behind.name if behind else ""
    if isinstance(event, Slot):
        sending_s = max(0.0, until_s - event.end_s)  # what others read of it, before the next
        return Step(
            "run", event.task, event.board, "", event.start_s, until_s, queued_behind, sending_s
        )
    start_s = event.start_s if behind else event.begun_s
    messaging_s = min(event.start_s, until_s) - start_s + max(0.0, until_s - event.arrival_s)
    return Step(
        "send", event.tensor, event.sender, event.receiver, start_s, until_s, queued_behind,
        messaging_s,
    )  # fmt: skip
