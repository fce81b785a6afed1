"""Networks in pieces, as files: written by the environment of `make test`, checked on boards.

PYTHONPATH=tests python .ci/cut_networks.py write FOLDER
python .ci/cut_networks.py check FOLDER
"""

import json
import random
import sys
from pathlib import Path

import numpy as np

from keras_concurrent.bands import Band
from keras_concurrent.interpreter import Segment, interpreter_package

DRAWN = 60  # random networks in strips
CASES = [("MobileNetV3Small", p) for p in ("float32", "float16", "int8")] + [
    ("MobileNetV2", "int8")
]


def write(folder: Path) -> None:
    """Cut each network twice at random; a folder a cut, the pieces in running order."""
    from pieces import board_groups, image_for, random_groups
    from usual_networks import network

    from keras_concurrent.planning.taskgraph import TaskGraph

    files = {(name, precision): network(name, precision) for name, precision in CASES}
    for wire in ("float16", "int8"):
        name = "MobileNetV2"
        files[name, f"{wire} wire"] = encoded(network(name, "float32"), wire)
    for (name, precision), file in files.items():
        graph = TaskGraph.from_tflite(file)
        rng = random.Random(f"{name} {precision}")
        for index, groups in enumerate(
            (random_groups(graph, rng, 20), board_groups(graph, rng, 4))
        ):
            cut = folder / f"{name}-{precision}-{index}"
            cut.mkdir(parents=True)
            (cut / "whole.tflite").write_bytes(file.data)
            (image,) = image_for(file).values()
            np.save(cut / "image.npy", image)
            for number, task in enumerate(graph.quotient(groups).tasks):
                piece = file.cut(task.operators, task.inputs, task.outputs)
                (cut / f"{number:03d}.tflite").write_bytes(piece)
    write_combinations(folder)
    write_strips(folder)


def write_strips(folder: Path) -> None:
    """Networks in strips, each strip's operators between two exchanges a piece; drawn ones too."""
    from drawn_networks import networks
    from hypothesis import given, settings
    from hypothesis import strategies as st
    from usual_networks import network

    from keras_concurrent.tflite.strips.rewriting import strips

    for name, precision in CASES:
        split = strips(network(name, precision), (3, 1, 2), least_flops=1e6, exchange_after=(2, 4))
        write_split(folder / f"{name}-{precision}-strips", network(name, precision), split)

    drawn = []

    @settings(max_examples=DRAWN, database=None, deadline=None, derandomize=True)
    @given(networks(), st.sampled_from([(1, 1), (3, 1, 2)]), st.sets(st.integers(1, 6)))
    def draw(file, shares, after):
        split = strips(file, shares, least_flops=0, exchange_after=after)
        write_split(folder / f"drawn-{len(drawn):03d}-strips", file, split)
        drawn.append(split)

    draw()


def write_split(case: Path, file, split) -> None:
    """A network, its strips in pieces, and which rows of the images they take."""
    from pieces import board_groups, image_for

    from keras_concurrent.planning.taskgraph import TaskGraph

    case.mkdir(parents=True)
    (case / "whole.tflite").write_bytes(file.data)
    np.savez(case / "images.npz", **image_for(file))
    bands = {name: vars(band) for name, band in split.bands.items()}
    (case / "bands.json").write_text(json.dumps(bands))
    graph = TaskGraph.from_tflite(split.file)
    for number, task in enumerate(graph.quotient(board_groups(graph, random.Random(0), 3)).tasks):
        piece = split.file.cut(task.operators, task.inputs, task.outputs)
        (case / f"{number:03d}.tflite").write_bytes(piece)


def write_combinations(folder: Path) -> None:
    """A small network in every precision and wire format, with what Keras answers."""
    from combinations import COMBINATIONS, combination

    from keras_concurrent.export.cutting import cut

    for precision, wire in COMBINATIONS:
        found = combination(precision, wire)
        case = folder / f"small-{precision}-{wire} wire"
        case.mkdir(parents=True)
        (case / "whole.tflite").write_bytes(found.planned.file.data)
        np.save(case / "image.npy", found.image)
        np.save(case / "reference.npy", found.reference)
        np.save(case / "tolerance.npy", found.tolerance)
        for number, piece in enumerate(cut(found.planned.file, found.planned.plan)):
            (case / f"{number:03d}.tflite").write_bytes(piece.content)


def encoded(file, wire: str):
    """The network with images as bytes, and half of its tensors sent in a wire format."""
    from keras_concurrent.wire.encoding import crossing, encode
    from keras_concurrent.wire.format import FLOAT16, int8_for
    from keras_concurrent.wire.pixels import take_pixels

    file = take_pixels(file)
    homes = {o.index: "ab"[o.index // 2 % 2] for o in file.operators if not o.constant}
    wires = {"float16": FLOAT16, "int8": int8_for(-4.0, 4.0)}
    return encode(file, homes, dict.fromkeys(crossing(file, homes), wires[wire]))[0]


def check(folder: Path) -> None:
    """Run the pieces of each cut one after another and compare with the whole, bit for bit."""
    for cut in sorted(folder.iterdir()):
        pieces = sorted(cut.glob("[0-9]*.tflite"))
        for threads in (1, 2):
            answers = check_cut(cut, pieces, threads)
        said = ""
        if (cut / "reference.npy").exists():
            reference, tolerance = np.load(cut / "reference.npy"), np.load(cut / "tolerance.npy")
            gap = np.abs(answers[0] - reference).max()
            assert gap <= tolerance, f"{cut} is {gap:g} from Keras, at most {tolerance:g}"
            said = f", {gap:.2g} from Keras"
        print(f"{interpreter_package()}: {cut.name}, {len(pieces)} pieces, equal bit for bit{said}")


def check_cut(cut: Path, pieces: list[Path], threads: int) -> list[np.ndarray]:
    """The answers of the whole, which are those of its pieces."""
    whole = Segment((cut / "whole.tflite").read_bytes(), threads)
    if (cut / "image.npy").exists():
        values = dict(zip(whole.input_names, [np.load(cut / "image.npy")], strict=True))
    else:
        values = dict(np.load(cut / "images.npz"))
    answers = whole.run([values[name] for name in whole.input_names])
    if (cut / "bands.json").exists():
        for name, band in json.loads((cut / "bands.json").read_text()).items():
            values[name] = Band(**band).of(values[band["input"]])
    for path in pieces:
        piece = Segment(path.read_bytes(), threads)
        given = piece.run([values[name] for name in piece.input_names])
        values.update(zip(piece.output_names, given, strict=True))
    for name, answer in zip(whole.output_names, answers, strict=True):
        np.testing.assert_array_equal(values[name], answer, err_msg=f"{cut}, {threads} threads")
    return answers


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
