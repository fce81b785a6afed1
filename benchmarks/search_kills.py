"""A search whose processes are killed at random moments, beside one that is left alone."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from keras_concurrent.search.results import Result, read_results

# As small as a search can be that trains real networks.
_ASKED = (
    "--data", "digits", "--images", "400", "--epochs", "1", "--samples", "300", "--kinds", "DP",
    "--vertices", "2,3", "--filters", "4,8", "--channel-caps", "16", "--latency-ms", "2",
)  # fmt: skip
_GIVE_UP_S = 1200.0


@dataclass(frozen=True)
class Kills:
    """What came of it.

    Args:
        kills: how many processes were killed, each by chance the chief, a worker, or the one that
            looks after them, with which they end.
        by_kind: how many of each.
        completed: trials.
        trials: that were asked for.
        trained: trainings that came to their first validation. One that is killed before its trial
            is recorded runs again.
        repeated: those of them that began after their trial was recorded as completed.
        same: whether the leaderboard is that of the search that was left alone.
        seconds: with kills.
        seconds_alone: without, in one process.
    """

    kills: int
    by_kind: dict[str, int]
    completed: int
    trials: int
    trained: int
    repeated: int
    same: bool
    seconds: float
    seconds_alone: float


def run_kills(folder: Path, trials: int, kills: int, seed: int = 0) -> Kills:
    """Run both searches."""
    rng = random.Random(seed)
    alone, killed = folder / "alone", folder / "killed"
    for each in (alone, killed):
        shutil.rmtree(each, ignore_errors=True)
    asked = (*_ASKED, "--trials", str(trials))
    seconds_alone = -time.monotonic()
    _start(*asked, "--out", str(alone)).wait()
    seconds_alone += time.monotonic()
    start = time.monotonic()
    process = _start(*asked, "--out", str(killed), "--local-workers", "2")
    by_kind: dict[str, int] = {}
    next_kill = start + rng.uniform(5, 15)
    recorded: dict[str, float] = {}
    while True:
        for result in read_results(killed / "trials"):
            if result.status == "COMPLETED":
                recorded.setdefault(result.trial, time.time())
        if time.monotonic() - start > _GIVE_UP_S:
            process.kill()
            break
        status = process.poll()
        if status == 0:
            break
        if status is not None:
            process = _start("--resume", str(killed), "--local-workers", "2")
        if sum(by_kind.values()) < kills and time.monotonic() > next_kill:
            victim = _victim(process.pid, rng)
            if victim is not None:
                kind, pid = victim
                by_kind[kind] = by_kind.get(kind, 0) + 1
                os.kill(pid, signal.SIGKILL)
                next_kill = time.monotonic() + rng.uniform(2, 12)
        time.sleep(0.2)
    seconds = time.monotonic() - start
    found, expected = read_results(killed / "trials"), read_results(alone / "trials")
    trained = _trained(killed)
    return Kills(
        kills=sum(by_kind.values()),
        by_kind=by_kind,
        completed=sum(r.status == "COMPLETED" for r in found),
        trials=trials,
        trained=len(trained),
        repeated=sum(at > recorded.get(trial, math.inf) for trial, at in trained),
        same=_board(found) == _board(expected),
        seconds=seconds,
        seconds_alone=seconds_alone,
    )


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "keras_concurrent", "search", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _victim(pid: int, rng: random.Random) -> tuple[str, int] | None:
    """A process to kill: the chief, a worker, or the supervisor, with which the others end."""
    children = {}
    path = Path(f"/proc/{pid}/task/{pid}/children")
    for child in path.read_text().split() if path.exists() else ():
        command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        for kind in (b"--chief", b"--worker"):
            if kind in command:
                children[int(child)] = kind.decode().strip("-")
    if not children:
        return None
    chosen = rng.choice([*children, *children, pid])
    return children.get(chosen, "supervisor"), chosen


def _trained(folder: Path) -> list[tuple[str, int]]:
    """Trial and time of every event file of a validation, which carries the second it was begun."""
    files = (folder / "tensorboard").glob("*/execution*/validation/*tfevents*")
    return [(file.parts[-4], int(file.name.split(".")[3])) for file in files]


def _board(results: tuple[Result, ...]) -> list[tuple[object, ...]]:
    """Ids, values, scores and losses; a score comes from a worker with 32 bits."""
    return [
        (
            r.trial,
            tuple(sorted(r.values.items())),
            round(r.score or -1, 5),
            round(r.figures.get("val_loss", -1), 5),
        )
        for r in results
    ]
