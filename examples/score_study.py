"""Which score predicts how much sooner several boards answer.

Candidates are networks of 50 vertices, wired by eight generators and staged in four ways; settings
are 2, 4 or 8 boards, three links and two speeds. In each the candidates of one staging are ranked
by every score, and the ranks compared (Spearman) with those of the best plan found for each
candidate, by a search of 60,000 evaluations. What is to be predicted is

- the speed-up: how many times sooner than on one such board. It compares wirings at equal work,
  which is what a score is for.
- the latency itself. Candidates differ in FLOPs, which decide it as much as the wiring does; FLOPs
  alone and the portfolio's latency stand beside.

python examples/score_study.py --out docs     # 20 minutes of CPU time
python examples/score_study.py --quick        # few candidates, under a minute

``OUT`` then holds ``score_study.csv`` (one line a setting and staging), ``score_study.md`` (the
table) and ``score_study.png``.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from score_samples import (
    CS,
    LISTED,
    MANY,
    PREDICTORS,
    SCORES,
    SETTINGS,
    SHOWN,
    STAGED,
    STAGINGS,
    VERTICES,
    WIRINGS,
    Candidate,
    Sample,
    Setting,
    Staging,
    measure_all,
)  # fmt: skip

from keras_concurrent.cli.console import table
from keras_concurrent.files import write_beside

Array = np.ndarray[Any, Any]
Points = list[tuple[str, float, float]]


def ranks(values: Sequence[float]) -> Array:
    """Place of each value among all, from 1; equal values share the mean of their places."""
    _, which, many = np.unique(values, return_inverse=True, return_counts=True)
    last: Array = np.cumsum(many)
    places: Array = (last - (many - 1) / 2)[which]
    return places


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where all of one are equal, which predicts nothing."""
    x, y = ranks(a) - (len(a) + 1) / 2, ranks(b) - (len(b) + 1) / 2
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm else 0.0


@dataclass(frozen=True)
class Agreement:
    """How well each predictor ranks the candidates of one staging in one setting.

    Args:
        candidates: how many.
        sooner: how many of them several boards answer sooner, by the best plan found.
        speed_up: Spearman correlation with the speed-up, by predictor; 1 is the same order.
        latency: likewise with the latency.
    """

    setting: Setting
    staging: Staging
    candidates: int
    sooner: int
    speed_up: Mapping[str, float]
    latency: Mapping[str, float]


def agreement(samples: Sequence[Sample]) -> Agreement:
    """Compare the orders of samples of one setting and staging."""
    speed_ups, latencies = [s.speed_up for s in samples], [-s.best_s for s in samples]
    merits = {
        name: [s.predictions[name] if more else -s.predictions[name] for s in samples]
        for name, more in PREDICTORS.items()
    }
    return Agreement(
        samples[0].setting,
        samples[0].candidate.staging,
        len(samples),
        sum(s > 1 for s in speed_ups),
        {name: spearman(merit, speed_ups) for name, merit in merits.items()},
        {name: spearman(merit, latencies) for name, merit in merits.items()},
    )


def agreements(samples: Sequence[Sample]) -> list[Agreement]:
    """One a setting and staging, in the order in which they come."""
    groups: dict[tuple[Staging, Setting], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.candidate.staging, sample.setting), []).append(sample)
    return [agreement(group) for group in groups.values()]


COLUMNS = ("score", "speed-up: mean", "worst", "latency: mean", "worst")


def rows_of(found: Sequence[Agreement]) -> list[tuple[str, ...]]:
    """The table's cells, one row a predictor, under ``COLUMNS``."""
    rows = []
    for name in PREDICTORS:
        speed_up, latency = [a.speed_up[name] for a in found], [a.latency[name] for a in found]
        cells = (np.mean(speed_up), min(speed_up), np.mean(latency), min(latency))
        rows.append((name, *(f"{cell:.3f}" for cell in cells)))
    return rows


