"""Small .tflite files of convolutions with random weights, by which machines are measured."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_concurrent import flops

Shape = tuple[int, ...]


class Writer:
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

    def tensor(self, name: str, shape: Shape, *, constant: bool = False) -> int:
        """Add a tensor; its index."""
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
        self, read: int, shape: Shape, filters: int, window: int, stride: int
    ) -> tuple[int, Shape, int]:
        """Add a convolution that reads a tensor; index and shape of what it writes, its FLOPs."""
        kernel = (filters, window, window, shape[-1])
        out = (1, shape[1] // stride, shape[2] // stride, filters)
        kind = schema.BuiltinOptions.Conv2DOptions
        written = self._operator(0, kind, schema.Conv2DOptionsT(), read, kernel, out, stride)
        return written, out, flops.convolution(out, (window, window), shape[-1])

    def depthwise(self, read: int, shape: Shape, stride: int) -> tuple[int, Shape, int]:
        """Add a depthwise 3x3 convolution; as `convolution`."""
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
        kernel: Shape,
        out: Shape,
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
        """The file from one tensor to another."""
        self._graph.inputs, self._graph.outputs = [graph_input], [graph_output]
        builder = flatbuffers.Builder(1 << 24)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
