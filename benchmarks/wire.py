"""Less on the wire: bytes, latency, and accuracy, against float32 tensors between blocks.

python benchmarks/wire.py            # all of it: about 35 minutes on two idle cores
python benchmarks/wire.py --quick    # within a minute

The yardstick is the best plan whose tasks are whole blocks and whose tensors are float32, on the
same eight boards. Beside it stand the same blocks on the same boards, sending as little as can be
(pools and 1x1 convolutions on the side that sends less, sums regrouped, one byte a value), and the
plan that `keras_concurrent.wire.planner` finds by itself, and what one whole board takes, in
float32 and in int8. Predicted costs follow from FLOPs; measured ones come from emulated boards
(``wire_boards``).
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from outcome import Section, Target, finish_each
from wire_boards import answers_of_boards, measured
from wire_networks import Size, compare_all, described

from keras_concurrent import datasets, training
from keras_concurrent.cli.console import stderr
from keras_concurrent.cli.demo import RECIPES, choose
from keras_concurrent.convert import to_tflite
from keras_concurrent.models import build_model
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.wire.budget import Budget
from keras_concurrent.wire.planner import WirePlan, WirePlanner
from keras_concurrent.wire.samples import Samples
from keras_concurrent.wire.sums import regroup_sums

PARTS = ("predicted", "measured", "accuracy")

BOARDS = 8
KINDS = {"ER": 6.0, "WS": 6.0, "DP": 4.0, "lanes": 4.0}
"""By how much fewer bytes must travel, on average."""

LINKS = {"100mbit": 1.5, "20mbit": 2.5}
"""By how much lower the latency must be, on average."""

TITLES = {"100mbit": "100 Mbit/s", "20mbit": "20 Mbit/s shared"}

THIN = Size(vertices=40, pixels=128, filters=8, cap=32)
"""Its blocks' float32 tensors travel longer than they take to compute: what is sent decides."""

THICK = Size(vertices=40, pixels=64, filters=24, cap=96)
"""Its blocks compute longer: on a network that takes no time at all, float32's plans at 100 Mbit/s
are 1.4x as fast, so that no wire format can reach 1.5x."""

THROUGH_BOARDS = {("float32", "float32"), ("float32", "auto"), ("int8", "auto")}
"""Precision, and what tensors are sent as, of what is tried on running boards, too."""

_MOST_LOST = {"float32": 0.1, "float16": 0.5, "dynamic": 0.5, "int8": 0.5}