def to_csv(found: Sequence[Agreement]) -> str:
    """One line a setting and staging."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["convolution", "staging", "boards", "link", "gflops_per_s", "candidates", "sooner",
         *(f"{what}: {name}" for what in ("speed-up", "latency") for name in PREDICTORS)]
    )  # fmt: skip
    for a in found:
        s = a.setting
        correlations = [*a.speed_up.values(), *a.latency.values()]
        writer.writerow(
            [a.staging.convolution, a.staging.how, s.boards, s.link, f"{s.gflops_per_s:g}",
             a.candidates, a.sooner, *(f"{c:.4f}" for c in correlations)]
        )  # fmt: skip
    return text.getvalue()


def to_markdown(samples: Sequence[Sample], evaluations: int) -> str:
    """What was compared, the table, and the same without staged wiring."""
    found = agreements(samples)
    others = agreements([s for s in samples if s.candidate.wiring != STAGED])
    return f"""# Which score predicts latency

![Two scores against the speed-up, and the rank correlations of all scores](score_study.png)

Spearman's rank correlation over {len(found)} groups of {found[0].candidates} candidate networks; 1
is the same order. The candidates of a group share the setting (2, 4 or 8 boards of 3 or 10 GFLOP/s,
three links), the convolutions (dense or separable) and the staging; {len(WIRINGS)} generators wire
{VERTICES} vertices each. "Worst" is the group in which a score does worst.

- **Speed-up**: how many times sooner than on one of the boards, by the best plan found in
  {evaluations:,} evaluations. It compares wirings at equal work, which is what a score is for.
- **Latency**: that plan's own. The FLOPs of a group's candidates, which differ by up to
  {_spread(samples):.1f} times, decide it as much as the wiring does.

{_markdown_table(rows_of(found))}

{STAGED}, staged wiring, misleads the paper's score most: few bytes cross from stage to stage, but
the stages wait for each other. Without it:

{_markdown_table(rows_of(others))}

One line a group: [score_study.csv](score_study.csv). The command (20 minutes of CPU time, shared by
all cores):

    python examples/score_study.py --out docs
"""


def _spread(samples: Sequence[Sample]) -> float:
    """Most FLOPs over least, in the group in which they differ most."""
    groups: dict[Staging, list[float]] = {}
    for s in samples:
        groups.setdefault(s.candidate.staging, []).append(s.predictions["FLOPs"])
    return max(max(flops) / min(flops) for flops in groups.values())


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    rule = "|---" + "|---:" * (len(COLUMNS) - 1) + "|"
    head, *body = ("| " + " | ".join(row) + " |" for row in (COLUMNS, *rows))
    return "\n".join([head, rule, *body])


def picture(
    samples: Sequence[Sample], found: Sequence[Agreement]
) -> tuple[str, dict[str, Points], dict[str, Points]]:
    """What `score_figure.draw` draws: a title, two scores' samples, all scores' correlations."""
    shown = [s for s in samples if (s.setting, s.candidate.staging) == (SHOWN, STAGINGS[0])]
    clouds: dict[str, Points] = {
        f"{name}; {'more' if SCORES[name] else 'less'} is better": [
            (s.candidate.wiring, s.predictions[name], s.speed_up) for s in shown
        ]
        for name in (CS, LISTED)
    }
    spreads: dict[str, Points] = {
        name: [(a.setting.link, a.speed_up[name], a.latency[name]) for a in found]
        for name in SCORES
    }
    title = (
        f"{SHOWN.boards} boards of {SHOWN.gflops_per_s:g} GFLOP/s, {SHOWN.link}, "
        f"{STAGINGS[0].convolution} convolutions"
    )
    return title, clouds, spreads


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and leave the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("scores"), help="folder for the files")
    parser.add_argument("--quick", action="store_true", help="few candidates, few evaluations")
    options = parser.parse_args(arguments)
    seeds, stagings, evaluations = (
        (2, STAGINGS[:1], 3_000) if options.quick else (6, STAGINGS, MANY)
    )
    candidates = [
        Candidate(wiring, staging, seed)
        for staging in stagings
        for wiring in WIRINGS
        for seed in range(seeds)
    ]
    samples = measure_all(candidates, SETTINGS, evaluations)
    found = agreements(samples)
    title = f"Spearman's rank correlation, {len(found)} groups of {found[0].candidates} candidates"
    Console(width=100).print(table(title, COLUMNS, rows_of(found)))
    from score_figure import draw

    write_beside(options.out / "score_study.csv", to_csv(found).encode())
    write_beside(options.out / "score_study.md", to_markdown(samples, evaluations).encode())
    draw(options.out / "score_study.png", *picture(samples, found))
    print(*(options.out / f"score_study.{kind}" for kind in ("csv", "md", "png")), sep="\n")


if __name__ == "__main__":
    main()
