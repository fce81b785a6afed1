"""Ten networks of keras.applications in strips on 2, 4 and 8 boards: what sharing layers gains.

Untrained, so nothing is downloaded; latencies are predicted, over the whole model in the same
precision on the best of the same boards with all its cores. "over int8" is what 8 boards in float32
gain over one of them in int8, for those whose model may become int8. Trained models are planned too
where there are some: those of a folder, or of MediaPipe, whose wheels before 0.10.15 hold models,
where it is installed. That strips answer bit for bit as the whole is a test's to say
(tests/tflite/test_usual_networks.py).

python benchmarks/strips.py             # all: Pi 4 and Pi 5, 1 Gbit and 100 Mbit, float32 and int8
python benchmarks/strips.py --kind pi4 --link 1gbit --precision float32   # an eighth of that
python benchmarks/strips.py --kind pi4 --models FOLDER   # trained .tflite files, as they are
python benchmarks/strips.py --quick     # MobileNet on 2 and 4 boards, within a minute
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from outcome import Section, Target, finish_each
from usual_networks import NAMES, QUICK, converted

from keras_concurrent import Cluster, TaskGraph, TfliteFile
from keras_concurrent.cli.console import progress_bars
from keras_concurrent.export.planned import Planned, plan_either
from keras_concurrent.planning.effort import USUAL
from keras_concurrent.planning.segments import one_board, plan_segments

KINDS = ("pi4", "pi5")
PRECISIONS = ("float32", "int8")
TRAINED = "as trained"  # in whatever precision its makers left it
LINKS = ("1gbit", "100mbit")
BOARDS = (2, 4, 8)
# Over one whole Raspberry Pi 4, on 4 and 8 of them.
WANTED = {
    ("VGG16", "1gbit", "float32"): (3.8, 7.0),
    ("ResNet50", "1gbit", "float32"): (3.3, 5.5),
    ("InceptionV3", "1gbit", "float32"): (3.1, 4.8),
    ("DenseNet121", "1gbit", "float32"): (2.7, 3.8),
    ("MobileNet", "1gbit", "float32"): (2.2, 3.0),
    ("MobileNetV2", "1gbit", "float32"): (1.8, 2.2),
    ("VGG16", "100mbit", "float32"): (3.3, 5.2),
    ("ResNet50", "100mbit", "float32"): (2.4, 3.0),
    ("ResNet50", "1gbit", "int8"): (2.5, 4.0),
}
PLANNED_S = {"ResNet50": 10.0, "NASNetMobile": 60.0}  # on 8 boards


@dataclass(frozen=True)
class Result:
    """A network on some boards.

    Args:
        gain: the best whole board's latency over the plan's.
        whole_gain: the same where no operator is split.
        int8_gain: a whole board's latency in int8 over the plan's; ``None`` where the model is in
            int8 itself, or its makers chose the precision.
        megabytes: on the wire, of one image.
        board_megabytes: weights and tensors on the fullest board.
        planned_s: processor time of planning, seconds.
        strips: into how many the model was split; 1 where it stays whole.
    """

    gain: float
    whole_gain: float
    int8_gain: float | None
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
    in_int8 = graph.in_int8()
    int8_s = None if in_int8 is None else one_board(in_int8, cluster).latency_s
    return Result(
        alone_s / plan.latency_s,
        alone_s / whole.latency_s,
        None if int8_s is None else int8_s / plan.latency_s,
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
    must = kind == "pi4"
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
                "" if most.int8_gain is None else f"{most.int8_gain:.2f}x",
                f"{most.strips}",
                f"{most.megabytes:.1f}",
                f"{most.board_megabytes:.0f}",
                f"{most.planned_s:.1f}",
            )
        )
        figures[name] = {str(n): vars(each) for n, each in found.items()}
        if must and (name, link, precision) in WANTED:
            targets += [
                Target(f"{name} in {precision}, {link}, {n} boards: gain", wanted, found[n].gain)
                for n, wanted in zip((4, 8), WANTED[name, link, precision], strict=True)
                if n in found
            ]
        if must and link == "1gbit" and precision == "float32" and name in PLANNED_S and 8 in found:
            planned_s = found[8].planned_s
            targets.append(
                Target(f"{name}: planned, s", PLANNED_S[name], planned_s, at_least=False)
            )
    progress(len(files), len(files))
    last = max(boards)
    return Section(
        f"Strips, {precision}: gain over one whole {kind} alike, predicted, {link}; the rest on "
        f"{last} boards",
        ("network", *(f"{n} boards" for n in boards), "whole", "over int8", "strips", "MB sent",
         "MB held", "planned, s"),
        rows,
        {f"{kind} {link} {precision}": figures},
        targets,
    )  # fmt: skip


def trained(folder: Path | None) -> dict[str, TfliteFile]:
    """The .tflite files below a folder, or else those of MediaPipe, where it is installed."""
    if folder is None:
        spec = importlib.util.find_spec("mediapipe")
        if spec is None or spec.origin is None:
            return {}
        folder = Path(spec.origin).parent
    return {path.stem: TfliteFile.read(path) for path in sorted(folder.rglob("*.tflite"))}


def sections(
    progress: Callable[[str], Callable[[int, int], None]],
    *,
    kinds: Sequence[str],
    links: Sequence[str],
    precisions: Sequence[str],
    models: Path | None,
    quick: bool,
) -> Iterator[Section]:
    """One table a precision, kind of board and link."""
    names, boards = (QUICK, BOARDS[:2]) if quick else (NAMES, BOARDS)
    for precision in (*precisions, TRAINED):
        if precision == TRAINED:
            files = {} if quick else trained(models)
        else:
            files = {name: TfliteFile(converted(name, precision), name) for name in names}
        for kind in kinds if files else ():
            for link in links:
                told = progress(f"{precision}, {kind}, {link}")
                yield section(kind, link, files, told, boards, precision)


def main() -> None:
    """Plan everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one network on few boards")
    parser.add_argument("--kind", choices=KINDS, action="append", help="of the boards")
    parser.add_argument("--link", choices=LINKS, action="append", help="between the boards")
    parser.add_argument(
        "--precision", choices=(*PRECISIONS, "none"), action="append",
        help="of the untrained networks; none leaves them out",
    )  # fmt: skip
    parser.add_argument("--models", type=Path, help="folder of trained .tflite files")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    kinds, links = options.kind or KINDS, options.link or LINKS
    precisions = options.precision or PRECISIONS
    if options.quick:
        kinds, links, precisions = kinds[:1], links[:1], precisions[:1]
    with progress_bars() as progress:
        found = sections(
            progress,
            kinds=kinds,
            links=links,
            precisions=[each for each in precisions if each != "none"],
            models=options.models,
            quick=options.quick,
        )
        finish_each(found, as_json=options.json)


if __name__ == "__main__":
    main()
