"""How good plans are: the list schedule and the search, against plans proven best.

Networks of 8 to 16 vertices on 2 to 4 boards, over fast and slow links, dense and separable. CP-SAT
starts from the search's plan and either finds a better one or proves that there is none.

python benchmarks/placement.py           # 50 networks, some minutes; needs the extra `benchmark`
python benchmarks/placement.py --quick   # 12 small ones
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass

import numpy as np
from outcome import Target, finish

from keras_concurrent import Cluster, TaskGraph, generate, stage
from keras_concurrent.console import progress_bars
from keras_concurrent.polish import polish
from keras_concurrent.schedule import schedule
from keras_concurrent.segments import EVALUATIONS

_EQUAL = 1 + 1e-6  # CP-SAT's ticks are a ten-millionth of the latency
KINDS = {"DP": {}, "WS": {}, "ER": {}, "lanes": {"lanes": 4}}
BOARDS = (2, 3, 4)
LINKS = ("1gbit", "100mbit")


@dataclass(frozen=True)
class Instance:
    """One network on one cluster, planned three ways; latencies in seconds."""

    listed_s: float
    searched_s: float
    best_s: float
    proven: bool
    search_seconds: float


def measure(
    kind: str, vertices: int, boards: int, link: str, seed: int, limit_s: float
) -> Instance:
    """Plan a network by list, by search, and by proof."""
    drawn = generate(kind, vertices, seed=seed, **KINDS[kind])
    network = stage(
        drawn, (32, 32, 3), 10, staging="uniform" if seed % 2 else "probabilistic", filters=32,
        separable=seed % 3 > 0, seed=seed,
    )  # fmt: skip
    graph = TaskGraph.from_architecture(network)
    cluster = Cluster.of("pi4", boards, link)
    listed = schedule(graph, cluster)
    begun = time.process_time()
    searched = schedule(graph, cluster, evaluations=EVALUATIONS)
    took = time.process_time() - begun
    proof = polish(searched, cluster, time_limit_s=limit_s)
    return Instance(listed.latency_s, searched.latency_s, proof.plan.latency_s, proof.proven, took)


def row(kind: str, instances: list[Instance]) -> tuple[str, ...]:
    """The table's cells for some instances."""
    listed = [i.listed_s / i.best_s for i in instances]
    searched = [i.searched_s / i.best_s for i in instances]
    return (
        kind,
        f"{len(instances)}",
        f"{sum(i.proven for i in instances)}",
        f"{np.mean(listed):.3f}",
        f"{max(listed):.3f}",
        f"{np.mean(searched):.4f}",
        f"{max(searched):.4f}",
        f"{sum(s <= _EQUAL for s in searched)}",
        f"{np.median([i.search_seconds for i in instances]) * 1e3:.0f}",
    )


def main() -> None:
    """Measure all instances."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="12 small networks")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    count, sizes, limit_s = (12, (8, 10), 2.0) if options.quick else (50, (8, 12, 16), 20.0)
    cases = list(itertools.product(sizes, LINKS, BOARDS, KINDS))
    found: list[tuple[str, Instance]] = []
    with progress_bars() as progress:
        bar = progress("networks")
        measure("DP", 4, 2, "1gbit", 0, limit_s)  # compiles
        for seed in range(count):
            vertices, link, boards, kind = cases[seed * 7 % len(cases)]
            found.append((kind, measure(kind, vertices, boards, link, seed, limit_s)))
            bar(seed + 1, count)
    rows = [row(kind, [i for k, i in found if k == kind]) for kind in KINDS]
    rows.append(row("all", [i for _, i in found]))
    everything = [i for _, i in found]
    equal = sum(i.searched_s <= i.best_s * _EQUAL for i in everything if i.proven)
    proven = sum(i.proven for i in everything)
    worst = max(i.searched_s / i.best_s for i in everything)
    finish(
        "Latency over the best known",
        ("kind", "number", "proven", "list: mean", "worst", "search: mean", "worst", "equal",
         "search ms"),
        rows,
        {"listed": [i.listed_s / i.best_s for i in everything],
         "searched": [i.searched_s / i.best_s for i in everything],
         "proven": proven, "equal_to_proven": equal},
        [
            Target("networks planned as well as the proven best", proven, equal),
            Target("networks whose best plan was proven", count, proven),
            Target("worst of the search over the best known", 1.04, worst, at_least=False),
        ],
        as_json=options.json,
    )  # fmt: skip


if __name__ == "__main__":
    main()
