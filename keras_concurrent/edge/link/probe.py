"""Measures a link: small messages for its latency, large ones for its bandwidth.

Each message waits for the echo of the one before, so that nothing queues. The quickest of each kind
counts: anything above is other traffic.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from keras_concurrent.edge.link.outbox import Sent
from keras_concurrent.edge.link.transport import Packet

SIZES = (0,) * 9 + (1 << 18,) * 6
"""Bytes of the messages, in order."""

Put = Callable[[int, int, Sent], None]


@dataclass(frozen=True)
class LinkFigures:
    """What a link was found to do.

    Args:
        one_way_s: of a small message, the software of both ends included.
        bytes_per_s: beyond that.
    """

    one_way_s: float
    bytes_per_s: float


class Probe:
    """One measurement of one link.

    Args:
        put: sends a message of a number and a size; told when it was sent.
        done: told what was found, as a mapping of `LinkFigures`.
    """

    def __init__(self, put: Put, done: Callable[[dict[str, Any]], None]) -> None:
        self._put = put
        self._done = done
        self._sent_s: dict[int, float] = {}
        self._trip_s: list[float] = []

    def begin(self) -> None:
        """Send the first message."""
        self._next()

    def _next(self) -> None:
        number = len(self._trip_s)
        # The echo may come before the sender's thread says when it really sent.
        self._sent_s[number] = time.monotonic()

        def sent(start: float, end: float, number: int = number) -> None:
            self._sent_s[number] = start

        self._put(number, SIZES[number], sent)

    def echoed(self, packet: Packet) -> None:
        """An echo has come: send the next message, or tell what was found."""
        number = packet.image
        if number != len(self._trip_s) or number >= len(SIZES):
            return  # of another measurement
        self._trip_s.append(packet.received_s - self._sent_s[number])
        if len(self._trip_s) < len(SIZES):
            self._next()
        else:
            self._done(asdict(figures_of(self._trip_s)))


def figures_of(trips_s: list[float]) -> LinkFigures:
    """A link's figures from the round trips of messages of `SIZES`."""
    small = min(trip for trip, size in zip(trips_s, SIZES, strict=True) if not size)
    large = min(trip for trip, size in zip(trips_s, SIZES, strict=True) if size)
    return LinkFigures(small / 2, SIZES[-1] / max(large - small, 1e-9))
