"""Less on the wire: bytes, predicted latency, and accuracy, against float32 tensors between blocks.

python benchmarks/wire.py [--quick] [--json]

The yardstick is the best plan whose tasks are whole blocks and whose tensors are float32, on the
same eight boards. Beside it stand the same blocks on the same boards, sending as little as can be
(pools and 1x1 convolutions on the side that sends less, sums regrouped, one byte a value), and the
plan that `keras_concurrent.wire` finds by itself. Costs follow from FLOPs.
"""

from __future__ import annotations

import argparse
import os
import statistics
from dataclasses import replace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from outcome import Section, Target, finish

from keras_concurrent import datasets, training
from keras_concurrent.architecture import Architecture, stage
from keras_concurrent.cluster import Cluster
from keras_concurrent.console import stderr
from keras_concurrent.convert import to_tflite
from keras_concurrent.demo import RECIPES, choose
from keras_concurrent.generators import generate
from keras_concurrent.models import build_model
from keras_concurrent.pixels import take_pixels
from keras_concurrent.reassociate import regroup_sums
from keras_concurrent.samples import Samples
from keras_concurrent.schedule import Plan
from keras_concurrent.segments import one_board, plan_segments
from keras_concurrent.taskgraph import TaskGraph
from keras_concurrent.tflite_file import TfliteFile
from keras_concurrent.wire import WirePlanner
from keras_concurrent.wire_budget import Budget

BOARDS = 8
KINDS = {"ER": 6.0, "WS": 6.0, "DP": 4.0, "lanes": 4.0}
"""By how much fewer bytes must travel, on average."""

LINKS = {"100 Mbit/s": ("100mbit", 1.5), "20 Mbit/s shared": ("20mbit", 2.5)}
"""By how much lower the predicted latency must be, on average."""

VERTICES, SIZE, FILTERS, CAP = 40, 64, 24, 96


def draw(kind: str, seed: int) -> tuple[Architecture, TfliteFile]:
    """A random network with random weights, its images bytes."""
    architecture = stage(
        generate(kind, VERTICES, seed=seed), (SIZE, SIZE, 3), 10,
        filters=FILTERS, channel_cap=CAP, separable=False, seed=seed,
    )  # fmt: skip
    keras.utils.set_random_seed(seed)
    model = build_model(architecture)
    rng = np.random.default_rng(seed)
    for weight in model.weights:  # otherwise the converter folds products with 1 away
        if "weight_" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5))
    file = take_pixels(TfliteFile(to_tflite(model)))
    keras.backend.clear_session()
    return architecture, file


def described(link: str) -> Cluster:
    """Eight boards."""
    if link != "20mbit":
        return Cluster.of("pi4", BOARDS, link)
    cluster = Cluster.of("pi4", BOARDS, "100mbit")
    medium = replace(cluster.network, bandwidth_mbit_per_s=20.0, medium="shared")
    return replace(cluster, network=medium)


def block_homes(file: TfliteFile, plan: Plan) -> dict[int, str]:
    """Every operator on the board of its vertex; what has none, beside what it reads or serves."""
    board = {v: plan.assignment[task.name] for task in plan.graph.tasks for v in task.vertices}
    graph = TaskGraph.from_tflite(file)
    homes: dict[str, str] = {
        task.name: board[v] for task in graph.tasks for v in task.vertices if v in board
    }
    for task in graph.tasks:
        before = [homes[name] for name in graph.predecessors[task.name] if name in homes]
        if task.name not in homes and before:
            homes[task.name] = before[0]
    for task in reversed(graph.tasks):
        if task.name not in homes:
            homes[task.name] = homes[graph.successors[task.name][0]]
    return {task.operators[0]: homes[task.name] for task in graph.tasks}


def compare(kind: str, seed: int, link: str, evaluations: int) -> dict[str, float]:
    """One network on one network of boards."""
    architecture, file = draw(kind, seed)
    cluster = described(link)
    images = [
        {file.inputs[0]: np.random.default_rng(i).integers(0, 256, (1, SIZE, SIZE, 3)).astype("u1")}
        for i in range(2)
    ]
    blocks = TaskGraph.from_architecture(architecture)
    before = plan_segments(blocks, cluster, evaluations=evaluations)
    planner = WirePlanner(file, cluster, images=images, evaluations=evaluations)
    summed, homes = regroup_sums(file, block_homes(file, before))
    same = planner.encoded(summed, homes, planner.formats(summed, homes)).plan
    own = planner.plan().plan
    return {
        "boards": len(before.boards),
        "one_board_s": one_board(TaskGraph.from_tflite(file), cluster).latency_s,
        "float32_s": before.latency_s,
        "same_blocks_s": same.latency_s,
        "own_plan_s": own.latency_s,
        "float32_bytes": before.wire_bytes,
        "same_blocks_bytes": same.wire_bytes,
        "own_plan_bytes": own.wire_bytes,
    }


