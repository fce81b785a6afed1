"""A small network in every precision, its tensors sent in every wire format."""

import functools
from dataclasses import dataclass

import keras
import numpy as np
from costless import costless

from keras_concurrent.board import Board
from keras_concurrent.convert import to_tflite
from keras_concurrent.models import build_model
from keras_concurrent.network import Network
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.precision import PRECISIONS, TOLERANCES
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.wire.format import SENT_AS
from keras_concurrent.wire.planner import WirePlan, WirePlanner
from keras_concurrent.wire.sums import regroup_sums

WIRE_TOLERANCES = {"float32": 1e-5, "float16": 1e-3, "int8": 1e-2, "auto": 1e-2}
"""Largest difference that sending makes to the answers of the same file, which lie in 0..1.

The code of an input that a dynamic layer rounds once more may fall on the other side: twice that.
"""

COMBINATIONS = [(precision, sent_as) for precision in PRECISIONS for sent_as in SENT_AS]


@dataclass(frozen=True)
class Combination:
    """A network as one precision and one wire format make it.

    Args:
        file: the model in its precision.
        planned: the same, cut for three boards with as much sent as can be.
        image: one image.
        reference: what Keras answers.
        tolerance: largest difference between that and the boards' answers.
        wire_tolerance: largest difference that sending alone makes.
    """

    file: TfliteFile
    planned: WirePlan
    image: np.ndarray
    reference: np.ndarray
    tolerance: float
    wire_tolerance: float


def three_boards(ports=(7001, 7002, 7003)):
    """Boards of equal rate."""
    return costless(
        tuple(
            Board(f"b{i}", 0.02, f"tcp/127.0.0.1:{port}", call_ms=0.0)
            for i, port in enumerate(ports)
        ),
        Network(10.0, 0.0),
    )


@functools.cache
def _model():
    """The network, its weights such that no converter can fold a product away.

    Its convolutions have more than 1,024 weights: of fewer, dynamic range leaves float32.
    """
    keras.utils.set_random_seed(0)
    graph = generate("WS", 10, seed=5, k=4, p=0.5)
    model = build_model(
        stage(graph, (16, 16, 3), 4, filters=12, channel_cap=24, separable=False, seed=5)
    )
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "weight_" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5))
        if weight.path.endswith(
            "beta"
        ):  # no block may be zero throughout: int8 has no scale for it
            weight.assign(rng.uniform(0.2, 0.6, weight.shape))
    return model, rng.random((8, 16, 16, 3), dtype=np.float32)


@functools.cache
def _file(precision):
    model, images = _model()
    return TfliteFile(to_tflite(model, precision=precision, images=images))


@functools.cache
def combination(precision, sent_as):
    """Every vertex on another board than the one before."""
    model, images = _model()
    file = _file(precision)
    graph = TaskGraph.from_tflite(file)
    homes = {
        task.operators[0]: f"b{int(task.vertices[0].removeprefix('vertex_')) % 3}"
        if task.vertices
        else "b0"
        for task in graph.tasks
    }
    calibration = [{file.inputs[0]: image[np.newaxis]} for image in images]
    planner = WirePlanner(
        file, three_boards(), sent_as=sent_as, images=calibration, effort=Effort(500)
    )
    summed, homes = regroup_sums(file, homes)
    planned = planner.encoded(summed, homes, planner.formats(summed, homes))
    wire_tolerance = WIRE_TOLERANCES[sent_as] * (2 if precision == "dynamic" else 1)
    reference = np.asarray(model(images[:1], training=False))
    tolerance = TOLERANCES[precision] + wire_tolerance
    return Combination(file, planned, images[:1], reference, tolerance, wire_tolerance)
