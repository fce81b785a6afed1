"""An image's timeline, from what the boards and the client noted by their own clocks."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.placement import Event

_IMAGES = 64


class Log:
    """What a board notes of its latest images, in the threads that compute and send.

    Few are asked for, so that an event is made when it is.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: dict[int, list[tuple[Any, ...]]] = {}  # the oldest first

    def note(self, image: int, *event: Any) -> None:
        """Something happened to an image, by the board's clock.

        Args:
            image: its number.
            event: what `Event` is made of.
        """
        with self._lock:
            events = self._images.get(image)
            if events is None:
                events = self._images[image] = []
                if len(self._images) > _IMAGES:
                    del self._images[next(iter(self._images))]
            events.append(event)

    def of(self, image: int) -> tuple[Event, ...]:
        """What happened to an image."""
        with self._lock:
            return tuple(Event(*event) for event in self._images.get(image, ()))


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
