"""An image's timeline, from what the boards and the client noted by their own clocks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.placement import Event

_IMAGES = 64


class Log:
    """What a board notes of its latest images, in the threads that compute and send."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: deque[tuple[int, list[Event]]] = deque(maxlen=_IMAGES)

    def note(self, image: int, event: Event) -> None:
        """Something happened to an image, by the board's clock."""
        with self._lock:
            for known, events in reversed(self._images):
                if known == image:
                    events.append(event)
                    return
            self._images.append((image, [event]))

    def of(self, image: int) -> tuple[Event, ...]:
        """What happened to an image."""
        with self._lock:
            return tuple(
                event for known, events in self._images if known == image for event in events
            )


@dataclass
class Record:
    """What the client knows of an image.

    Args:
        image: its number.
        route: the route it took.
        started_s: when it was sent, by the client's clock.
        sends: when its inputs went, by that clock.
        arrived_s: when each output came, by that clock.
    """

    image: int
    route: int
    started_s: float
    sends: list[Event] = field(default_factory=list)
    arrived_s: dict[str, float] = field(default_factory=dict)


def merge(
    record: Record, logs: Mapping[str, Iterable[Event]], offsets_s: Mapping[str, float]
) -> tuple[Event, ...]:
    """All events by one clock, in seconds after the image was sent.

    A send ends when its receiver has the tensor, where the receiver says so.

    Args:
        record: the client's.
        logs: the boards' events, by board and by its clock; arrivals are of kind ``"arrival"``.
        offsets_s: how far each board's clock is ahead of the client's.
    """
    arrivals = {(name, CLIENT): at - record.started_s for name, at in record.arrived_s.items()}
    events = [_earlier(event, record.started_s) for event in record.sends]
    for board, log in logs.items():
        for noted in log:
            event = _earlier(noted, offsets_s.get(board, 0.0) + record.started_s)
            if event.kind == "arrival":
                arrivals[event.name, board] = event.end_s
            else:
                events.append(replace(event, board=board))
    finished = [
        replace(event, end_s=arrivals.get((event.name, event.receiver), event.end_s))
        if event.kind == "send"
        else event
        for event in events
    ]
    return tuple(sorted(finished, key=lambda e: (e.start_s, e.board, e.name)))


def _earlier(event: Event, shift_s: float) -> Event:
    return replace(event, start_s=event.start_s - shift_s, end_s=event.end_s - shift_s)
