"""Whether an image that begins now will be answered in time, judged by those before it.

Boards that are asked for more than they can do answer nothing in time: each image waits for those
before it, and is given up when it is nearly done. So an image begins when it can be expected to be
answered by its deadline, and waits or is turned away before it has cost anything otherwise.
"""

from __future__ import annotations

import math

_WEIGHT = 0.25  # of the latest image in the mean
_MARGIN = 1.25


class Admission:
    """What is known of how quickly images are answered, by the client's clock.

    Answers come one after another, so an image with n before it is expected after n + 1 times the
    mean time from an answer to the next, and never sooner than the quickest so far. Nothing is
    known before the first answer: until then all are expected in time.
    """

    def __init__(self) -> None:
        self._interval_s = 0.0
        self._least_s = math.inf
        self._answered_s = -math.inf
        self._planned_s = 0.0

    def plan(self, latency_s: float) -> None:
        """Images take another way from now on, by plan so much quicker or slower than before."""
        if self._planned_s > 0 and latency_s > 0:
            self._interval_s *= latency_s / self._planned_s
            self._least_s *= latency_s / self._planned_s
        self._planned_s = latency_s

    def expected_s(self, before: int) -> float:
        """How long an image that begins now may take, so many being on their way before it."""
        if self._interval_s == 0.0:
            return 0.0
        least_s = self._least_s if math.isfinite(self._least_s) else 0.0
        return _MARGIN * max((before + 1) * self._interval_s, least_s)

    def answered(self, begun_s: float, now_s: float) -> None:
        """An image was answered that had begun then."""
        self._take(now_s - max(begun_s, self._answered_s))
        self._least_s = min(self._least_s, now_s - begun_s)
        self._answered_s = now_s

    def missed(self, begun_s: float, now_s: float, before: int) -> None:
        """An image was not answered by its deadline, though only so many were before it."""
        at_least_s = (now_s - begun_s) / (before + 1)
        if at_least_s > self._interval_s:
            self._take(at_least_s)

    def _take(self, interval_s: float) -> None:
        if self._interval_s == 0.0:
            self._interval_s = interval_s
        else:
            self._interval_s += _WEIGHT * (interval_s - self._interval_s)
