"""Sends images to the boards and awaits the answers, through the loss of boards.

One thread takes what arrives and does what follows, see `keras_concurrent.edge.client.dispatch`;
another sends. A bounded number of images may be in flight: who asks for one more waits until one is
answered. Where more is asked for than can be answered in time, fewer are in flight, and those that
cannot be answered any more make room, see `keras_concurrent.edge.client.admission`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.dispatch import Dispatch
from keras_concurrent.edge.client.flights import Outputs
from keras_concurrent.edge.client.pace import Pace
from keras_concurrent.edge.client.readiness import Readiness
from keras_concurrent.edge.client.routes import reroute
from keras_concurrent.edge.client.slow_boards import slow_boards
from keras_concurrent.edge.images import check_inputs
from keras_concurrent.edge.link.outbox import Outbox
from keras_concurrent.edge.link.pacing import Pacer
from keras_concurrent.edge.link.protocol import MOST_IMAGES
from keras_concurrent.edge.link.questions import Trace
from keras_concurrent.edge.link.transport import Channel
from keras_concurrent.edge.placement import Event
from keras_concurrent.edge.timeline import merge
from keras_concurrent.errors import BoardError
from keras_concurrent.interpreter import Array

IN_FLIGHT = 4
DEADLINE_S = 10.0
_TICK_S = 0.05


class Client:
    """Asks the boards of a cluster.

    Args:
        bundle: the one that the boards have.
        cluster: the boards.
        channel: to them.
        placement: ``"boards"`` or ``"one_board"``.
        pacer: keeps its messages in order, see `keras_concurrent.edge.link.pacing.pacer_of`.
        in_flight: how many images may be asked for and not yet answered.
        fallback: compute here when no board is left, if this machine has an interpreter.

    Raises:
        ValueError: ``in_flight`` is below 1 or above what boards work on at a time.
    """

    def __init__(
        self,
        bundle: Bundle,
        cluster: Cluster,
        channel: Channel,
        placement: str = "boards",
        *,
        pacer: Pacer | None = None,
        in_flight: int = IN_FLIGHT,
        fallback: bool = True,
    ) -> None:
        if in_flight < 1:
            raise ValueError(f"in_flight must be at least 1, got {in_flight!r}")
        if in_flight > MOST_IMAGES:  # a board would drop the oldest
            raise ValueError(
                f"in_flight must be at most {MOST_IMAGES}, which is what a board works on at a "
                f"time, got {in_flight!r}"
            )
        self.boards = tuple(sorted(bundle.placement(placement).programs))
        """The boards that the plan uses."""
        self._bundle, self._channel = bundle, channel
        self._offsets_s: dict[str, float] = {}
        self._in_flight = in_flight
        self._number = 0
        self._ended = False
        self._outbox = Outbox(channel, pacer)
        pace = Pace()
        self._slowness = pace.slowness
        self._dispatch = Dispatch(
            bundle, cluster, channel, self._outbox,
            lambda out: reroute(bundle.manifest, cluster, placement, out, pace.slowness),
            pace, computes=fallback,
        )  # fmt: skip
        self._lock, self._requests = self._dispatch.lock, self._dispatch.requests
        self._room = threading.Condition(self._lock)  # a request has ended
        self.questions = self._dispatch.questions
        """What can be asked of boards beside images."""
        self._readiness = Readiness(
            bundle, self.boards, channel, self.questions, self._is_here, self._note_links
        )
        self._thread = threading.Thread(target=self._work, name=CLIENT, daemon=True)
        self._thread.start()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; whoever still waits for an answer gets an error."""
        self._ended = True
        with self._room:
            self._room.notify_all()
        self._thread.join(timeout=5)
        self._outbox.close()
        self._channel.close()
        self._dispatch.close()

    # ------------------------------------------------------------- getting ready

    def wait_ready(self, timeout_s: float = 20.0, *, all_boards: bool = True) -> None:
        """Wait until the plan's boards are there, have its bundle, and reach each other.

        Args:
            timeout_s: how long.
            all_boards: whether a board that is not ready in time is an error; otherwise the others
                do its work until it comes.

        Raises:
            BoardError: a board is not ready in time; says which and what it lacks.
            BundleError: a board has another bundle.
            ProtocolError: a board speaks another version of the protocol.
        """
        missing = self._readiness.wait(timeout_s, all_boards=all_boards)
        for board in self.boards:
            if board not in missing:
                self._offsets_s[board] = self.questions.clock_offset_s(board)
        with self._lock:
            self._dispatch.slow_messages(emulated=bool(self.slowdowns))
            self._dispatch.carry_out(self._requests.start())
        self.wait_prepared(timeout_s)
        with self._lock:
            refusals = dict(self._requests.refusals)
        if refusals and all_boards:
            faults = (f"{b} does not take its part: {why}" for b, why in refusals.items())
            raise BoardError("; ".join(faults))

    def wait_prepared(self, timeout_s: float = 20.0) -> None:
        """Wait until the boards have taken their parts, also those for the loss of each other.

        Raises:
            BoardError: they have not in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self._prepared():
            if time.monotonic() > deadline:
                raise BoardError(f"the boards did not take their parts within {timeout_s:g} s")
            time.sleep(_TICK_S / 5)

    def _prepared(self) -> bool:
        with self._lock:
            if not self._requests.settled:
                return self._requests.alone
            self._dispatch.carry_out(self._requests.prepare())
            return self._requests.prepared

    def reach(self, boards: Iterable[str], timeout_s: float = 5.0) -> tuple[str, ...]:
        """Wait for boards that listen, whatever bundle they have; those that were found."""
        return self._readiness.reach(boards, timeout_s)

    def direct(self, board: str) -> bool:
        """Whether tensors to a board go by a link of their own, not over Zenoh."""
        return self._channel.direct(board)

    @property
    def slowdowns(self) -> Mapping[str, float]:
        """How many times boards that are emulated were slowed down, once ready."""
        return self._readiness.slowdowns

    def slow_boards(self) -> dict[str, float]:
        """Boards whose segments take longer than planned, by their 95th percentiles, and how much.

        Raises:
            BoardError: a board does not answer.
        """
        with self._lock:
            route = self._requests.route
            placement = self._requests.placement(route) if route is not None else None
        return slow_boards(self.questions.ask, placement) if placement is not None else {}

    # ------------------------------------------------------------- images

    def infer(
        self, images: Array | Mapping[str, Array], *, deadline_s: float = DEADLINE_S
    ) -> Outputs:
        """Recognise one image.

        Args:
            images: the model's input, with or without its batch axis of one; a mapping by input
                name where the model has several.
            deadline_s: how long the answer may take.

        Returns:
            The model's outputs by name, each with its batch axis of one.

        Raises:
            ValueError: a wrong shape or dtype.
            BoardError: a board failed, or the answer did not come in time.
        """
        return self.submit(images, deadline_s=deadline_s).result()

    def stream(
        self, images: Iterable[Array | Mapping[str, Array]], *, deadline_s: float = DEADLINE_S
    ) -> Iterator[Outputs]:
        """Recognise images, several at a time; answers come in the order of the images.

        An image is fetched when there is room for it, and has its deadline from then on: as many
        are in flight as can be expected to be answered in time.

        Raises:
            ValueError: a wrong shape or dtype.
            BoardError: a board failed, or an answer did not come in time.
        """
        waiting: deque[Future[Outputs]] = deque()
        following = iter(images)
        while True:
            with self._room:
                self._room.wait_for(lambda: self._ended or self._has_room(deadline_s))
            try:
                waiting.append(self.submit(next(following), deadline_s=deadline_s))
            except StopIteration:
                break
            while waiting and waiting[0].done():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def submit(
        self, images: Array | Mapping[str, Array], *, deadline_s: float = DEADLINE_S
    ) -> Future[Outputs]:
        """Ask for one image without waiting for the answer; see `infer`.

        While as many images are in flight as may be, this waits for one to be answered; the
        deadline counts from the call. What was asked cannot be cancelled: the deadline ends it.
        """
        if not deadline_s > 0:
            raise ValueError(f"deadline_s must be above 0, got {deadline_s!r}")
        asked = time.monotonic()
        values = check_inputs(self._bundle.manifest, images)
        future: Future[Outputs] = Future()
        future.set_running_or_notify_cancel()  # a sent image cannot be called back
        with self._room:
            room = self._room.wait_for(lambda: self._ended or self._has_room(), deadline_s)
            if self._ended or not room:
                full = f"no answer after {deadline_s:g} s: {self._in_flight} others were in flight"
                future.set_exception(BoardError("the client is closed" if self._ended else full))
                return future
            self._number += 1
            future.add_done_callback(self._make_room)
            self._dispatch.flights.add(self._number, values, future)
            self._dispatch.carry_out(self._requests.ask(self._number, asked, asked + deadline_s))
        return future

    def _has_room(self, within_s: float | None = None) -> bool:
        """Whether one more image may be asked for, and would begin now if it has so long."""
        if self._requests.waiting >= self._in_flight:
            return False
        return within_s is None or self._requests.has_room(within_s)

    def _make_room(self, ended: Future[Outputs]) -> None:
        with self._room:
            self._room.notify_all()

    @property
    def absent(self) -> tuple[str, ...]:
        """The boards that are not used at the moment: gone, or not reaching another."""
        with self._lock:
            return self._requests.absent

    def rebalance(self, times: Mapping[str, float]) -> None:
        """Share the work anew among boards that take longer than described.

        Args:
            times: how many times longer, by board; those not named are as described.
        """
        with self._lock:
            self._slowness.clear()
            self._slowness.update(times)
            self._dispatch.carry_out(self._requests.replan())

    # ------------------------------------------------------------- what arrives

    def _is_here(self, board: str) -> bool:
        with self._lock:
            return self._requests.is_here(board)

    def _note_links(self, board: str, unreached: Iterable[str]) -> None:
        with self._lock:
            self._dispatch.carry_out(self._requests.links(board, unreached))

    def _work(self) -> None:
        while not self._ended:
            packet = self._channel.receive(_TICK_S)
            with self._lock:
                if packet is not None:
                    self._dispatch.take(packet)
                elif not self._requests.waiting:
                    self._dispatch.carry_out(self._requests.prepare())
                self._dispatch.look()

    # ------------------------------------------------------------- how it went

    def timeline(self, timeout_s: float = 5.0) -> tuple[Event, ...]:
        """What happened to the last answered image, in seconds after it was sent.

        Raises:
            BoardError: a board does not tell, or no image was answered by boards.
        """
        record = self._dispatch.flights.last
        if record is None:
            raise BoardError("no image was answered by boards yet")
        boards = sorted(self._requests.placement(record.route).programs)
        logs = {
            board: self.questions.ask(board, Trace(record.image), timeout_s=timeout_s).events
            for board in boards
        }
        return merge(record, logs, self._offsets_s)
