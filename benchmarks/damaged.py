"""Damaged .tflite files: each is read, planned and cut, or refused as what it is.

Sound files are damaged at random: bytes changed, cut off, zeroed, doubled, swapped, or small
numbers of their structure changed. Whatever comes of it, nothing may end the process, hang, or
raise anything but an error of this package. Files are tried in processes of their own, so that a
crash is counted and not suffered; a file that is read is also tried by the interpreter, as `plan`
does, in the child that a bad one may kill.

python benchmarks/damaged.py                  # 10,000 files
python benchmarks/damaged.py --models folder  # of other sound files than those made here
python benchmarks/damaged.py --quick          # within a minute
"""

from __future__ import annotations

import argparse
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path

from outcome import Section, Target, finish

FILES, FEW = 10_000, 150
WORKERS = 2
HANG_S = 150  # more than the interpreter's child is given


def damaged(content: bytes, rng: random.Random) -> bytes:
    """One of many ways to damage a file."""
    data = bytearray(content)
    structure = min(len(data), 20_000)  # most of a file is weights, which nobody reads here
    way = rng.randrange(7)
    if way == 0:
        return bytes(data[: rng.randrange(len(data))])
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        size = rng.choice((1, 2, 4, 8, 64))
        at, other = (rng.randrange(max(1, structure - size)) for _ in range(2))
        if rng.random() < 0.5:  # the end of a file is structure, too
            at = max(0, len(data) - 1 - at - size)
        if way == 1:
            data[at] = rng.randrange(256)
        elif way == 2:
            data[at : at + size] = bytes(size)
        elif way == 3:
            data[at : at + size] = rng.randbytes(size)
        elif way == 4:
            data[at : at + size] = data[other : other + size]
        elif way == 5:
            data[at:at] = data[other : other + size]
        else:
            data[at] = (data[at] + rng.choice((-1, 1, 2, 127))) % 256
    return bytes(data)


def outcome_of(content: bytes, rng: random.Random) -> str:
    """What becomes of a file, in a word or with a traceback."""
    from keras_concurrent.errors import ConcurrentError, ModelFileError
    from keras_concurrent.export.trying import check_boards_can_run
    from keras_concurrent.planning.taskgraph import TaskGraph
    from keras_concurrent.tflite.file import TfliteFile

    try:
        file = TfliteFile(content, "the file")
        graph = TaskGraph.from_tflite(file)
        for task in rng.sample(graph.tasks, min(3, len(graph.tasks))):
            file.cut(task.operators, task.inputs, task.outputs)
        check_boards_can_run(file)
    except ModelFileError as error:
        text = str(error)
        if "no board can run" in text:
            return "refused by trying it"
        return "refused while it is read" if "cannot be run" in text else "refused as damaged"
    except ConcurrentError as error:
        return f"other error: {type(error).__name__}: {error}"
    except Exception:
        return "traceback: " + traceback.format_exc()
    return "read, planned and cut"


def work(folder: Path, first: int, last: int, seed: int) -> None:
    """In a worker: one line before each file, and one after it."""
    warnings.simplefilter("ignore")
    contents = [path.read_bytes() for path in sorted(folder.iterdir())]
    for number in range(first, last):
        print(f"begin {number}", flush=True)
        rng = random.Random(f"{seed} {number}")
        content = damaged(contents[number % len(contents)], rng)
        outcome = outcome_of(content, rng).replace("\n", "\\n")
        print(f"end {outcome}", flush=True)


def supervise(folder: Path, first: int, last: int, seed: int, found: Counter[str]) -> None:
    """Run workers over a range of files until all have an outcome."""
    at = first
    while at < last:
        words = [sys.executable, __file__, "--work", str(folder), str(at), str(last), str(seed)]
        worker = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        lines: queue.Queue[str | None] = queue.Queue()

        def read(source=worker.stdout, lines=lines) -> None:
            with source:
                for line in source:
                    lines.put(line.rstrip("\n"))
            lines.put(None)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        while at < last:
            try:
                line = lines.get(timeout=HANG_S)
            except queue.Empty:
                found[f"hang: file {at}"] += 1
                at += 1
                break
            if line is None:
                status = worker.wait()
                name = signal.Signals(-status).name if status < 0 else str(status)
                found[f"crash: file {at}, {name}"] += 1
                at += 1
                break
            if line.startswith("end "):
                found[line.removeprefix("end ")] += 1
                at += 1
        worker.kill()
        worker.wait()
        reader.join()


def made(folder: Path) -> None:
    """Sound files of several kinds: a network, one of open sizes, a loop, int8, detection."""
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_concurrent.convert import to_tflite
    from keras_concurrent.interpreter import quiet

    keras.utils.set_random_seed(0)
    image = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    y = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.MaxPooling2D(2)(keras.layers.Concatenate()([x, y]))
    x = keras.layers.Dense(3, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    network = keras.Model(image, x)
    images = np.random.default_rng(0).random((8, 12, 12, 3)).astype(np.float32)
    frames = keras.Input((5, 4))
    recurrent = keras.Model(frames, keras.layers.Dense(2)(keras.layers.GRU(3)(frames)))
    contents = {
        "network": to_tflite(network),
        "int8": to_tflite(network, precision="int8", images=images),
        "half": to_tflite(network, precision="float16"),
        "recurrent": to_tflite(recurrent),
    }
    kernel = np.random.default_rng(1).normal(size=(3, 3, 3, 2)).astype(np.float32)

    def dilated(x):
        return tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME", dilations=2))

    def boxes(x, y):
        kept = tf.image.non_max_suppression(tf.nn.relu(x), tf.sigmoid(y), 4)
        return tf.gather(x, kept), tf.math.top_k(y, 3).values, tf.signal.rfft(y)

    open_batch = [tf.TensorSpec((None, 10, 10, 3), name="x")]
    two = [tf.TensorSpec((16, 4), name="x"), tf.TensorSpec((16,), name="y")]
    for name, function, signature in (("open", dilated, open_batch), ("boxes", boxes, two)):
        concrete = tf.function(function, input_signature=signature).get_concrete_function()
        with quiet():
            converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
            contents[name] = converter.convert()
    for name, content in contents.items():
        (folder / f"{name}.tflite").write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=Path, help="a folder of sound .tflite files")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work is not None:
        folder, first, last, seed = args.work
        return work(Path(folder), int(first), int(last), int(seed))
    count = FEW if args.quick else args.files
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        if args.models is None:
            made(Path(temporary))
        bounds = [count * i // WORKERS for i in range(WORKERS + 1)]
        threads = [
            threading.Thread(
                target=supervise, args=(args.models or Path(temporary), a, b, args.seed, found)
            )
            for a, b in pairwise(bounds)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    bad = {kind: sum(n for what, n in found.items() if what.startswith(kind)) for kind in BAD}
    for what in sorted(found):
        if what.startswith(BAD):
            print(what.replace("\\n", "\n"), file=sys.stderr)
    fine = {what: n for what, n in sorted(found.items()) if not what.startswith(BAD)}
    rows = [(what, f"{n:,}") for what, n in (fine | bad).items()]
    title = f"{found.total():,} damaged files"
    targets = [Target(f"{kind}, files", 0, n, at_least=False) for kind, n in bad.items()]
    targets.append(Target("files with an outcome", count, found.total()))
    finish(
        Section(title, ("what became of them", "files"), rows, {**fine, **bad}, targets),
        as_json=args.json,
    )


BAD = ("crash", "hang", "traceback", "other error")

if __name__ == "__main__":
    main()
