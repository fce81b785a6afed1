"""A whole network as tasks, head and sink included: what the converter makes of it, by arithmetic.

`Architecture.tasks` has one task a vertex, on which the concurrency score works. A board runs more
than these, and a planner can do better than to leave a vertex's operators together: a tensor that
several vertices read is pooled and squashed once, where it is written or where it is read, and a
long sum can be begun where its first terms are. So here are

- a task for what is done once for several readers, and for a max-pooling, behind which less is
  left to send;
- a task for the rest of a vertex: its 1x1 convolutions, weighted sum, convolution and, of a last
  one, average; of a sum of more than three terms, one for each addition;
- a task for the classes: concatenation, dense layer, softmax.

What all tasks come to together (FLOPs, bytes, operators, weights) is the converted file's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from keras_concurrent import flops
from keras_concurrent.networks.block_work import FLOAT_BYTES, Shape, convolution_work
from keras_concurrent.networks.generators import SOURCE
from keras_concurrent.planning.taskgraph import Task, TaskGraph

if TYPE_CHECKING:  # an architecture's `network_tasks` calls this
    from keras_concurrent.networks.architecture import Architecture

_SINK = "sink"
_CLASSES = "classes"
_MOST_TERMS = 3  # of a sum that stays one task


class _Reading(NamedTuple):
    """A vertex that reads a tensor, pooled by a window to ``shape``."""

    reader: str
    window: tuple[int, int]
    shape: Shape
    squashes: bool
    widens: bool


class _Term(NamedTuple):
    """What a vertex reads for one term of its sum, and whether it has to squash it itself."""

    tensor: str
    shape: Shape
    squashes: bool
    widens: bool


class _Amount:
    """Work that grows: FLOPs, float32 values read and written, weights, operators."""

    __slots__ = ("flops", "operators", "values", "weights")

    def __init__(self) -> None:
        self.flops = self.values = self.weights = self.operators = 0

    def add(self, flops: int, values: int, weights: int = 0, operators: int = 1) -> None:
        self.flops += flops
        self.values += values + weights
        self.weights += weights
        self.operators += operators

    def task(self, name: str, inputs: Sequence[str], vertex: str) -> Task:
        return Task(
            name,
            self.flops,
            tuple(dict.fromkeys(inputs)),
            (name,),
            FLOAT_BYTES * self.weights,
            vertices=() if vertex in (_SINK, _CLASSES) else (vertex,),
            touched_bytes=FLOAT_BYTES * self.values,
            operator_count=self.operators,
        )


def tasks_of_network(architecture: Architecture) -> TaskGraph:
    """The tasks of a whole network, from the image to the probabilities of the classes."""
    return _Writer(architecture).graph()


class _Writer:
    """Writes the tasks down, each after those that it reads."""

    def __init__(self, architecture: Architecture) -> None:
        self.network = architecture
        self.shapes = architecture.shapes
        self.merges = architecture.head == "merge"
        self.last = () if self.merges else architecture.outputs
        self.tasks: list[Task] = []
        self.sizes: dict[str, int] = {}
        self.terms: dict[tuple[str, str], _Term] = {}
        self.readings: dict[str, dict[tuple[int, int], list[_Reading]]] = {}
        for block in architecture.blocks:
            squashes = architecture.squashes(block)
            self._note(block.name, block.inputs, architecture.scaled_shape(block), squashes)
        if self.merges:
            self.sink_shape = architecture.sink_shape
            squashes = architecture.block == "paper"
            self._note(_SINK, architecture.outputs, self.sink_shape, squashes)

    def _note(self, reader: str, inputs: Sequence[str], common: Shape, squashes: bool) -> None:
        for name in inputs:
            channels = self.shapes[name][2]
            window = self.network.window(name, common)
            shape = (common[0], common[1], channels)
            reading = _Reading(reader, window, shape, squashes, channels < common[2])
            self.readings.setdefault(name, {}).setdefault(window, []).append(reading)

    def graph(self) -> TaskGraph:
        """All of it."""
        network = self.network
        image = SOURCE
        self.sizes[image] = FLOAT_BYTES * math.prod(network.input_shape)
        source = image
        if network.stem_filters is not None:
            out, channels = self.shapes[SOURCE], network.input_shape[2]
            stem = _Amount()
            stem.add(
                flops.convolution(out, (3, 3), channels),
                math.prod(network.input_shape) + math.prod(out),
                (9 * channels + 1) * out[2],
            )
            source = "stem"
            self._write(stem, source, (image,), source, math.prod(out))
        self._share(SOURCE, source)
        for block in network.blocks:
            shape, common = self.shapes[block.name], network.scaled_shape(block)
            work, read = self._summed(block.name, block.inputs, common)
            convolved = convolution_work(network.units(block), common)
            work.flops += convolved.flops
            work.values += convolved.touched_bytes // FLOAT_BYTES
            work.weights += convolved.weights
            work.operators += convolved.operators
            values = math.prod(shape)
            if block.name in self.last:
                values = _average(work, shape)
            self._write(work, block.name, read, block.name, values)
            self._share(block.name, block.name)
        self._classify()
        return TaskGraph(tuple(self.tasks), self.sizes, (image,), (_CLASSES,))

    def _write(
        self, work: _Amount, name: str, read: Sequence[str], vertex: str, values: int
    ) -> None:
        self.tasks.append(work.task(name, read, vertex))
        self.sizes[name] = FLOAT_BYTES * values

    def _share(self, name: str, tensor: str) -> None:
        """What is done once to a tensor for several of its readers, or before it is sent."""
        for window, readings in self.readings.get(name, {}).items():
            bare = sum(reading.squashes and not reading.widens for reading in readings)
            shape, first = readings[0].shape, readings[0].reader
            held, values = tensor, math.prod(shape)
            work = _Amount()
            at = f"{name}/{window[0]}x{window[1]}"
            if window != (1, 1):
                work.add(flops.pooling(shape, window), math.prod(self.shapes[name]) + values)
                if bare < len(readings):  # some do not squash what is pooled, or widen it first
                    self._write(work, at, (held,), first, values)
                    held, work = at, _Amount()
            once = bare > 1 or (bare == 1 and work.operators > 0)
            squashed = held
            if once:
                work.add(values, 2 * values)
                squashed = f"{at} squashed"
                self._write(work, squashed, (held,), first, values)
            for reader, _, _, squashes, widens in readings:
                if squashes and not widens:
                    term = _Term(squashed, shape, not once, False)
                else:
                    term = _Term(held, shape, squashes, widens)
                self.terms[reader, name] = term

    def _summed(
        self, reader: str, inputs: Sequence[str], common: Shape
    ) -> tuple[_Amount, list[str]]:
        """The weighted sum of a vertex; of a long one all but the last addition is written."""
        each, channels = math.prod(common), common[2]
        work, read = _Amount(), []
        for number, name in enumerate(inputs):
            term = self.terms[reader, name]
            read.append(term.tensor)
            if term.widens:
                own = term.shape[2]
                work.add(
                    flops.convolution(common, (1, 1), own),
                    math.prod(term.shape) + each,
                    (own + 1) * channels,
                )
            if term.squashes:
                work.add(each, 2 * each)
            if self.network.multiplies(name, inputs, common):
                work.add(each, 2 * each, 1)  # times its weight
            if number:
                work.add(each, 3 * each)
                if len(inputs) > _MOST_TERMS and number < len(inputs) - 1:
                    begun = f"{reader}+{number}"
                    self._write(work, begun, read, reader, each)
                    work, read = _Amount(), [begun]
        return work, read

    def _classify(self) -> None:
        """Sink, dense layer and softmax."""
        network, classes = self.network, self.network.classes
        if self.merges:
            work, read = self._summed(_SINK, network.outputs, self.sink_shape)
            width = _average(work, self.sink_shape)
        else:
            work, read = _Amount(), list(network.outputs)
            width = sum(self.shapes[name][2] for name in network.outputs)
            if len(read) > 1:
                work.add(0, 2 * width)
        work.add(flops.convolution((classes,), (), width), width + classes, width * classes)
        work.add(classes, 2 * classes)
        self._write(work, _CLASSES, read, _CLASSES, classes)


def _average(work: _Amount, shape: Shape) -> int:
    """Add a tensor's average over its positions; gives how many values are left."""
    values = math.prod(shape)
    work.add(values, values + shape[2], 2)  # the two axes count as weights
    return shape[2]
