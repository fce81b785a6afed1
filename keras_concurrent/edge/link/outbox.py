"""Sends messages in order, in a thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from keras_concurrent.edge.link.pacing import Pacer
from keras_concurrent.edge.link.protocol import Echo, Message, Probe, Tensor, content_of
from keras_concurrent.edge.link.transport import Channel

_log = logging.getLogger(__name__)
Sent = Callable[[float, float], None]


class Outbox:
    """Sends messages in order, in a thread of its own, at the pace of its interface if any.

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
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._thread.start()

    def put(self, receiver: str, message: Message, sent: Sent | None = None) -> None:
        """Queue a message.

        Args:
            receiver: a board, or the client.
            message: to send.
            sent: told when its sending began and ended, by the channel's clock.
        """
        self._queue.put((receiver, message, time.monotonic(), sent))

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            receiver, message, ready_at, sent = item
            start = ready_at
            if self._pacer is not None and isinstance(message, (Tensor, Probe, Echo)):
                start = self._pacer.pass_on(receiver, len(content_of(message)), ready_at)
            try:
                self._channel.send(receiver, message)
            except Exception as error:  # a broken link must not end the thread; the client's
                # deadline tells the user
                _log.warning("cannot send %s to %s: %s", type(message).__name__, receiver, error)
            if sent is not None:
                now = self._channel.clock()
                sent(start + now - time.monotonic(), now)

    def close(self) -> None:
        """Send what is queued, then end the thread."""
        self._queue.put(None)
        self._thread.join(timeout=5)
        if self._pacer is not None:
            self._pacer.close()
