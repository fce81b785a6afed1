"""What described boards take for usual networks, beside what others published of real ones.

The rates of whole boards in `keras_concurrent.board_kinds` are fitted to XNNPACK's table; ncnn's
figures are of another runtime, which saves multiplications in 3x3 convolutions (Winograd) and
computes in half precision where the processor can (the Pi 5): they say how far a prediction may be
from what some other program reaches on the same board. What one core does alone, and what an N5105
does, only ncnn has published: there its MobileNets and EfficientNetB0 are what was fitted.

python benchmarks/published.py           # a minute; needs the extra `design`
python benchmarks/published.py --quick   # MobileNet v1 and v2
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import usual_networks
from outcome import Section, Target, finish

from keras_concurrent import Cluster, TfliteFile
from keras_concurrent.cli.console import progress_bars

XNNPACK, NCNN = "XNNPACK", "ncnn"
SOURCES = {
    XNNPACK: "github.com/google/XNNPACK, README.md, table of 8 February 2022",
    NCNN: "github.com/Tencent/ncnn, benchmark/README.md, four threads and one, average",
}
INT8 = " int8"
Amounts = tuple[int, int, int]


class Published(NamedTuple):
    """Milliseconds of one image on all cores of a board, or on one."""

    kind: str
    source: str
    milliseconds: dict[str, float]


PUBLISHED = (
    Published("pi3", XNNPACK, {"MobileNet": 114, "MobileNetV2": 79, "MobileNetV3Large": 67,
              "MobileNetV3Small": 22, "MobileNet int8": 46, "MobileNetV2 int8": 30}),
    Published("pi3", NCNN, {"MobileNet": 108.66, "MobileNetV2": 111.68, "EfficientNetB0": 135.86,
              "ResNet50": 587.42, "MobileNet int8": 67.03, "ResNet50 int8": 391.87}),
    Published("pi4", XNNPACK, {"MobileNet": 77, "MobileNetV2": 46, "MobileNetV3Large": 40,
              "MobileNetV3Small": 15, "MobileNet int8": 24, "MobileNetV2 int8": 17}),
    Published("pi4", NCNN, {"MobileNet": 61.17, "MobileNetV2": 61.88, "EfficientNetB0": 74.19,
              "ResNet50": 262.83, "VGG16": 547.09, "MobileNet int8": 34.37,
              "ResNet50 int8": 196.65}),
    Published("pi5", NCNN, {"MobileNetV2": 10.52, "EfficientNetB0": 12.33, "ResNet50": 46.21,
              "VGG16": 129.24, "MobileNet int8": 8.74, "ResNet50 int8": 40.75}),
    Published("zero2w", NCNN, {"MobileNet": 163.19, "MobileNetV2": 147.39,
              "EfficientNetB0": 202.14, "ResNet50": 782.63, "MobileNet int8": 91.03,
              "ResNet50 int8": 497.57}),
    Published("n5105", NCNN, {"MobileNet": 32.40, "MobileNetV2": 22.65, "MobileNetV3Large": 18.09,
              "EfficientNetB0": 33.50, "ResNet50": 153.03, "VGG16": 322.72,
              "MobileNet int8": 40.54, "ResNet50 int8": 194.03}),
)  # fmt: skip
ON_ONE_CORE = (
    Published("zero2w", NCNN, {"MobileNet": 393.94, "MobileNetV2": 274.23,
              "MobileNetV3Large": 234.20, "EfficientNetB0": 519.00, "ResNet50": 1802.79,
              "MobileNet int8": 286.75, "ResNet50 int8": 1313.15}),
    Published("pi3", NCNN, {"MobileNet": 205.65, "MobileNetV2": 158.80, "MobileNetV3Large": 127.23,
              "EfficientNetB0": 241.27, "ResNet50": 979.75, "MobileNet int8": 181.91,
              "ResNet50 int8": 893.83}),
    Published("pi4", NCNN, {"MobileNet": 124.32, "MobileNetV2": 93.48, "MobileNetV3Large": 72.81,
              "EfficientNetB0": 129.73, "ResNet50": 534.11, "VGG16": 1071.85,
              "MobileNet int8": 84.82, "ResNet50 int8": 423.96}),
    Published("pi5", NCNN, {"MobileNet": 20.30, "MobileNetV2": 16.38, "MobileNetV3Large": 11.80,
              "EfficientNetB0": 24.20, "ResNet50": 89.43, "VGG16": 189.63,
              "MobileNet int8": 14.44, "ResNet50 int8": 80.16}),
    Published("n5105", NCNN, {"MobileNet": 106.03, "MobileNetV2": 62.57, "MobileNetV3Large": 49.50,
              "EfficientNetB0": 104.08, "ResNet50": 497.67, "VGG16": 853.04,
              "MobileNet int8": 152.26, "ResNet50 int8": 682.29}),
)  # fmt: skip
FITTED, WITHIN = 0.10, 0.25
ASKED, ASKED_KINDS = ("MobileNetV2", "ResNet50"), ("pi3", "pi4", "pi5")
FITTED_TO_NCNN = ("MobileNet", "MobileNetV2", "MobileNetV3Large", "EfficientNetB0")
FITTED_ON_ONE_CORE = 0.15
QUICK = ("MobileNet", "MobileNetV2")


def amounts(name: str) -> Amounts:
    """FLOPs, bytes of tensors and weights, and operators of a network in float32."""
    tasks = TfliteFile(usual_networks.converted(name), name).tasks().tasks
    return (
        sum(task.flops for task in tasks),
        sum(task.touched_bytes for task in tasks),
        sum(task.operator_count for task in tasks),
    )


def counted(progress: Callable[[int, int], None], *, quick: bool) -> dict[str, Amounts]:
    """The amounts of all networks of which something is published, or of a few."""
    every = (name for p in (*PUBLISHED, *ON_ONE_CORE) for name in p.milliseconds)
    wanted = sorted({name.removesuffix(INT8) for name in every})
    names = [name for name in wanted if not quick or name in QUICK]
    found = {}
    for done, name in enumerate(names):
        progress(done, len(names))
        found[name] = amounts(name)
    progress(len(names), len(names))
    return found


def target_of(
    published: Published, name: str, gap: float, where: str, cores: int | None
) -> Target | None:
    """What a gap must keep to, where anything is asked of it."""
    bound = None
    if cores == 1:
        if name in FITTED_TO_NCNN and published.kind != "pi5":  # in half precision there
            bound = FITTED_ON_ONE_CORE
    elif published.source == XNNPACK and name.removesuffix(INT8) == "MobileNet":
        bound = FITTED
    elif name in ASKED and published.kind in ASKED_KINDS:
        bound = WITHIN
    return None if bound is None else Target(f"gap, {where}", bound, gap, at_least=False)


def section(
    every: Sequence[Published], counts: Mapping[str, Amounts], cores: int | None = None
) -> Section:
    """Predicted and published, board by board.

    Args:
        every: what was published.
        counts: amounts of the networks to show.
        cores: of each board; ``None`` for all.
    """
    on = "one core of a board" if cores == 1 else "one whole board"
    rows, figures, targets = [], {}, []
    for published in every:
        (board,) = Cluster.of(published.kind, 1, cores=cores).boards
        for name, milliseconds in published.milliseconds.items():
            network, int8 = name.removesuffix(INT8), name.endswith(INT8)
            if network not in counts:
                continue
            flops, touched, operators = counts[network]
            # In int8 tensors and weights have a quarter of the bytes; operators are as many.
            took = (flops, flops, touched / 4) if int8 else (flops, 0, touched)
            predicted = 1e3 * board.seconds(*took, operators)
            gap = predicted / milliseconds - 1
            one_core = ", one core" if cores == 1 else ""
            where = f"{name} on {published.kind}{one_core}, {published.source}"
            rows.append(
                (published.kind, published.source, name, f"{milliseconds:g}", f"{predicted:.1f}",
                 f"{gap:+.0%}")
            )  # fmt: skip
            figures[where] = {"published_ms": milliseconds, "predicted_ms": predicted}
            targets.append(target_of(published, name, abs(gap), where, cores))
    return Section(
        f"One image at 224 pixels on {on}, ms",
        ("board", "source", "network", "published", "predicted", "gap"),
        rows,
        {"one core" if cores == 1 else "published": figures},
        [target for target in targets if target is not None],
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two networks")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with progress_bars() as progress:
        counts = counted(progress("networks"), quick=options.quick)
    if not options.json:
        for source, where in SOURCES.items():
            print(f"{source}: {where}")
    whole, alone = section(PUBLISHED, counts), section(ON_ONE_CORE, counts, cores=1)
    finish(whole, alone, as_json=options.json)


if __name__ == "__main__":
    main()
