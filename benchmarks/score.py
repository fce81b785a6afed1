"""How many architectures a second one core can screen, drawing and staging them included.

Every architecture is new: a DP graph of 40 vertices, staged for 64x64 pixels. A rate is that of the
best of several rounds, in CPU time of this process: whatever else the machine does only slows it.

python benchmarks/score.py           # about a minute
python benchmarks/score.py --quick   # fewer architectures, a few seconds
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from outcome import Section, Target, finish

from keras_concurrent import Cluster, TaskGraph, concurrency_score, generate, stage
from keras_concurrent.scoring.concurrency import eta
from keras_concurrent.scoring.efficiency import scheduled_efficiency

VERTICES = 40
BOARDS = 4
PER_ROUND = 150
LEAST_PER_S = 1000.0
ETA, EFFICIENCY, CONCURRENCY = "eta", "schedule and efficiency score", "concurrency score"


def drawn(seed: int) -> TaskGraph:
    """A new architecture's task graph."""
    network = stage(generate("DP", VERTICES, seed=seed), (64, 64, 3), 10, seed=seed)
    return TaskGraph.from_architecture(network)


def rates_per_s(score: Callable[[TaskGraph], object], count: int, rounds: int) -> list[float]:
    """Architectures a second, drawn and scored, in each round."""
    score(drawn(0))  # compiles, or loads what was compiled
    found = []
    for r in range(rounds):
        start = time.process_time()
        for seed in range(r * count, (r + 1) * count):
            score(drawn(seed))
        found.append(count / (time.process_time() - start))
    return found


def main() -> None:
    """Measure each score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer architectures")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    cluster = Cluster.of("pi4", BOARDS, "1gbit")
    rounds, partitioned = (10, 10) if options.quick else (60, 100)
    found = {
        ETA: rates_per_s(lambda graph: eta(graph, BOARDS), PER_ROUND, rounds),
        EFFICIENCY: rates_per_s(
            lambda graph: scheduled_efficiency(graph, cluster), PER_ROUND, rounds
        ),
        CONCURRENCY: rates_per_s(lambda graph: concurrency_score(graph, BOARDS), partitioned, 3),
    }
    section = Section(
        f"Architectures a second on one core: DP, {VERTICES} vertices, {BOARDS} boards",
        ("score", "best round", "median", "least"),
        [
            (name, f"{max(rates):.0f}", f"{statistics.median(rates):.0f}", f"{min(rates):.0f}")
            for name, rates in found.items()
        ],
        found,
        [
            Target(f"{name}, architectures a second", LEAST_PER_S, max(found[name]))
            for name in (ETA, EFFICIENCY)
        ],
    )
    finish(section, as_json=options.json)


if __name__ == "__main__":
    main()
