"""Looks at the boards beside the images: who is there, what they tell, who did what."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.link import answers, questions
from keras_concurrent.edge.placement import Event
from keras_concurrent.edge.watch.shares import shares
from keras_concurrent.errors import BoardError, ProtocolError
from keras_concurrent.serve.service import Service

_PRESENCE_S = 0.1
_CLOSELY_S = 1.0  # between two questions to every board
_LOOKED_AT_S = 90.0  # after somebody looked the last time, boards are no longer asked
_ASK_S = 0.5
_HAPPENINGS = 50


@dataclass(frozen=True)
class Happening:
    """A board has come or gone.

    Args:
        at_s: when it was seen, in seconds since 1970.
        board: its name.
        here: whether it has come.
    """

    at_s: float
    board: str
    here: bool


@dataclass(frozen=True)
class Traced:
    """What happened to an image.

    Args:
        at_s: when it was asked about, in seconds since 1970.
        events: in seconds after it was sent.
    """

    at_s: float
    events: tuple[Event, ...]

    @property
    def latency_s(self) -> float:
        """When its last output came."""
        return max((event.end_s for event in self.events), default=0.0)


class Watcher:
    """Looks, in a thread of its own, until it is closed.

    Boards are asked only while somebody looks at the page or at the metrics, once a second.

    Args:
        service: whose boards.
        cluster: the boards.
    """

    def __init__(self, service: Service, cluster: Cluster) -> None:
        self.boards = tuple(board.name for board in cluster.boards)
        """All of the cluster."""
        self.happenings: deque[Happening] = deque(maxlen=_HAPPENINGS)
        """What came and went, the latest last."""
        self.statuses: dict[str, answers.Status] = {}
        """What those that are here said last."""
        self.traced: Traced | None = None
        """The image that was looked at last."""
        self._service = service
        self._here: dict[str, bool] = {}
        self._looked_s = float("-inf")
        self._seen_images = 0
        self._ended = threading.Event()
        self._note_presence()
        self._thread = threading.Thread(target=self._work, name="watcher", daemon=True)
        self._thread.start()

    @property
    def here(self) -> dict[str, bool]:
        """Which boards are used."""
        return dict(self._here)

    def look(self) -> None:
        """Somebody looks: ask the boards for the next while."""
        self._looked_s = time.monotonic()

    def close(self) -> None:
        """End it."""
        self._ended.set()
        self._thread.join(timeout=5)

    def _work(self) -> None:
        closely_s = float("-inf")
        while not self._ended.wait(_PRESENCE_S):
            self._note_presence()
            now = time.monotonic()
            if now - self._looked_s < _LOOKED_AT_S and now - closely_s >= _CLOSELY_S:
                closely_s = now
                self._ask_statuses()
                self._trace()

    def _note_presence(self) -> None:
        absent = set(self._service.client.absent)
        here = {name: name not in absent for name in self.boards}
        for name, is_here in here.items():
            if self._here and is_here != self._here[name]:
                self.happenings.append(Happening(time.time(), name, is_here))
                if not is_here:
                    self._service.metrics.lost(name)
                    self.statuses.pop(name, None)
        self._here = here
        self._service.metrics.boards(here)

    def _ask_statuses(self) -> None:
        for name in self.boards:
            if self._here[name] and not self._ended.is_set():
                try:
                    status = self._service.client.questions.ask(
                        name, questions.Status(), timeout_s=_ASK_S
                    )
                except (BoardError, ProtocolError):
                    continue
                self.statuses[name] = status
                self._service.metrics.told(name, status)

    def _trace(self) -> None:
        """Ask who did what for the latest image, if there is a new one."""
        images = self._service.images
        if images == self._seen_images or self._ended.is_set():
            return
        try:
            events = self._service.client.timeline(_ASK_S)
        except (BoardError, ProtocolError):  # a board has gone since
            return
        self._seen_images = images
        self.traced = Traced(time.time(), events)
        for board, share in shares(events, self.traced.latency_s).items():
            self._service.metrics.traced(board, share)
