"""Measures a link: small messages for its latency, large ones for its bandwidth.

Each message waits for the echo of the one before, so that nothing queues. The quickest of each kind
counts: anything above is other traffic. What this end's processor spends meanwhile is what messages
take of it, since it does nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from keras_concurrent.edge.link.answers import LinkFigures
from keras_concurrent.edge.link.transport import Clock

WARM_UP, SMALL, LARGE = 8, 24, 8
"""How many messages: small ones of which the processor time does not count, small, and large."""

SIZES = (0,) * (WARM_UP + SMALL) + (1 << 18,) * LARGE
"""Bytes of the messages, in order."""

CONTENT = bytes(max(SIZES))
"""Of which a message of each size has the first bytes."""

Put = Callable[[int, int], None]


class LinkProbe:
    """One measurement of one link.

    Args:
        put: sends a message of a number and a size.
        done: told what the link does.
        clock: by which messages are sent and their echoes received.
        processor: what messages have taken of this end's processor so far, in seconds.
        direct: whether a direct link stands.
    """

    def __init__(
        self,
        put: Put,
        done: Callable[[LinkFigures], None],
        clock: Clock,
        processor: Clock,
        *,
        direct: bool,
    ) -> None:
        self._put, self._done, self._clock, self._direct = put, done, clock, direct
        self._processor = processor
        self._sent_s = 0.0
        self._trips_s: list[float] = []
        self._spent_s: list[float] = []

    def begin(self) -> None:
        """Send the first message."""
        self._next()

    def _next(self) -> None:
        number = len(self._trips_s)
        self._sent_s = self._clock()
        self._spent_s.append(self._processor())
        self._put(number, SIZES[number])

    def echoed(self, number: int, received_s: float) -> None:
        """An echo has come: send the next message, or tell what the link does."""
        if number != len(self._trips_s) or number >= len(SIZES):
            return  # of another measurement
        self._trips_s.append(received_s - self._sent_s)
        if len(self._trips_s) < len(SIZES):
            self._next()
        else:
            self._spent_s.append(self._processor())
            self._done(figures_of(self._trips_s, self._spent_s, direct=self._direct))


def figures_of(trips_s: Sequence[float], spent_s: Sequence[float], *, direct: bool) -> LinkFigures:
    """A link's figures.

    Args:
        trips_s: round trips of messages of `SIZES`.
        spent_s: what the processor had spent before the first, before the second, and so on, and
            after the last.
        direct: whether a direct link stands.
    """
    size = SIZES[-1]
    small = min(trips_s[: WARM_UP + SMALL])
    large = min(trips_s[WARM_UP + SMALL :])
    warm, between, end = (spent_s[i] for i in (WARM_UP, WARM_UP + SMALL, len(SIZES)))
    message_s = (between - warm) / SMALL / 2  # one is sent, one taken in
    byte_s = max(0.0, (end - between) / LARGE - 2 * message_s) / size
    return LinkFigures(
        small / 2, size / max(large - small, 1e-9), direct, max(0.0, message_s), byte_s
    )
