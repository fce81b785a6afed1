"""Ten networks of keras.applications in strips on 2, 4 and 8 boards: what sharing layers gains.

Untrained, so nothing is downloaded; latencies are predicted, over the whole model in the same
precision on the best of the same boards with all its cores. That strips answer bit for bit as the
whole is a test's to say (tests/tflite/test_usual_networks.py).

python benchmarks/strips.py             # all: Pi 4 and Pi 5, 1 Gbit and 100 Mbit; about an hour
python benchmarks/strips.py --kind pi4 --link 1gbit   # a quarter of that
python benchmarks/strips.py --kind pi4 --link 1gbit --precision int8
python benchmarks/strips.py --quick     # MobileNet on 2 and 4 boards, within a minute
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from outcome import Section, Target, finish_each
from usual_networks import NAMES, QUICK, converted

from keras_concurrent import Cluster, TaskGraph, TfliteFile
from keras_concurrent.cli.console import progress_bars
from keras_concurrent.export.planned import Planned, plan_either
from keras_concurrent.planning.effort import USUAL
from keras_concurrent.planning.segments import one_board, plan_segments

KINDS = ("pi4", "pi5")
LINKS = ("1gbit", "100mbit")
BOARDS = (2, 4, 8)
# Over one whole Raspberry Pi 4, on 4 and 8 of them.
WANTED = {
    ("VGG16", "1gbit"): (3.8, 7.0),
    ("ResNet50", "1gbit"): (3.3, 5.5),
    ("InceptionV3", "1gbit"): (3.1, 4.8),
    ("DenseNet121", "1gbit"): (2.7, 3.8),
    ("MobileNet", "1gbit"): (2.2, 3.0),
    ("MobileNetV2", "1gbit"): (1.8, 2.2),
    ("VGG16", "100mbit"): (3.3, 5.2),
    ("ResNet50", "100mbit"): (2.4, 3.0),
}
PLANNED_S = {"ResNet50": 10.0, "NASNetMobile": 60.0}  # on 8 boards


@dataclass(frozen=True)
class Result:
    """A network on some boards.

    Args:
        gain: the best whole board's latency over the plan's.
        whole_gain: the same where no operator is split.
        megabytes: on the wire, of one image.
        board_megabytes: weights and tensors on the fullest board.
        planned_s: processor time of planning, seconds.
        strips: into how many the model was split; 1 where it stays whole.
    """

    gain: float
    whole_gain: float
    megabytes: float
    board_megabytes: float
    planned_s: float
    strips: int


def result(file: TfliteFile, graph: TaskGraph, cluster: Cluster) -> Result:
    """Plan a network as `keras-concurrent plan` does."""
    begun = time.process_time()
    whole = plan_segments(graph, cluster)
    planned: Planned = plan_either(file, graph, cluster, "auto", USUAL, lambda: whole)
    planned_s = time.process_time() - begun
    alone_s, plan = one_board(graph, cluster).latency_s, planned.plan
    return Result(
        alone_s / plan.latency_s,
        alone_s / whole.latency_s,
        plan.wire_bytes / 1e6,
        max(plan.memory_bytes.values()) / 1e6,
        planned_s,
        1 if planned.strips is None else planned.strips.way.count,
    )


def section(
    kind: str, link: str, files: dict[str, TfliteFile], progress: Callable[[int, int], None],
    boards: tuple[int, ...], precision: str,
) -> Section:  # fmt: skip
    """All networks on boards of one kind over one link."""
    must = kind == "pi4" and precision == "float32"
    rows, targets, figures = [], [], {}
    for done, (name, file) in enumerate(files.items()):
        progress(done, len(files))
        graph = TaskGraph.from_tflite(file)
        found = {n: result(file, graph, Cluster.of(kind, n, link)) for n in boards}
        most = found[max(boards)]
        rows.append(
            (
                name,
                *(f"{found[n].gain:.2f}x" for n in boards),
                f"{most.whole_gain:.2f}x",
                f"{most.strips}",
                f"{most.megabytes:.1f}",
                f"{most.board_megabytes:.0f}",
                f"{most.planned_s:.1f}",
            )
        )
        figures[name] = {str(n): vars(each) for n, each in found.items()}
        if must and (name, link) in WANTED:
            targets += [
                Target(f"{name}, {link}, {n} boards: gain", wanted, found[n].gain)
                for n, wanted in zip((4, 8), WANTED[name, link], strict=True)
                if n in found
            ]
        if must and link == "1gbit" and name in PLANNED_S and 8 in found:
            planned_s = found[8].planned_s
            targets.append(
                Target(f"{name}: planned, s", PLANNED_S[name], planned_s, at_least=False)
            )
    progress(len(files), len(files))
    last = max(boards)
    return Section(
        f"Strips in {precision}: gain over one whole {kind} in {precision}, predicted, {link}; "
        f"the rest on {last} boards",
        ("network", *(f"{n} boards" for n in boards), "whole", "strips", "MB sent", "MB a board",
         "planned in s"),
        rows,
        {f"{kind} {link}": figures},
        targets,
    )  # fmt: skip


def sections(
    progress: Callable[[str], Callable[[int, int], None]],
    *,
    kinds: Sequence[str],
    links: Sequence[str],
    precision: str,
    quick: bool,
) -> Iterator[Section]:
    """One table a kind of board and link."""
    names = QUICK if quick else NAMES
    files = {name: TfliteFile(converted(name, precision), name) for name in names}
    for kind in kinds[:1] if quick else kinds:
        for link in links[:1] if quick else links:
            boards = BOARDS[:2] if quick else BOARDS
            yield section(kind, link, files, progress(f"{kind}, {link}"), boards, precision)


def main() -> None:
    """Plan everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one network on few boards")
    parser.add_argument("--kind", choices=KINDS, action="append", help="of the boards")
    parser.add_argument("--link", choices=LINKS, action="append", help="between the boards")
    parser.add_argument("--precision", choices=("float32", "int8"), default="float32")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with progress_bars() as progress:
        kinds, links = options.kind or KINDS, options.link or LINKS
        found = sections(
            progress, kinds=kinds, links=links, precision=options.precision, quick=options.quick
        )
        finish_each(found, as_json=options.json)


if __name__ == "__main__":
    main()
