"""Random networks, and what they cost on described boards before and after sending less."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from keras_concurrent.cluster import Cluster
from keras_concurrent.interpreter import Array
from keras_concurrent.networks.architecture import Architecture
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.schedule import Plan
from keras_concurrent.planning.segments import one_board, plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.wire.planner import WirePlanner
from keras_concurrent.wire.sums import regroup_sums

KIND = "pi4"


@dataclass(frozen=True)
class Size:
    """How large a network is.

    Args:
        vertices: of the random graph.
        pixels: side of the image.
        filters: channels of the first blocks.
        cap: most channels.
    """

    vertices: int
    pixels: int
    filters: int
    cap: int

    def __str__(self) -> str:
        return f"{self.pixels} px, {self.filters} to {self.cap} channels"


@dataclass(frozen=True)
class Drawn:
    """A random network with random weights.

    Args:
        architecture: its recipe.
        plain: its .tflite, which takes float32 images.
        pixels: the same, its images bytes.
        int8: the same, all of it int8; ``None`` where nobody asked.
    """

    architecture: Architecture
    plain: TfliteFile
    pixels: TfliteFile
    int8: TfliteFile | None


def draw(kind: str, seed: int, size: Size, *, int8: bool = False) -> Drawn:
    """A network of dense convolutions."""
    import keras

    from keras_concurrent.convert import to_tflite
    from keras_concurrent.models import build_model
    from keras_concurrent.wire.pixels import take_pixels

    architecture = stage(
        generate(kind, size.vertices, seed=seed), (size.pixels, size.pixels, 3), 10,
        filters=size.filters, channel_cap=size.cap, separable=False, seed=seed,
    )  # fmt: skip
    keras.utils.set_random_seed(seed)
    model = build_model(architecture)
    rng = np.random.default_rng(seed)
    for weight in model.weights:  # otherwise the converter folds products with 1 away
        if "weight_" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5))
        if weight.path.endswith("beta"):  # a block that is zero throughout has no int8 scale
            weight.assign(rng.uniform(0.2, 0.6, weight.shape))
    plain = TfliteFile(to_tflite(model))
    quantised = None
    if int8:
        images = rng.random((4, size.pixels, size.pixels, 3), dtype=np.float32)
        quantised = take_pixels(TfliteFile(to_tflite(model, precision="int8", images=images)))
    keras.backend.clear_session()
    return Drawn(architecture, plain, take_pixels(plain), quantised)


def described(link: str, boards: int) -> Cluster:
    """Equal boards; ``"20mbit"`` is one medium that all share."""
    if link != "20mbit":
        return Cluster.of(KIND, boards, link)
    cluster = Cluster.of(KIND, boards, "100mbit")
    medium = replace(cluster.network, bandwidth_mbit_per_s=20.0, medium="shared")
    return replace(cluster, network=medium)


def random_inputs(file: TfliteFile) -> list[dict[str, Array]]:
    """Two images of bytes, to measure ranges on."""
    (name,) = file.inputs
    shape = file.tensors[name].shape
    return [
        {name: np.random.default_rng(i).integers(0, 256, shape).astype(np.uint8)} for i in range(2)
    ]


def block_homes(file: TfliteFile, plan: Plan) -> dict[int, str]:
    """Every operator on the board of its vertex.

    Pools and sigmoids, which the converter shares among vertices, are with what they read; what
    has no vertex, beside what it reads or serves.
    """
    board = {v: plan.assignment[task.name] for task in plan.graph.tasks for v in task.vertices}
    graph = TaskGraph.from_tflite(file)
    homes: dict[str, str] = {}
    for task in graph.tasks:
        before = [homes[name] for name in graph.predecessors[task.name] if name in homes]
        shared = task.name.endswith(("_LOGISTIC", "_MAX_POOL_2D"))
        own = [board[v] for v in task.vertices if v in board]
        found = before if shared and before else [*own, *before]
        if found:
            homes[task.name] = found[0]
    for task in reversed(graph.tasks):
        if task.name not in homes:
            homes[task.name] = homes[graph.successors[task.name][0]]
    return {task.operators[0]: homes[task.name] for task in graph.tasks}


def compare(
    kind: str, seed: int, size: Size, links: Sequence[str], boards: int, evaluations: int,
    int8: bool,
) -> list[dict[str, float]]:  # fmt: skip
    """One network on some networks of boards."""
    drawn = draw(kind, seed, size, int8=int8)
    blocks = TaskGraph.from_architecture(drawn.architecture)
    found = []
    for link in links:
        cluster = described(link, boards)
        before = plan_segments(blocks, cluster, effort=Effort(evaluations))
        file = drawn.pixels
        planner = WirePlanner(file, cluster, images=random_inputs(file), effort=Effort(evaluations))
        summed, homes = regroup_sums(file, block_homes(file, before))
        same = planner.encoded(summed, homes, planner.formats(summed, homes)).plan
        own = planner.plan().plan
        free = plan_segments(blocks, described("1000gbit", boards), effort=Effort(evaluations))
        row = {
            "boards": len(before.boards),
            "own_boards": len(own.boards),
            "one_board_s": one_board(TaskGraph.from_tflite(file), cluster).latency_s,
            "float32_s": before.latency_s,
            "same_blocks_s": same.latency_s,
            "own_plan_s": own.latency_s,
            "free_network_s": free.latency_s,
            "float32_bytes": before.wire_bytes,
            "same_blocks_bytes": same.wire_bytes,
            "own_plan_bytes": own.wire_bytes,
        }
        if drawn.int8 is not None:
            row["int8_s"] = WirePlanner(
                drawn.int8, cluster, images=random_inputs(drawn.int8),
                effort=Effort(evaluations),
            ).plan().plan.latency_s  # fmt: skip
            whole = one_board(TaskGraph.from_tflite(drawn.int8), cluster)
            row["one_board_int8_s"] = whole.latency_s
        found.append(row)
    return found


def compare_all(
    kinds: Sequence[str], samples: int, size: Size, links: Sequence[str], boards: int,
    evaluations: int, int8: int,
) -> Iterator[tuple[str, int, list[dict[str, float]]]]:  # fmt: skip
    """Networks of each kind, on all of this machine's cores.

    Yields:
        Kind, seed and figures by link, in the order in which they are found.
    """
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        waiting = {
            pool.submit(
                compare, kind, seed, size, links, boards, evaluations, seed < int8
            ): (kind, seed)
            for seed in range(samples)
            for kind in kinds
        }  # fmt: skip
        for done in as_completed(waiting):
            yield (*waiting[done], done.result())
