"""Plans of the list schedule and of the search, against what CP-SAT has proven or polished."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from outcome import Section, Target

from keras_concurrent import Cluster, TaskGraph, generate, stage
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.polish import polish
from keras_concurrent.planning.schedule import schedule

KINDS = {"DP": {}, "WS": {}, "ER": {}, "lanes": {"lanes": 4}}
LINKS = ("1gbit", "100mbit")
_EQUAL = 1 + 1e-6  # CP-SAT's ticks are a ten-millionth of the latency


@dataclass(frozen=True)
class Study:
    """Networks of one size.

    Args:
        title: of its table.
        vertices: sizes of the networks.
        boards: how many there may be.
        count: of networks.
        limit_s: for CP-SAT on each.
        evaluations: of the search.
    """

    title: str
    vertices: tuple[int, ...]
    boards: tuple[int, ...]
    count: int
    limit_s: float
    evaluations: int = 100_000


SMALL = Study("at most 16 vertices", (8, 10, 12, 14, 16), (2, 3, 4), 50, 60.0, 300_000)
MIDDLE = Study("20 to 35 vertices", (20, 25, 30, 35), (2, 3, 4), 24, 60.0, 150_000)
LARGE = Study("50 vertices", (50,), (2, 4, 8), 12, 30.0)
QUICK = Study("at most 10 vertices", (8, 10), (2, 3), 8, 3.0)


@dataclass(frozen=True)
class Instance:
    """One network on one cluster; latencies and the search's time in seconds."""

    kind: str
    listed_s: float
    searched_s: float
    best_s: float
    proven: bool
    search_seconds: float

    @property
    def loss(self) -> float:
        """The search's latency over the best known."""
        return self.searched_s / self.best_s


def networks(study: Study) -> Iterator[tuple[str, TaskGraph, Cluster]]:
    """Networks of every kind, size and link; dense and separable, staged in two ways."""
    cases = list(itertools.product(study.vertices, LINKS, study.boards, KINDS))
    for seed in range(study.count):
        vertices, link, boards, kind = cases[seed * 7 % len(cases)]
        drawn = generate(kind, vertices, seed=seed, **KINDS[kind])
        network = stage(
            drawn, (32, 32, 3), 10, staging="uniform" if seed % 2 else "probabilistic", filters=32,
            separable=seed % 3 > 0, seed=seed,
        )  # fmt: skip
        yield kind, TaskGraph.from_architecture(network), Cluster.of("pi4", boards, link)


def measure(study: Study, progress: Callable[[int, int], None]) -> list[Instance]:
    """Plan every network by list, by search, and by proof."""
    found = []
    for done, (kind, graph, cluster) in enumerate(networks(study)):
        progress(done, study.count)
        listed = schedule(graph, cluster)
        begun = time.process_time()
        searched = schedule(graph, cluster, effort=Effort(study.evaluations))
        took = time.process_time() - begun
        best = polish(searched, cluster, time_limit_s=study.limit_s)
        latencies = (listed.latency_s, searched.latency_s, best.plan.latency_s)
        found.append(Instance(kind, *latencies, best.proven, took))
    progress(study.count, study.count)
    return found


def section(study: Study, progress: Callable[[int, int], None]) -> Section:
    """A study as a table, figures and targets."""
    found = measure(study, progress)
    proven = [i for i in found if i.proven]
    rows = [_row(kind, [i for i in found if i.kind == kind]) for kind in KINDS]
    name = study.title
    targets = []
    if study in (SMALL, QUICK):
        equal = sum(i.loss <= _EQUAL for i in proven)
        targets = [Target(f"{name}: plans equal to the proven best", study.count, equal)]
    elif study is MIDDLE:
        losses = [i.loss for i in proven] or [float("inf")]
        slowest = max(i.search_seconds for i in found)
        targets = [
            Target(f"{name}: mean over the proven best", 1.005, np.mean(losses), at_least=False),
            Target(f"{name}: worst over the proven best", 1.04, max(losses), at_least=False),
            Target(f"{name}: slowest search, s", 1.0, slowest, at_least=False),
        ]
    else:
        losses = [i.loss for i in found]
        targets = [
            Target(f"{name}: mean over the polished", 1.02, np.mean(losses), at_least=False),
            Target(f"{name}: worst over the polished", 1.06, max(losses), at_least=False),
        ]
    return Section(
        f"Latency over the best known: {name}, CP-SAT {study.limit_s:g} s, search of "
        f"{study.evaluations:,} evaluations",
        ("kind", "number", "proven", "list: mean", "worst", "search: mean", "worst", "equal",
         "search ms"),
        [*rows, _row("all", found)],
        {name: {"listed": [i.listed_s / i.best_s for i in found],
                "searched": [i.loss for i in found], "proven": [i.proven for i in found]}},
        targets,
    )  # fmt: skip


def _row(kind: str, instances: list[Instance]) -> tuple[str, ...]:
    listed = [i.listed_s / i.best_s for i in instances]
    searched = [i.loss for i in instances]
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
