"""Sends messages: tensors at once where nothing is in their way, the rest in its own thread."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from keras_concurrent.edge.link.pacing import Pacer
from keras_concurrent.edge.link.protocol import Echo, Message, Probe, Tensor, content_of
from keras_concurrent.edge.link.transport import Channel
from keras_concurrent.errors import TransportError

_log = logging.getLogger(__name__)
_FAULT = "cannot send %s to %s: %s"
Sent = Callable[[float, float], None]
Paced = (Tensor, Probe, Echo)
"""What an interface is kept busy by."""


class Outbox:
    """Sends messages, tensors at the pace of the interface if it has one.

    Tensors and probes keep their order, and so do all others. Where a tensor has to wait neither
    for its interface nor for one before it, and its receiver has a direct link, it is sent in the
    thread that puts it.

    Args:
        channel: to send on.
        pacer: keeps messages in order, see `keras_concurrent.edge.link.pacing.pacer_of`.
    """

    def __init__(self, channel: Channel, pacer: Pacer | None) -> None:
        self._channel = channel
        self._pacer = pacer
        self._queue: queue.SimpleQueue[tuple[str, Message, float, Sent | None] | None] = (
            queue.SimpleQueue()
        )
        self._lock = threading.Lock()
        self._behind = 0  # tensors and probes that are queued
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._thread.start()

    def put(self, receiver: str, message: Message, sent: Sent | None = None) -> None:
        """Send a message, now or when its turn comes.

        Args:
            receiver: a board, or the client.
            message: to send. The memory of a tensor's content is free when this returns.
            sent: told when its sending began and ended, by the channel's clock.
        """
        now = time.monotonic()
        if isinstance(message, Paced):
            with self._lock:
                if not self._behind and self._sent_at_once(receiver, message, now, sent):
                    return
                self._behind += 1
            if isinstance(message, Tensor):
                message = replace(message, content=bytes(message.content))
        self._queue.put((receiver, message, now, sent))

    def direct(self, receiver: str) -> bool:
        """Whether tensors to a participant go by a link of their own."""
        return self._channel.direct(receiver)

    def _sent_at_once(
        self, receiver: str, message: Message, ready_at: float, sent: Sent | None
    ) -> bool:
        """Whether a message had to wait for nothing and is sent."""
        if self._pacer is not None and not self._pacer.is_free():
            return False
        try:
            if not self._channel.send_at_once(receiver, message):
                return False
        except TransportError as error:
            _log.warning(_FAULT, type(message).__name__, receiver, error)
        if self._pacer is not None:
            self._pacer.pass_on(receiver, len(content_of(message)), ready_at)
        if sent is not None:
            now = self._channel.clock()
            sent(now - (time.monotonic() - ready_at), now)
        return True

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            self._send(*item)
            if isinstance(item[1], Paced):
                with self._lock:
                    self._behind -= 1

    def _send(self, receiver: str, message: Message, ready_at: float, sent: Sent | None) -> None:
        start = ready_at
        if self._pacer is not None and isinstance(message, Paced):
            start = self._pacer.pass_on(receiver, len(content_of(message)), ready_at)
        try:
            self._channel.send(receiver, message)
        except Exception as error:  # a broken link must not end the thread; the client's
            # deadline tells the user
            _log.warning(_FAULT, type(message).__name__, receiver, error)
        if sent is not None:
            now = self._channel.clock()
            sent(start + now - time.monotonic(), now)

    def close(self) -> None:
        """Send what is queued, then end the thread."""
        self._queue.put(None)
        self._thread.join(timeout=5)
        if self._pacer is not None:
            self._pacer.close()