def networks(samples: int, evaluations: int, links: dict[str, tuple[str, float]]) -> Section:
    """Bytes and predicted latency."""
    rows, figures, targets = [], {}, []
    for link, (name, gain) in links.items():
        gains = []
        for kind, fewer in KINDS.items():
            found = []
            for seed in range(samples):
                found.append(compare(kind, seed, name, evaluations))
                stderr.print(f"{link} {kind} {seed}", highlight=False)
            several = [f for f in found if f["boards"] > 1]  # one board sends the image alone
            ratio = statistics.fmean(
                [f["float32_bytes"] / f["same_blocks_bytes"] for f in several] or [0.0]
            )
            own = statistics.fmean([f["float32_s"] / f["own_plan_s"] for f in found])
            same = statistics.fmean([f["float32_s"] / f["same_blocks_s"] for f in found])
            alone = statistics.fmean([f["one_board_s"] / f["own_plan_s"] for f in found])
            gains += [f["float32_s"] / f["own_plan_s"] for f in found]
            rows.append(
                (f"{kind}, {link}", f"{len(several)} of {samples}", f"1/{ratio:.1f}",
                 f"{same:.2f}x", f"{own:.2f}x", f"{alone:.2f}x")
            )  # fmt: skip
            figures[f"{kind} {link}"] = found
            if name == "100mbit":
                targets.append(Target(f"bytes saved, {kind}: float32 / these", fewer, ratio))
        targets.append(
            Target(f"predicted latency, {link}: float32 / these", gain, statistics.fmean(gains))
        )
    columns = (
        "", "on several", "bytes, same blocks", "latency, same blocks", "latency, own plan",
        "over one board",
    )  # fmt: skip
    title = f"{samples} networks each, {BOARDS} boards, against float32 between whole blocks"
    return Section(title, columns, rows, {"networks": figures}, targets)


def accuracy(data: str, epochs: int | None) -> Section:
    """A trained network: accuracy of its wire formats and precisions, on the test images."""
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
    cluster = described("20mbit")
    rows = [("float32 as it is", "", f"{budget.accuracy:.2%}", "")]
    figures: dict[str, Any] = {"float32": budget.accuracy}
    targets = []
    cases = [("float32", w) for w in ("float32", "float16", "int8", "auto")]
    cases += [(p, "auto") for p in ("float16", "dynamic", "int8")]
    for precision, wire in cases:
        file = float32
        if precision != "float32":
            file = TfliteFile(to_tflite(model, precision=precision, images=samples.calibration))
        planner = WirePlanner(file, cluster, wire=wire, images=samples.images(file))
        homes = _spread(file)
        summed, homes = regroup_sums(file, homes)
        planned = planner.encoded(summed, homes, planner.formats(summed, homes))
        if wire == "auto" and precision == "float32":
            planned = budget.keep(planner, planned)
        found = budget.choice(wire, planned)
        lost = 100 * (budget.accuracy - (found.accuracy or 0.0))
        name = f"{precision} segments, {wire} wire"
        rows.append(
            (name, f"{found.largest_difference:.2g}", f"{found.accuracy:.2%}", f"{lost:.2f}")
        )
        figures[name] = found.accuracy
        most = 0.5 if precision != "float32" else 0.1
        targets.append(Target(f"{data}, {name}: points lost", most, round(lost, 6), at_least=False))
    columns = ("", "largest difference", "accuracy", "points lost")
    title = f"{data}: {len(samples.validation)} test images, every vertex on a board of its own"
    return Section(title, columns, rows, {f"accuracy {data}": figures}, targets)


def _spread(file: TfliteFile) -> dict[int, str]:
    """Vertices dealt out to the boards in turn, so that as much as possible is encoded."""
    graph = TaskGraph.from_tflite(file)
    names = sorted({v for task in graph.tasks for v in task.vertices})
    board = {v: f"pi4-{1 + i % BOARDS}" for i, v in enumerate(names)}
    return {
        task.operators[0]: board[task.vertices[0]] if task.vertices else "pi4-1"
        for task in graph.tasks
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--networks", type=int, default=20, help="of each kind")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.quick:
        sections = [networks(1, 2_000, {"100 Mbit/s": LINKS["100 Mbit/s"]}), accuracy("digits", 3)]
    else:
        sections = [
            networks(args.networks, 20_000, LINKS),
            accuracy("photos", None),
            accuracy("mnist", None),
        ]
    finish(*sections, as_json=args.json)


if __name__ == "__main__":
    main()
