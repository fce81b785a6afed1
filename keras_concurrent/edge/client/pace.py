"""Which boards have become slower than planned, by what they did for images that came late.

An image that comes late makes the client ask its boards when they ran what. A board that took much
longer than planned, compared with the quickest of them, twice in a row, is slow: the work is
shared anew, as if it were described so. After a while it is tried again as it is described, and
after twice as long the next time, because a board with nothing to do cannot show that it is well.
Decisions only, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from keras_concurrent.edge.placement import Event, Placement

LATE = 1.5
"""An image that takes so many times what was predicted is looked into."""
SLOW = 2.0
"""A board that takes so many times what it should, compared with the quickest, is slow."""
_EXCESS_S = 0.01  # less is not worth another plan
_TIMES = 2  # in a row
_EVERY_S = 0.1
_FIRST_PAUSE_S, _LAST_PAUSE_S = 15.0, 600.0


class Pace:
    """Judges boards by the images of one client."""

    def __init__(self) -> None:
        self.slowness: dict[str, float] = {}
        """How many times longer than described slow boards take, by name."""
        self._suspected: dict[str, int] = {}
        self._asked_s = -_EVERY_S
        self._again_s: float | None = None
        self._pause_s = _FIRST_PAUSE_S

    def is_late(self, placement: Placement, latency_s: float, now_s: float) -> bool:
        """Whether an image took so long that its boards are to be asked about it.

        Args:
            placement: by which it went.
            latency_s: that it took.
            now_s: the time, by any one clock.
        """
        expected_s = placement.predicted_latency_s
        late = latency_s > LATE * expected_s and latency_s > expected_s + _EXCESS_S
        if not late:
            self._suspected.clear()
        if not late or len(placement.programs) < 2 or now_s < self._asked_s + _EVERY_S:
            return False
        self._asked_s = now_s
        return True

    def judge(
        self, placement: Placement, events: Mapping[str, Iterable[Event]], now_s: float
    ) -> bool:
        """Whether the work is to be shared anew, by `slowness`.

        Args:
            placement: by which an image went that was late.
            events: what each of its boards did for it.
            now_s: the time.
        """
        planned = _seconds(placement.predicted)  # with the slowness that is known
        took = _seconds(event for board in sorted(events) for event in events[board])
        times = {b: took[b] / planned[b] for b in planned.keys() & took.keys() if planned[b]}
        if len(times) < 2:
            return False
        least = min(times.values())
        slow = {
            board: ratio / least
            for board, ratio in sorted(times.items())
            if ratio >= SLOW * least and took[board] - least * planned[board] >= _EXCESS_S
        }
        self._suspected = {board: self._suspected.get(board, 0) + 1 for board in slow}
        sure = [board for board, count in self._suspected.items() if count >= _TIMES]
        for board in sure:
            self.slowness[board] = self.slowness.get(board, 1.0) * slow[board]
        if sure:
            self._suspected.clear()
            self._again_s = now_s + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LAST_PAUSE_S)
        return bool(sure)

    def forgives(self, now_s: float) -> bool:
        """Whether slow boards are to be tried again now."""
        if self._again_s is None or now_s < self._again_s:
            return False
        self._again_s = None
        self.slowness.clear()
        return True


def _seconds(events: Iterable[Event]) -> dict[str, float]:
    """Seconds of computing, by board."""
    seconds: dict[str, float] = {}
    for event in events:
        if event.kind == "run":
            seconds[event.board] = seconds.get(event.board, 0.0) + event.end_s - event.start_s
    return seconds
