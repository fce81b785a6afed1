"""What a search does: screening, searching with and without it, and being killed.

- Screening: seconds for 10,000 candidates of 40 vertices on 4 boards, all cores.
- Searching: photos and MNIST, 4 described Raspberry Pi 4, several seeds: candidates of a screening
  for a wish of half the median latency, against plain RandomSearch over the same space, each until
  its trainings have taken the same processor time. The hypervolume is that of accuracy above chance
  over the latency as a ratio below the slowest random candidate.
- Kills: a search of 20 trials by a chief and two workers, of which some process is killed
  (SIGKILL) ten times at random moments, against the same search left alone in one process.

python benchmarks/search.py           # some forty minutes on two cores
python benchmarks/search.py --quick   # a minute: fewer candidates, toy trainings, no kills
python benchmarks/search.py --only searching --seeds 10
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from outcome import Section, Target, finish_each
from search_arms import CLUSTER, SHARE_OF_MEDIAN, Arm, Comparison, compare
from search_kills import run_kills

from keras_concurrent.search.screening import screen
from keras_concurrent.search.space import Space

PARTS = ("screening", "searching", "kills")
CANDIDATES = 10_000


def screening(quick: bool) -> Section:
    """How long screening takes."""
    space = Space((32, 32, 3), 10, vertices=(40,))
    screen(space, CLUSTER, 1)  # compiles
    samples = 2_000 if quick else CANDIDATES
    start = time.perf_counter()
    screen(space, CLUSTER, samples)
    seconds = (time.perf_counter() - start) * CANDIDATES / samples
    name = f"screening: seconds for {CANDIDATES:,} candidates on {os.cpu_count()} cores"
    return Section(
        "Screening",
        ("what", "figure"),
        [(name, f"{seconds:.1f}")],
        {"screening": {"seconds": seconds, "samples": samples}},
        [Target(name, 30.0, seconds, at_least=False)],
    )


def searching(quick: bool, seeds: Sequence[int], seconds: float) -> Iterator[Section]:
    """What screening brings: a table for each search, then the means."""
    how: dict[str, Any] = {
        "seconds": seconds, "samples": 4_000, "images": 2_000, "epochs": 4,
        "vertices": (8, 12, 16), "filters": (8, 16, 24), "channel_caps": (64, 128),
        "convolutions": ("dense",),  # with separable ones these boards mostly wait for messages
    }  # fmt: skip
    sets: tuple[str, ...] = ("photos", "mnist")
    if quick:
        how |= {"seconds": 8.0, "samples": 500, "images": 200, "epochs": 1, "vertices": (6, 10)}
        sets, seeds = ("mnist",), seeds[:1]
    found = []
    for data in sets:
        for seed in seeds:
            found.append(compare(data, seed, **how))
            yield _search_table(found[-1])
    ratio = _ratio([(one.volume(one.screened), one.volume(one.random)) for one in found])
    linear = _ratio(
        [(one.linear_volume(one.screened), one.linear_volume(one.random)) for one in found]
    )
    behind = statistics.mean(one.points_behind for one in found)
    yield Section(
        "Searching, means",
        ("what", "figure"),
        [
            ("hypervolume over random search's, latency as a ratio", f"{ratio:.2f}"),
            ("hypervolume over random search's, latency in seconds", f"{linear:.2f}"),
            ("points behind the best, at half the median latency", f"{behind:.2f}"),
        ],
        {
            "hypervolume_ratio": ratio,
            "hypervolume_ratio_linear": linear,
            "points_behind": behind,
            "searches": [asdict(one) for one in found],
        },
        [] if quick else [
            Target("searching: mean hypervolume over random search's", 1.2, ratio),
            Target("searching: points behind the best, at half the median latency", 0.5, behind,
                   at_least=False),
        ],
    )  # fmt: skip


def _ratio(volumes: Sequence[tuple[float, float]]) -> float:
    """Mean over mean: a search that finds nothing would make a ratio of its own infinite."""
    screened, plain = map(sum, zip(*volumes, strict=True))
    return screened / plain if plain > 0 else math.nan


def _search_table(one: Comparison) -> Section:
    rows = [
        (name, str(len(arm.accuracies)), f"{sum(arm.seconds):.0f}", _best(arm),
         f"{one.kept(arm):.3f}", f"{one.volume(arm):.2f}")
        for name, arm in (("random", one.random), ("screened", one.screened))
    ]  # fmt: skip
    wish_ms = SHARE_OF_MEDIAN * one.median_s * 1e3
    return Section(
        f"Searching {one.data}, seed {one.seed}: wish {wish_ms:.2f} ms",
        ("search", "trials", "seconds", "best accuracy", "within the wish", "hypervolume"),
        rows,
        {},
    )


def _best(arm: Arm) -> str:
    accuracy, latency_s = max(zip(arm.accuracies, arm.latencies_s, strict=True))
    return f"{accuracy:.3f} at {latency_s * 1e3:.2f} ms"


def kills(trials: int = 20, count: int = 10) -> Section:
    """What kills cost."""
    with tempfile.TemporaryDirectory() as folder:
        found = run_kills(Path(folder), trials, count)
    return Section(
        "Kills",
        ("what", "figure"),
        [
            (f"trials completed of {trials}", str(found.completed)),
            ("processes killed", f"{found.kills}: {found.by_kind}"),
            ("trainings", str(found.trained)),
            ("seconds", f"{found.seconds:.0f}"),
            ("seconds left alone in one process", f"{found.seconds_alone:.0f}"),
        ],
        {"kills": asdict(found)},
        [
            Target("kills: processes killed", count, found.kills),
            Target("kills: trials completed", trials, found.completed),
            Target("kills: recorded trials repeated", 0, found.repeated, at_least=False),
            Target("kills: the same leaderboard", 1, float(found.same)),
        ],
    )


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="about a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", choices=PARTS, action="append", help="some parts")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of each data set")
    parser.add_argument("--seconds", type=float, default=120.0, help="of training, a search")
    options = parser.parse_args()
    finish_each(measured(options), as_json=options.json)


def measured(options: argparse.Namespace) -> Iterator[Section]:
    """The parts asked for, each when it is there."""
    parts = options.only or [p for p in PARTS if not (options.quick and p == "kills")]
    if "screening" in parts:
        yield screening(options.quick)
    if "searching" in parts:
        yield from searching(options.quick, options.seeds, options.seconds)
    if "kills" in parts:
        yield kills()


if __name__ == "__main__":
    main()
