"""Usual networks in strips on emulated whole Pi 4 boards: measured beside predicted.

Each network runs whole on one board, then in the strips that `plan` chooses on 4 and 8, the image
cut by the client. Computing takes what a Pi 4's published rates say, messages are stretched and all
is dilated, as in `benchmarks/boards.py`.

python benchmarks/strips_boards.py           # four networks, about a quarter of an hour
python benchmarks/strips_boards.py --quick   # MobileNet on one and two boards, within a minute
python benchmarks/strips_boards.py --precision int8 --names MobileNet ResNet50
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from board_networks import Candidate
from boards import KIND, Bench, Row, emulated
from outcome import Section, Target, finish_each
from usual_networks import NAMES, converted

from keras_concurrent import TaskGraph, TfliteFile
from keras_concurrent.export.planned import plan_either
from keras_concurrent.planning.effort import USUAL
from keras_concurrent.planning.segments import one_board, plan_segments

FOUR = ("ResNet50", "InceptionV3", "DenseNet121", "MobileNet")
BOARDS = (4, 8)
LINK = "1gbit"
_MEMORY_MB = 3_500.0
"""Of boards of 4 GB: while one plan takes the other's place, a board holds both."""


def measured(
    name: str, precision: str, boards: Sequence[int], folder: Path, images: int
) -> Iterator[Row]:
    """The network on one board, then in strips on several."""
    file = TfliteFile(converted(name, precision), name)
    graph = TaskGraph.from_tflite(file)
    whole = Candidate(name, 224, None, file, graph)
    with emulated(LINK, max(boards), memory_mb=_MEMORY_MB) as testbed:
        bench = Bench(testbed, folder, images)
        alone = bench.first(1)
        yield bench.measured(whole, LINK, alone, one_board(graph, alone))
        for count in boards:
            there = bench.first(count)
            planned = plan_either(
                file, graph, there, "auto", USUAL,
                lambda where=there: plan_segments(graph, where),  # type: ignore[misc] # bound here
            )  # fmt: skip
            yield bench.measured(whole, LINK, there, planned.plan, planned.strips)


def section(name: str, precision: str, rows: Sequence[Row]) -> Section:
    """A network's table."""
    alone = rows[0]
    return Section(
        f"{name} in {precision}, one image on emulated {KIND} boards, {LINK}",
        ("boards", "predicted ms", "median ms", "p95 ms", "gain, predicted", "gain, measured"),
        [
            (
                str(row.boards),
                *(f"{1e3 * s:.1f}" for s in (row.predicted_s, row.median_s, row.p95_s)),
                f"{alone.predicted_s / row.predicted_s:.2f}x",
                f"{alone.median_s / row.median_s:.2f}x",
            )
            for row in rows
        ],
        {f"{name}, {precision}": [vars(row) for row in rows]},
        [
            Target(
                f"{name}, {precision}: largest gap between median and prediction", 0.1,
                max(row.error for row in rows), at_least=False,
            )
        ],
    )  # fmt: skip


def main() -> None:
    """Measure every network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--names", nargs="+", choices=NAMES, default=FOUR, help="by default four")
    parser.add_argument("--precision", choices=("float32", "int8"), default="float32")
    parser.add_argument("--images", type=int, default=20, help="of each row, at most")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    names = ("MobileNet",) if options.quick else options.names
    boards = (2,) if options.quick else BOARDS
    images = 6 if options.quick else options.images
    with tempfile.TemporaryDirectory() as folder:
        finish_each(
            (
                section(
                    name,
                    options.precision,
                    list(measured(name, options.precision, boards, Path(folder), images)),
                )
                for name in names
            ),
            as_json=options.json,
        )


if __name__ == "__main__":
    main()
