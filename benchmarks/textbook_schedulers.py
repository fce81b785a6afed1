"""How much better our plans are than those of the textbook schedulers.

Each of `instances.instances` is planned by our list schedule, by our search (20,000 evaluations),
and by HEFT, CPOP, PEFT, min-min and the paper's own distribution. Their plans are then simulated as
ours are: tensors queue at the sender's interface, the image comes from the client, the answer goes
back to it, and calls cost nothing. The gain is the latency of the best of the five over ours.

python benchmarks/textbook_schedulers.py           # 252 instances, about half a minute
python benchmarks/textbook_schedulers.py --quick   # every 7th
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context

import numpy as np
from instances import BOARDS, CONVOLUTIONS, GFLOPS_PER_S, KINDS, LINKS, Instance, instances
from outcome import Target, finish
from rich.console import Console
from textbook import SCHEDULERS

from keras_concurrent.console import progress_bars, table
from keras_concurrent.schedule import schedule

EVALUATIONS = 20_000
_ROUNDING = 1e-9  # latencies closer than this share are equal
_EVERY = 7  # for --quick; shares no factor with the turns of `instances`


@dataclass(frozen=True)
class Measured:
    """An instance's latencies in seconds.

    Args:
        listed_s: of our list schedule.
        searched_s: of our search.
        textbook_s: of each of ``SCHEDULERS``.
    """

    instance: Instance
    listed_s: float
    searched_s: float
    textbook_s: dict[str, float]

    @property
    def best_s(self) -> float:
        """Of the best textbook scheduler."""
        return min(self.textbook_s.values())

    @property
    def list_gain(self) -> float:
        """How many times sooner our list schedule answers than the best of them."""
        return self.best_s / self.listed_s

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
        schedule(graph, cluster, evaluations=EVALUATIONS).latency_s,
        {name: plan(graph, cluster).latency_s for name, plan in SCHEDULERS.items()},
    )


def measure_all(chosen: Sequence[Instance]) -> list[Measured]:
    """Measure on all cores; the result is in order and does not depend on their number."""
    found = []
    with (
        progress_bars() as progress,
        ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool,
    ):
        bar = progress("networks")
        for measured in pool.map(measure, chosen):
            found.append(measured)
            bar(len(found), len(chosen))
    return found


def not_worse(gains: Sequence[float]) -> int:
    """How many gains are none that is a loss."""
    return sum(gain >= 1 - _ROUNDING for gain in gains)


def row(name: str, found: Sequence[Measured]) -> tuple[str, ...]:
    """The table's cells for a group of instances."""
    listed, searched = [m.list_gain for m in found], [m.search_gain for m in found]
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


def main() -> None:
    """Measure all instances."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"every {_EVERY}th instance")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    found = measure_all(list(instances())[:: _EVERY if options.quick else 1])
    if not options.json:
        console = Console(width=100)
        console.print(
            table(
                "Latency over our search's",
                ("scheduler", "mean", "most", "best of the five"),
                scheduler_rows(found),
            )
        )
        console.print(
            table(
                "Where ours is worse", ("instance", "planned better by", "our gain"), losses(found)
            )
        )
    finish(
        "Gain: latency of the best textbook scheduler over ours",
        ("instances", "number", "list: mean", "least", "worse", "search: mean", "least", "most",
         "worse"),
        rows(found),
        {m.instance.name: {k: v for k, v in asdict(m).items() if k != "instance"} for m in found},
        [
            Target(
                "instances planned no worse than by the best textbook scheduler",
                len(found),
                not_worse([m.search_gain for m in found]),
            )
        ],
        as_json=options.json,
    )  # fmt: skip


if __name__ == "__main__":
    main()
