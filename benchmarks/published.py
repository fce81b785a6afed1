"""What described boards take for usual networks, beside what others published of real ones.

The rates of `keras_concurrent.board_kinds` are fitted to XNNPACK's table; ncnn's figures are of
another runtime, which saves multiplications in 3x3 convolutions (Winograd) and computes in half
precision where the processor can (the Pi 5): they say how far a prediction may be from what some
other program reaches on the same board.

python benchmarks/published.py           # a minute; needs the extra `design`
python benchmarks/published.py --quick   # MobileNet v1 and v2
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import usual_networks
from outcome import Section, Target, finish

from keras_concurrent import Cluster, TfliteFile
from keras_concurrent.cli.console import progress_bars

XNNPACK, NCNN = "XNNPACK", "ncnn"
SOURCES = {
    XNNPACK: "github.com/google/XNNPACK, README.md, table of 8 February 2022",
    NCNN: "github.com/Tencent/ncnn, benchmark/README.md, four threads, average",
}
INT8 = " int8"


class Published(NamedTuple):
    """Milliseconds of one image on all four cores of a board."""

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
)  # fmt: skip
FITTED, WITHIN = 0.10, 0.25
ASKED = ("MobileNetV2", "ResNet50")
QUICK = ("MobileNet", "MobileNetV2")


def amounts(name: str) -> tuple[int, int, int]:
    """FLOPs, bytes of tensors and weights, and operators of a network in float32."""
    tasks = TfliteFile(usual_networks.converted(name), name).tasks().tasks
    return (
        sum(task.flops for task in tasks),
        sum(task.touched_bytes for task in tasks),
        sum(task.operator_count for task in tasks),
    )


def section(progress: Callable[[int, int], None], *, quick: bool) -> Section:
    """Predicted and published, board by board."""
    wanted = sorted({name.removesuffix(INT8) for p in PUBLISHED for name in p.milliseconds})
    names = [name for name in wanted if not quick or name in QUICK]
    counted = {}
    for done, name in enumerate(names):
        progress(done, len(names))
        counted[name] = amounts(name)
    progress(len(names), len(names))
    rows, figures, targets = [], {}, []
    for published in PUBLISHED:
        (board,) = Cluster.of(published.kind, 1).boards
        for name, milliseconds in published.milliseconds.items():
            network, int8 = name.removesuffix(INT8), name.endswith(INT8)
            if network not in counted:
                continue
            flops, touched, operators = counted[network]
            # In int8 tensors and weights have a quarter of the bytes; operators are as many.
            took = (flops, flops, touched / 4) if int8 else (flops, 0, touched)
            predicted = 1e3 * board.seconds(*took, operators)
            gap = predicted / milliseconds - 1
            where = f"{name} on {published.kind}, {published.source}"
            rows.append(
                (published.kind, published.source, name, f"{milliseconds:g}", f"{predicted:.1f}",
                 f"{gap:+.0%}")
            )  # fmt: skip
            figures[where] = {"published_ms": milliseconds, "predicted_ms": predicted}
            if published.source == XNNPACK and network == "MobileNet":
                targets.append(Target(f"gap, {where}", FITTED, abs(gap), at_least=False))
            elif network in ASKED and not int8 and published.kind != "zero2w":
                targets.append(Target(f"gap, {where}", WITHIN, abs(gap), at_least=False))
    return Section(
        "One image at 224 pixels on one whole board, ms",
        ("board", "source", "network", "published", "predicted", "gap"),
        rows,
        {"published": figures},
        targets,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two networks")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with progress_bars() as progress:
        result = section(progress("networks"), quick=options.quick)
    if not options.json:
        for source, where in SOURCES.items():
            print(f"{source}: {where}")
    finish(result, as_json=options.json)


if __name__ == "__main__":
    main()
