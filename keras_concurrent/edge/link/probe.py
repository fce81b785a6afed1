"""Measures a link: small messages for its latency, large ones for its bandwidth.

Each message waits for the echo of the one before, so that nothing queues. The quickest of each kind
counts: anything above is other traffic.
"""

from __future__ import annotations

from collections.abc import Callable

from keras_concurrent.edge.link.answers import LinkFigures
from keras_concurrent.edge.link.outbox import Sent
from keras_concurrent.edge.link.transport import Clock

SIZES = (0,) * 9 + (1 << 18,) * 6
"""Bytes of the messages, in order."""

Put = Callable[[int, int, Sent], None]


class LinkProbe:
    """One measurement of one link.

    Args:
        put: sends a message of a number and a size; told when it was sent.
        done: told what the link does.
        clock: by which messages are sent and their echoes received.
        direct: whether a direct link stands.
    """

    def __init__(
        self, put: Put, done: Callable[[LinkFigures], None], clock: Clock, *, direct: bool
    ) -> None:
        self._put, self._done, self._clock, self._direct = put, done, clock, direct
        self._sent_s: dict[int, float] = {}
        self._trip_s: list[float] = []

    def begin(self) -> None:
        """Send the first message."""
        self._next()

    def _next(self) -> None:
        number = len(self._trip_s)
        # The echo may come before the sender's thread says when it really sent.
        self._sent_s[number] = self._clock()

        def sent(start: float, end: float, number: int = number) -> None:
            self._sent_s[number] = start

        self._put(number, SIZES[number], sent)

    def echoed(self, number: int, received_s: float) -> None:
        """An echo has come: send the next message, or tell what the link does."""
        if number != len(self._trip_s) or number >= len(SIZES):
            return  # of another measurement
        self._trip_s.append(received_s - self._sent_s[number])
        if len(self._trip_s) < len(SIZES):
            self._next()
        else:
            self._done(figures_of(self._trip_s, direct=self._direct))


def figures_of(trips_s: list[float], *, direct: bool) -> LinkFigures:
    """A link's figures from the round trips of messages of `SIZES`."""
    small = min(trip for trip, size in zip(trips_s, SIZES, strict=True) if not size)
    large = min(trip for trip, size in zip(trips_s, SIZES, strict=True) if size)
    return LinkFigures(small / 2, SIZES[-1] / max(large - small, 1e-9), direct)