def networks(
    samples: int, size: Size, links: Sequence[str], kinds: Mapping[str, float], *,
    evaluations: int = 20_000, int8: int = 0, must: bool = True,
) -> Section:  # fmt: skip
    """Bytes and predicted latency."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for kind, seed, by_link in compare_all(
        list(kinds), samples, size, links, BOARDS, evaluations, int8
    ):
        stderr.print(f"{kind} {seed}, {size}", highlight=False)
        for link, row in zip(links, by_link, strict=True):
            found.setdefault((link, kind), []).append({"seed": seed, **row})
    rows, targets = [], []
    for link in links:
        gains, with_int8 = [], []
        saved: dict[float, dict[str, list[float]]] = {}
        for kind, fewer in kinds.items():
            those = sorted(found[link, kind], key=lambda row: row["seed"])
            several = [row for row in those if row["boards"] > 1]  # one sends the image alone
            ratio = _mean_ratio(several, "float32_bytes", "same_blocks_bytes")
            quick = [row for row in those if "int8_s" in row]
            rows.append(
                (f"{kind}, {TITLES[link]}", f"{len(several)} of {samples}", f"1/{ratio:.1f}",
                 *(f"{_mean_ratio(those, 'float32_s', key):.2f}x" for key in
                   ("same_blocks_s", "own_plan_s")),
                 f"{_mean_ratio(quick, 'float32_s', 'int8_s'):.2f}x" if quick else "",
                 f"{_mean_ratio(those, 'float32_s', 'free_network_s'):.2f}x",
                 f"{_mean_ratio(those, 'one_board_s', 'own_plan_s'):.2f}x",
                 f"{_mean_ratio(quick, 'one_board_int8_s', 'int8_s'):.2f}x" if quick else "")
            )  # fmt: skip
            gains += [row["float32_s"] / row["own_plan_s"] for row in those]
            with_int8 += [row["float32_s"] / row["int8_s"] for row in quick]
            saved.setdefault(fewer, {})[kind] = [
                row["float32_bytes"] / row["same_blocks_bytes"] for row in several
            ]
        if link == "100mbit":
            targets += _bytes_saved(saved)
        name = f"predicted latency, {TITLES[link]}: float32 / these"
        targets.append(Target(name, LINKS[link], statistics.fmean(gains)))
        if with_int8:
            targets.append(
                Target(f"{name}, int8 segments", LINKS[link], statistics.fmean(with_int8))
            )
    columns = (
        "", "on several", "bytes, same blocks", "latency, same blocks", "latency, own plan",
        "and int8 segments", "a free network", "own plan over one board",
        "int8 over one board in int8",
    )  # fmt: skip
    title = (
        f"{samples} networks each of {size.vertices} vertices, {size}, on {BOARDS} boards, "
        "against float32 between whole blocks: predicted"
    )
    figures = {f"{kind} {link}, {size}": rows for (link, kind), rows in found.items()}
    return Section(title, columns, rows, figures, targets if must else ())


def _bytes_saved(saved: Mapping[float, Mapping[str, Sequence[float]]]) -> list[Target]:
    """By how much fewer bytes travel: of each kind, and of those that have one bound together."""
    targets = []
    for fewer, by_kind in saved.items():
        named = dict(by_kind)
        if len(by_kind) > 1:
            named[" and ".join(by_kind)] = [ratio for found in by_kind.values() for ratio in found]
        targets += [
            Target(f"bytes saved, {name}: float32 / these", fewer, statistics.fmean(ratios or [0]))
            for name, ratios in named.items()
        ]
    return targets


def _mean_ratio(rows: Sequence[Mapping[str, float]], above: str, below: str) -> float:
    return statistics.fmean([row[above] / row[below] for row in rows] or [0.0])


def on_boards(
    samples: int, size: Size, links: Sequence[str], kinds: Sequence[str], *,
    boards: int = BOARDS, images: int = 20, evaluations: int = 20_000, must: bool = True,
) -> Iterator[Section]:  # fmt: skip
    """Latency, measured; a section a link."""
    for link in links:
        rows, figures = [], []
        gains: dict[str, list[float]] = {"": [], ", int8 segments": []}
        over_one: list[float] = []
        for alone, before, *lighter in measured(
            kinds, samples, size, link, boards, images, evaluations
        ):
            line = [
                before.network,
                f"{1e3 * before.predicted_s:.1f}",
                f"{1e3 * before.median_s:.1f}",
            ]
            for row, found in zip(lighter, gains.values(), strict=True):
                found.append(before.median_s / row.median_s)
                line += [
                    f"{1e3 * row.predicted_s:.1f}", f"{1e3 * row.median_s:.1f}",
                    f"{found[-1]:.2f}x",
                ]  # fmt: skip
            over_one.append(alone.median_s / lighter[-1].median_s)
            rows.append((*line, f"{1e3 * alone.median_s:.1f}", f"{over_one[-1]:.2f}x"))
            figures.append([vars(row) for row in (alone, before, *lighter)])
        name = f"measured latency, {TITLES[link]}: float32 / these"
        yield Section(
            f"One image on {boards} emulated boards, {TITLES[link]}: {size}",
            ("", "float32: predicted ms", "measured", "less: predicted ms", "measured", "gain",
             "int8 segments: predicted ms", "measured", "gain", "one board, int8", "gain over it"),
            rows,
            {f"measured {link}": figures},
            [Target(name + how, LINKS[link], statistics.fmean(found))
             for how, found in gains.items()] if must else (),
        )  # fmt: skip


def accuracy(data: str, epochs: int | None, through_boards: int, *, must: bool = True) -> Section:
    """A trained network: accuracy of its wire formats and precisions, on the test images.

    Some cases answer the first images once more through board processes on loopback.
    """
    import keras

    recipe = RECIPES[data]
    dataset = datasets.load(data, size=recipe.size)
    architecture = choose(recipe, dataset, 4, 0)
    keras.utils.set_random_seed(0)
    model = build_model(architecture)
    training.train(model, dataset, epochs=epochs or recipe.epochs, batch_size=64,
                   learning_rate=6e-3, seed=0)  # fmt: skip
    shape = dataset.train_images.shape[1:]
    samples = Samples.load(data, shape)
    float32 = TfliteFile(to_tflite(model))
    budget = Budget(float32, samples)
    cluster = described("20mbit", BOARDS)
    rows = [("float32 as it is", "", f"{budget.accuracy:.2%}", "", "", "")]
    figures: dict[str, Any] = {"float32": budget.accuracy}
    targets = []
    cases = [("float32", w) for w in ("float32", "float16", "int8", "auto")]
    cases += [(p, "auto") for p in ("float16", "dynamic", "int8")]
    for precision, sent_as in cases:
        file = float32
        if precision != "float32":
            file = TfliteFile(to_tflite(model, precision=precision, images=samples.calibration))
        planner = WirePlanner(file, cluster, sent_as=sent_as, images=samples.images(file))
        homes = _spread(file)
        summed, homes = regroup_sums(file, homes)
        planned = planner.encoded(summed, homes, planner.formats(summed, homes))
        if sent_as == "auto" and precision == "float32":
            planned = budget.keep(planner, planned)
        found = budget.variant(sent_as, planned.file, planned.plan)
        lost = 100 * (budget.accuracy - (found.accuracy or 0.0))
        name = f"{precision} segments, {sent_as} wire"
        row = [name, f"{found.largest_difference:.2g}", f"{found.accuracy:.2%}", f"{lost:.2f}"]
        lost_by = {"in one process": lost}
        if (precision, sent_as) in THROUGH_BOARDS:
            reached, gap, points = _through_boards(file, planned, samples, float32, through_boards)
            figures[f"{name}, through boards"] = {"accuracy": reached, "difference": gap}
            row += [f"{reached:.2%}", f"{points:.2f}"]
            targets.append(
                Target(f"{data}, {name}: boards against interpreter", 0.0, gap, at_least=False)
            )
            lost_by["through boards"] = points
        rows.append((*row, *[""] * (6 - len(row))))
        figures[name] = found.accuracy
        if must:
            targets += [
                Target(
                    f"{data}, {name}: points lost {where}",
                    _MOST_LOST[precision],
                    round(points, 6),
                    at_least=False,
                )
                for where, points in lost_by.items()
            ]
    columns = (
        "", "largest difference", "accuracy", "points lost",
        f"accuracy of {through_boards} through boards", "points lost there",
    )  # fmt: skip
    title = f"{data}: {len(samples.validation)} test images, every vertex on a board of its own"
    return Section(title, columns, rows, {f"accuracy {data}": figures}, targets)


def _through_boards(
    file: TfliteFile, planned: WirePlan, samples: Samples, float32: TfliteFile, count: int
) -> tuple[float, float, float]:
    """Accuracy, largest difference to the interpreter's answers, and points that float32 leads."""
    few = replace(samples, validation=samples.validation[:count], labels=samples.labels[:count])
    given = answers_of_boards(file, planned, described("100mbit", BOARDS), few.validation)
    reference = few.answers(float32)
    reached = few.accuracy(given, reference)
    gap = float(np.abs(given - few.answers(planned.file)).max())
    return reached, gap, 100 * (few.accuracy(reference, reference) - reached)


