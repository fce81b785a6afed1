"""What a search does: screening, searching with and without it, and being killed.

- Screening: seconds for 10,000 candidates of 40 vertices on 4 boards, all cores.
- Searching: photos and MNIST, 4 described Raspberry Pi 4, several seeds: candidates of a screening
  for a wish of half the median latency, against plain RandomSearch over the same space, each until
  its trainings have taken the same processor time. The hypervolume is that of accuracy above chance
  over the latency as a ratio below the slowest network that either trained.
- Kills: a search of 20 trials by a chief and two workers, of which some process is killed
  (SIGKILL) ten times at random moments, against the same search left alone in one process.

python benchmarks/search.py           # about an hour on two cores
python benchmarks/search.py --quick   # a minute: fewer candidates, toy trainings, no kills
python benchmarks/search.py --only kills
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from outcome import Section, Target, finish
from search_arms import CLUSTER, compare
from search_kills import run_kills

from keras_concurrent.search.screening import screen
from keras_concurrent.search.space import Space

PARTS = ("screening", "searching", "kills")
CANDIDATES = 10_000

Outcome = tuple[list[tuple[str, str, str]], dict[str, Any], list[Target]]


def screening(quick: bool) -> Outcome:
    """How long screening takes."""
    space = Space((32, 32, 3), 10, vertices=(40,))
    screen(space, CLUSTER, 1)  # compiles
    samples = 2_000 if quick else CANDIDATES
    start = time.perf_counter()
    screen(space, CLUSTER, samples)
    seconds = (time.perf_counter() - start) * CANDIDATES / samples
    name = f"screening: seconds for {CANDIDATES:,} candidates on {os.cpu_count()} cores"
    return (
        [(name, f"{seconds:.1f}", "")],
        {"seconds": seconds, "samples": samples},
        [Target(name, 30.0, seconds, at_least=False)],
    )


def searching(quick: bool, seeds: int, seconds: float) -> Outcome:
    """What screening brings."""
    how: dict[str, Any] = {
        "seconds": seconds, "samples": 4_000, "images": 1_200, "epochs": 3,
        "vertices": (6, 8, 10), "filters": (16, 24, 32), "channel_caps": (64, 128),
        "convolutions": ("dense",),  # with separable ones these boards mostly wait for messages
    }  # fmt: skip
    sets: tuple[str, ...] = ("photos", "mnist")
    if quick:
        how |= {"seconds": 15.0, "samples": 500, "images": 200, "epochs": 1, "vertices": (6,)}
        sets, seeds = ("mnist",), 1
    rows, found = [], []
    for data in sets:
        for seed in range(seeds):
            one = compare(data, seed, **how)
            found.append(one)
            rows.append(
                (
                    f"searching {data}, seed {seed}",
                    f"{one.ratio:.2f}x hypervolume",
                    f"{len(one.random.accuracies)} random trials, best {_best(one.random)}; "
                    f"{len(one.screened.accuracies)} screened, best {_best(one.screened)}; "
                    f"median {one.median_s * 1e3:.1f} ms",
                )
            )
    ratio = statistics.mean(one.ratio for one in found)
    linear = statistics.mean(one.linear_ratio for one in found)
    behind = statistics.mean(one.points_behind for one in found)
    rows.append(("searching: mean with latency in seconds", f"{linear:.2f}x hypervolume", ""))
    targets = [] if quick else [
        Target("searching: mean hypervolume over random search's", 1.2, ratio),
        Target("searching: points behind the best, at half the median latency", 0.5, behind,
               at_least=False),
    ]  # fmt: skip
    figures = {
        "hypervolume_ratio": ratio,
        "hypervolume_ratio_linear": linear,
        "points_behind": behind,
        "searches": [asdict(one) for one in found],
    }
    return rows, figures, targets


def _best(arm: Any) -> str:
    accuracy, latency_s = max(zip(arm.accuracies, arm.latencies_s, strict=True))
    return f"{accuracy:.3f} at {latency_s * 1e3:.1f} ms"


def kills(trials: int = 20, count: int = 10) -> Outcome:
    """What kills cost."""
    with tempfile.TemporaryDirectory() as folder:
        found = run_kills(Path(folder), trials, count)
    name = "kills: "
    return (
        [
            (f"{name}{found.kills}", f"{found.completed} of {trials} trials completed",
             f"{found.by_kind}; {found.trained} trainings; {found.seconds:.0f} s, left alone in "
             f"one process {found.seconds_alone:.0f} s"),
        ],
        asdict(found),
        [
            Target(f"{name}processes killed", count, found.kills),
            Target(f"{name}trials completed", trials, found.completed),
            Target(f"{name}trials repeated", 0, found.trained - trials, at_least=False),
            Target(f"{name}the same leaderboard", 1, float(found.same)),
        ],
    )  # fmt: skip


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="about a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", choices=PARTS, action="append", help="some parts")
    parser.add_argument("--seeds", type=int, default=3, help="of each data set")
    parser.add_argument("--seconds", type=float, default=150.0, help="of training, a search")
    options = parser.parse_args()
    parts = options.only or [p for p in PARTS if not (options.quick and p == "kills")]
    rows: list[tuple[str, str, str]] = []
    figures: dict[str, Any] = {}
    targets: list[Target] = []
    for part in parts:
        if part == "screening":
            more = screening(options.quick)
        elif part == "searching":
            more = searching(options.quick, options.seeds, options.seconds)
        else:
            more = kills()
        rows += more[0]
        figures[part] = more[1]
        targets += more[2]
    section = Section("Searching", ("what", "figure", "beside it"), rows, figures, targets)
    finish(section, as_json=options.json)


if __name__ == "__main__":
    main()
