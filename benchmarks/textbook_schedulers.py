"""How much better our plans are than those of the textbook schedulers.

Each of `instances.instances` is planned by our portfolio, by our search (100,000 evaluations),
and by HEFT, CPOP, PEFT, min-min and the paper's own distribution. Their plans are then simulated as
ours are: tensors queue at the sender's interface, the image comes from the client, the answer goes
back to it, and calls cost nothing. The gain is the latency of the best of the five over ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context

import numpy as np
from instances import BOARDS, CONVOLUTIONS, GFLOPS_PER_S, KINDS, LINKS, Instance, instances
from outcome import Section, Target
from textbook import SCHEDULERS

from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.schedule import schedule

EVALUATIONS = 100_000
_ROUNDING = 1e-9  # latencies closer than this share are equal
_EVERY = 7  # for --quick; shares no factor with the turns of `instances`


@dataclass(frozen=True)
class Measured:
    """An instance's latencies in seconds.

    Args:
        portfolio_s: of our portfolio.
        searched_s: of our search.
        textbook_s: of each of ``SCHEDULERS``.
    """

    instance: Instance
    portfolio_s: float
    searched_s: float
    textbook_s: dict[str, float]

    @property
    def best_s(self) -> float:
        """Of the best textbook scheduler."""
        return min(self.textbook_s.values())

    @property
    def portfolio_gain(self) -> float:
        """How many times sooner our portfolio answers than the best of them."""
        return self.best_s / self.portfolio_s

    @property
    def search_gain(self) -> float:
        """The same for our search."""
        return self.best_s / self.searched_s


def measure(instance: Instance) -> Measured:
    """Plan an instance in every way."""
    graph, cluster = instance.graph(), instance.setting.cluster()
    return Measured(
        instance,
        schedule(graph, cluster).latency_s,
        schedule(graph, cluster, effort=Effort(EVALUATIONS)).latency_s,
        {name: plan(graph, cluster).latency_s for name, plan in SCHEDULERS.items()},
    )


def measure_all(chosen: Sequence[Instance], progress: Callable[[int, int], None]) -> list[Measured]:
    """Measure on all cores; the result is in order and does not depend on their number."""
    found = []
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for measured in pool.map(measure, chosen):
            found.append(measured)
            progress(len(found), len(chosen))
    return found


def not_worse(gains: Sequence[float]) -> int:
    """How many gains are none that is a loss."""
    return sum(gain >= 1 - _ROUNDING for gain in gains)


def row(name: str, found: Sequence[Measured]) -> tuple[str, ...]:
    """The table's cells for a group of instances."""
    listed, searched = [m.portfolio_gain for m in found], [m.search_gain for m in found]
    return (
        name,
        f"{len(found)}",
        *(f"{pick(listed):.3f}" for pick in (np.mean, min)),
        f"{len(found) - not_worse(listed)}",
        *(f"{pick(searched):.3f}" for pick in (np.mean, min, max)),
        f"{len(found) - not_worse(searched)}",
    )


def rows(found: Sequence[Measured]) -> list[tuple[str, ...]]:
    """One row a kind, convolution, number of boards, link and speed, and one for all."""
    groups: list[tuple[str, Callable[[Instance], bool]]] = [
        *((kind, lambda i, kind=kind: i.kind == kind) for kind in KINDS),
        *((c, lambda i, c=c: i.convolution == c) for c in CONVOLUTIONS),
        *((f"{k} boards", lambda i, k=k: i.setting.boards == k) for k in BOARDS),
        *((link, lambda i, link=link: i.setting.link == link) for link in LINKS),
        *((f"{g:g} GFLOP/s", lambda i, g=g: i.setting.gflops_per_s == g) for g in GFLOPS_PER_S),
        ("all", lambda i: True),
    ]
    of_groups = ((name, [m for m in found if belongs(m.instance)]) for name, belongs in groups)
    return [row(name, of) for name, of in of_groups if of]


def scheduler_rows(found: Sequence[Measured]) -> list[tuple[str, ...]]:
    """One row a textbook scheduler: its latency over our search's, and how often it is the best."""
    result: list[tuple[str, ...]] = []
    for name in SCHEDULERS:
        ratios = [m.textbook_s[name] / m.searched_s for m in found]
        best = sum(m.textbook_s[name] <= m.best_s * (1 + _ROUNDING) for m in found)
        result.append((name, f"{np.mean(ratios):.3f}", f"{max(ratios):.2f}", f"{best}"))
    return result


def losses(found: Sequence[Measured]) -> list[tuple[str, ...]]:
    """One row an instance that a textbook scheduler plans better than our search, worst first."""
    worse = [m for m in found if not not_worse([m.search_gain])]
    return [
        (m.instance.name, min(m.textbook_s, key=m.textbook_s.__getitem__), f"{m.search_gain:.4f}")
        for m in sorted(worse, key=lambda m: m.search_gain)
    ]


def sections(progress: Callable[[int, int], None], *, quick: bool) -> list[Section]:
    """Every instance, or every 7th, planned in every way."""
    found = measure_all(list(instances())[:: _EVERY if quick else 1], progress)
    ours = not_worse([m.search_gain for m in found])
    return [
        Section(
            "Gain: latency of the best textbook scheduler over ours",
            ("instances", "number", "portfolio: mean", "least", "worse", "search: mean", "least",
             "most", "worse"),
            rows(found),
            {"textbook": {
                m.instance.name: {k: v for k, v in asdict(m).items() if k != "instance"}
                for m in found
            }},
            [Target("planned no worse than by the best textbook scheduler", len(found), ours)],
        ),
        Section(
            "Latency over our search's",
            ("scheduler", "mean", "most", "best of the five"),
            scheduler_rows(found),
            {},
        ),
        Section(
            "Where ours is worse", ("instance", "planned better by", "our gain"), losses(found), {}
        ),
    ]  # fmt: skip
