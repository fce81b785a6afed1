"""Images in, answers out, for many askers at once: what is behind every protocol.

All runs in one event loop. As many images as the client may have in flight are handed to it, so
that handing over never blocks; some more wait; beyond these a request is refused at once, since who
asks can do something better than wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.client import DEADLINE_S, IN_FLIGHT, Client
from keras_concurrent.edge.client.flights import Outputs
from keras_concurrent.errors import BoardError, ConcurrentError, MissingExtraError
from keras_concurrent.interpreter import Array, interpreter_package
from keras_concurrent.serve.metrics import Metrics

WAITING = 64
"""How many images may wait beside those in flight."""
_REMEMBERED = 600
Image = Mapping[str, Array]


class UnservedError(ConcurrentError):
    """A request gets no answer but this.

    Args:
        status: of HTTP.
        reason: for whoever asked.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Answered:
    """An image that was answered, or was not.

    Args:
        number: images are counted from 1.
        at_s: when, in seconds since 1970.
        latency_s: from handing it to the boards.
        failed: whether it got an error instead.
    """

    number: int
    at_s: float
    latency_s: float
    failed: bool


class Service:
    """One bundle's answers.

    Args:
        client: of boards that are ready, or may become so.
        bundle: theirs.
        model: the name by which it is asked for.
        in_flight: no more than the client's own.
        waiting: how many images may wait beside these.
        deadline_s: how long an answer may take, where a request says nothing else.

    Raises:
        ValueError: a name that no address can hold, or a number below what makes sense.
    """

    def __init__(
        self,
        client: Client,
        bundle: Bundle,
        model: str,
        *,
        in_flight: int = IN_FLIGHT,
        waiting: int = WAITING,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        if not model or set(model) & set("/?#%:") or not model.isprintable():
            raise ValueError(f"a model's name must fit into an address, got {model!r}")
        if waiting < 0:
            raise ValueError(f"waiting must be at least 0, got {waiting!r}")
        if not deadline_s > 0:
            raise ValueError(f"deadline_s must be above 0, got {deadline_s!r}")
        self.client, self.manifest, self.model = client, bundle.manifest, model
        self.predicted = bundle.placement("boards")
        """The plan."""
        self.metrics = Metrics(
            model,
            self.predicted.predicted_latency_s,
            in_flight=lambda: self.in_flight,
            waiting=lambda: self.waiting,
        )
        self.latest: deque[Answered] = deque(maxlen=_REMEMBERED)
        """The images that were answered last."""
        self.ending = False
        """Whether it is about to end: no longer ready, though it still answers."""
        self._deadline_s = deadline_s
        self._slots = asyncio.Semaphore(in_flight)
        self._most, self._in_flight_most = in_flight + waiting, in_flight
        self._taken = 0  # images in flight, and those that wait
        self._images = 0

    @property
    def in_flight(self) -> int:
        """How many images the boards work on."""
        return min(self._taken, self._in_flight_most)

    @property
    def waiting(self) -> int:
        """How many images wait."""
        return self._taken - self.in_flight

    @property
    def images(self) -> int:
        """How many images were answered, or failed, since the beginning."""
        return self._images

    def ready(self, boards: int) -> bool:
        """Whether an image would be answered.

        Args:
            boards: how many the cluster has.
        """
        if self.ending:
            return False
        return len(self.client.absent) < boards or _computes()

    async def ask(self, images: Sequence[Image], timeout_s: float | None = None) -> list[Outputs]:
        """The answers to images, in their order.

        Args:
            images: as the client takes them.
            timeout_s: how long the answers may take, if less than the service allows.

        Raises:
            UnservedError: too many wait already, or a board failed, or an answer was late.
        """
        if self._taken + len(images) > self._most:
            self.metrics.refused(len(images))
            raise UnservedError(
                503, f"busy: {self._taken} images are asked for, at most {self._most} may be"
            )
        deadline_s = min(timeout_s or self._deadline_s, self._deadline_s)
        due_s = time.monotonic() + deadline_s
        self._taken += len(images)
        if len(images) == 1:
            return [await self._one(images[0], due_s)]
        asked = [asyncio.ensure_future(self._one(image, due_s)) for image in images]
        try:
            return await asyncio.gather(*asked)
        except BaseException:
            await asyncio.gather(*asked, return_exceptions=True)  # each of them ends by itself
            raise

    async def _one(self, image: Image, due_s: float) -> Outputs:
        loop = asyncio.get_running_loop()
        asked_s = time.monotonic()
        handed_over = False
        try:
            await self._slots.acquire()
            began_s = time.monotonic()
            try:
                if began_s >= due_s:
                    raise UnservedError(504, "no answer in time: others were asked for before")
                future = self.client.submit(image, deadline_s=due_s - began_s)
            except BaseException:
                self._slots.release()
                raise
            handed_over = True
        finally:
            if not handed_over:
                self._taken -= 1
        waiter: asyncio.Future[Outputs] = loop.create_future()

        def done(future: Future[Outputs]) -> None:  # in the client's thread
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                loop.call_soon_threadsafe(arrived, future, time.monotonic())

        def arrived(future: Future[Outputs], now_s: float) -> None:
            # Here, not where it is awaited: who asked may have gone, and the image goes on.
            self._slots.release()
            self._taken -= 1
            error = future.exception()
            self._note(now_s - began_s, failed=error is not None)
            if error is None:
                self.metrics.answered(began_s - asked_s, now_s - began_s)
            if waiter.cancelled():
                return
            if error is None:
                waiter.set_result(future.result())
            else:
                status = 504 if now_s >= due_s else 500
                waiter.set_exception(
                    UnservedError(status, str(error)) if isinstance(error, BoardError) else error
                )

        future.add_done_callback(done)
        return await waiter

    def _note(self, latency_s: float, *, failed: bool) -> None:
        self._images += 1
        self.latest.append(Answered(self._images, time.time(), latency_s, failed))


def _computes() -> bool:
    """Whether this machine can answer itself when no board is left."""
    try:
        interpreter_package()
    except MissingExtraError:
        return False
    return True
