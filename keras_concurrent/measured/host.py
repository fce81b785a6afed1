"""How fast this machine is, in the unit in which the boards are described.

The boards' rates in `keras_concurrent.cluster` come from published latencies of MobileNet v1, so
this machine runs the same convolutions: 1.14 GFLOP, random weights, one thread.
"""

from __future__ import annotations

import time

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_concurrent import flops
from keras_concurrent.interpreter import Segment

# Output channels and stride of MobileNet v1's thirteen separable convolutions.
_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
_IMAGE: tuple[int, ...] = (1, 224, 224, 3)


def measure_host(repeats: int = 20) -> float:
    """This machine's float32 rate on one core, in FLOPs a second.

    Args:
        repeats: runs, of which the least CPU time counts: anything above is noise.
    """
    content, work = _mobilenet()
    segment = Segment(content, name="the calibration network")
    image = np.random.default_rng(0).random(_IMAGE, dtype=np.float32)
    segment.run([image])
    durations = []
    for _ in range(repeats):
        start = time.thread_time()
        segment.run([image])
        durations.append(time.thread_time() - start)
    return work / min(durations)


def _mobilenet() -> tuple[bytes, int]:
    """MobileNet v1's convolutions as a .tflite, and their FLOPs."""
    writer = _Writer()
    last, shape = writer.tensor("image", _IMAGE), _IMAGE
    graph_input, work = last, 0
    last, shape, work = writer.convolution(last, shape, 32, 3, 2)
    for filters, stride in _BLOCKS:
        last, shape, more = writer.depthwise(last, shape, stride)
        work += more
        last, shape, more = writer.convolution(last, shape, filters, 1, 1)
        work += more
    return writer.finish(graph_input, last), work


class _Writer:
    """Writes a chain of convolutions with random weights."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._model = schema.ModelT()
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._model.version, self._model.subgraphs = 3, [self._graph]
        self._model.buffers, self._model.operatorCodes = [schema.BufferT()], []
        for code in (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D):
            kind = schema.OperatorCodeT()
            kind.builtinCode = kind.deprecatedBuiltinCode = code
            kind.version = 1
            self._model.operatorCodes.append(kind)

    def tensor(self, name: str, shape: tuple[int, ...], *, constant: bool = False) -> int:
        added = schema.TensorT()
        added.name, added.shape, added.buffer = name, list(shape), 0
        if constant:
            scale = np.float32(1 / np.sqrt(np.prod(shape)))
            values = self._rng.standard_normal(shape, dtype=np.float32) * scale
            buffer = schema.BufferT()
            buffer.data = values.view(np.uint8).ravel()
            added.buffer = len(self._model.buffers)
            self._model.buffers.append(buffer)
        self._graph.tensors.append(added)
        return len(self._graph.tensors) - 1

    def convolution(
        self, read: int, shape: tuple[int, ...], filters: int, window: int, stride: int
    ) -> tuple[int, tuple[int, ...], int]:
        kernel = (filters, window, window, shape[-1])
        out = (1, shape[1] // stride, shape[2] // stride, filters)
        kind = schema.BuiltinOptions.Conv2DOptions
        written = self._operator(0, kind, schema.Conv2DOptionsT(), read, kernel, out, stride)
        return written, out, flops.convolution(out, (window, window), shape[-1])

    def depthwise(
        self, read: int, shape: tuple[int, ...], stride: int
    ) -> tuple[int, tuple[int, ...], int]:
        out = (1, shape[1] // stride, shape[2] // stride, shape[-1])
        options = schema.DepthwiseConv2DOptionsT()
        options.depthMultiplier = 1
        kind = schema.BuiltinOptions.DepthwiseConv2DOptions
        written = self._operator(1, kind, options, read, (1, 3, 3, shape[-1]), out, stride)
        return written, out, flops.depthwise(out, (3, 3))

    def _operator(
        self,
        code: int,
        kind: int,
        options: schema.Conv2DOptionsT | schema.DepthwiseConv2DOptionsT,
        read: int,
        kernel: tuple[int, ...],
        out: tuple[int, ...],
        stride: int,
    ) -> int:
        index = len(self._graph.operators)
        options.padding = schema.Padding.SAME
        options.strideH = options.strideW = stride
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU6
        weights = self.tensor(f"weights_{index}", kernel, constant=True)
        bias = self.tensor(f"bias_{index}", out[-1:], constant=True)
        written = self.tensor(f"result_{index}", out)
        added = schema.OperatorT()
        added.opcodeIndex, added.inputs, added.outputs = code, [read, weights, bias], [written]
        added.builtinOptionsType, added.builtinOptions = kind, options
        self._graph.operators.append(added)
        return written

    def finish(self, graph_input: int, graph_output: int) -> bytes:
        self._graph.inputs, self._graph.outputs = [graph_input], [graph_output]
        builder = flatbuffers.Builder(1 << 24)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