def _spread(file: TfliteFile) -> dict[int, str]:
    """Vertices dealt out to the boards in turn, so that as much as possible is encoded."""
    graph = TaskGraph.from_tflite(file)
    names = sorted({v for task in graph.tasks for v in task.vertices})
    board = {v: f"pi4-{1 + i % BOARDS}" for i, v in enumerate(names)}
    return {
        task.operators[0]: board[task.vertices[0]] if task.vertices else "pi4-1"
        for task in graph.tasks
    }


def _sections(options: argparse.Namespace) -> Iterator[Section]:
    """All of them; what is emulated comes after what keeps all cores busy."""
    if options.quick:
        yield networks(1, THIN, ["100mbit"], {"DP": 4.0}, evaluations=2_000)
        small = Size(vertices=12, pixels=64, filters=8, cap=32)
        yield from on_boards(
            1, small, ["100mbit"], ["DP"], boards=2, images=5, evaluations=2_000, must=False
        )
        yield accuracy("digits", 3, 40, must=False)
        return
    few = max(1, options.networks // 5)
    parts = options.only or PARTS
    if "predicted" in parts:
        yield networks(options.networks, THIN, list(LINKS), KINDS, int8=few)
        yield networks(few, THICK, list(LINKS), KINDS, int8=few, must=False)
    if "measured" in parts:
        yield from on_boards(options.measured, THIN, list(LINKS), list(KINDS))
    if "accuracy" in parts:
        for data in ("photos", "mnist"):
            yield accuracy(data, None, 1000)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--networks", type=int, default=20, help="predicted of each kind")
    parser.add_argument("--measured", type=int, default=1, help="on emulated boards, of each kind")
    parser.add_argument("--only", choices=PARTS, action="append", help="some parts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    finish_each(_sections(options), as_json=options.json)


if __name__ == "__main__":
    main()
