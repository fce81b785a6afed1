"""A search as it goes on: what trains, a line for each trial that has ended, the leaderboard."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from keras_concurrent.durations import about
from keras_concurrent.files import write_beside
from keras_concurrent.search.pace import TrialPace, read_paces
from keras_concurrent.search.results import Result, leaderboard, ranked, read_results

_POLL_S = 0.5
_EVERY_S = 10.0  # a trial that trains is told of
_ENDED = ("COMPLETED", "FAILED")


class Watch:
    """Looks at the records of the trials, whichever processes write them.

    Args:
        folder: where the tuner keeps its trials.
        table: the leaderboard to write, a CSV file.
        tell: is given a line for each trial that has ended since the last look, and now and then
            one for each that trains, with the time that is left.
        trials: how many there will be, where that is known.
        metric: shown beside the latency.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        folder: Path,
        table: Path,
        tell: Callable[[str], object],
        trials: int | None = None,
        metric: str = "val_accuracy",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._table = table
        self._tell = tell
        self._trials = trials
        self._metric = metric
        self._clock = clock
        self._told: set[str] = set()
        self._paced_after: dict[str, float] = {}
        self._whole_s: dict[str, float] = {}

    def look(self) -> int:
        """Tell what is new; gives the number of trials that have ended."""
        results = read_results(self._folder)
        ended = [r for r in results if r.status in _ENDED]
        new = [r for r in ended if r.trial not in self._told]
        if new:
            write_beside(self._table, leaderboard(results).encode())
            best = ranked(results)
            for result in new:
                self._told.add(result.trial)
                self._tell(self._line(result, best[0] if best else None))
        self._look_at_paces(len(ended), {r.trial for r in ended})
        return len(ended)

    def _look_at_paces(self, ended: int, over: set[str]) -> None:
        paces = [pace for pace in read_paces(self._folder) if pace.trial not in over]
        self._whole_s |= {pace.trial: pace.whole_s for pace in paces if pace.share < 1}
        now = self._clock()
        for pace in paces:
            if now < self._paced_after.get(pace.trial, now):
                continue
            self._paced_after[pace.trial] = now + _EVERY_S
            self._tell(
                f"trial {pace.trial}: epoch {pace.epoch}/{pace.epochs}, {100 * pace.share:.0f} %, "
                f"accuracy {pace.accuracy:.3f}, {about(pace.left_s)} left{self._rest(ended, paces)}"
            )

    def _rest(self, ended: int, paces: Sequence[TrialPace]) -> str:
        """What all trials still take, by the pace of those seen and as many processes as now."""
        if not self._trials or not self._whole_s:
            return ""
        undone = self._trials - ended - sum(pace.share for pace in paces)
        each_s = sum(self._whole_s.values()) / len(self._whole_s)
        left_s = max(0.0, undone) * each_s / len(paces)
        return f"; all {self._trials} trials: {about(left_s)}"

    def _line(self, result: Result, best: Result | None) -> str:
        count = f"{len(self._told)}/{self._trials}" if self._trials else f"{len(self._told)}"
        text = f"{count}  trial {result.trial}: {self._figures(result)}"
        if best is not None and best is not result:
            text += f"; best so far {best.trial}: {self._figures(best)}"
        elif best is result:
            text += ", the best so far"
        return text

    def _figures(self, result: Result) -> str:
        if result.status == "FAILED":
            said = (result.message or "").strip().splitlines()
            return "failed" + (f", {said[-1]}" if said else "")
        values = result.figures
        text = f"{self._metric} {values[self._metric]:.3f}"
        if "latency_s" in values:
            text += f", {values['latency_s'] * 1e3:.1f} ms"
        return text

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Look again and again in a thread, and a last time at the end."""
        over = threading.Event()

        def again() -> None:
            while not over.wait(_POLL_S):
                self.look()

        thread = threading.Thread(target=again, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.look()
