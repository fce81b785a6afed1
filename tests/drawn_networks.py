"""Convolutional networks with random weights, written straight as .tflite files, and drawn ones."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from hypothesis import strategies as st

from keras_concurrent.tflite.file import TfliteFile

SCALE, ZERO = 0.05, 3  # of every int8 tensor, so that all may be concatenated
_LOGISTIC = (1 / 256, -128)  # of an int8 LOGISTIC's output, by the specification
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID


class Network:
    """Writes a network; every method adds an operator and gives the index of what it writes.

    Args:
        dtype: ``float32``, ``int8``, or ``dynamic`` (int8 weights, float32 values).
        seed: of the weights.
    """

    def __init__(self, dtype="float32", seed=0):
        self.weights = "int8" if dtype != "float32" else "float32"
        self.dtype = "int8" if dtype == "int8" else "float32"
        self.rng = np.random.default_rng(seed)
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.model.version, self.model.subgraphs = 3, [self.graph]
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.codes = {}

    def shape(self, index):
        return tuple(self.graph.tensors[index].shape)

    def tensor(self, shape, dtype=None, data=None, scales=None, zero=0, axis=0):
        made = schema.TensorT()
        made.name, made.shape, made.buffer = f"t{len(self.graph.tensors)}", list(shape), 0
        dtype = dtype or self.dtype
        made.type = getattr(schema.TensorType, dtype.upper())
        if dtype == "int8" and scales is None:
            scales, zero = [SCALE], ZERO
        if scales is not None:
            code = schema.QuantizationParametersT()
            code.scale, code.quantizedDimension = [float(s) for s in scales], axis
            code.zeroPoint = [zero] * len(code.scale)
            made.quantization = code
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.ascontiguousarray(data, dtype).reshape(-1).view("u1")
            made.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def integers(self, *values):
        return self.tensor(np.shape(values), "int32", values)

    def image(self, *shape):
        made = self.tensor((1, *shape))
        self.graph.inputs.append(made)
        return made

    def operator(self, kind, reads, shape, options=None, version=None, writes=None, **settings):
        version = version or (2 if self.dtype == "int8" else 1)
        number = getattr(schema.BuiltinOperator, kind)
        if (number, version) not in self.codes:
            self.codes[number, version] = len(self.model.operatorCodes)
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
            code.version = version
            self.model.operatorCodes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs = self.codes[number, version], list(reads)
        made.outputs = [self.tensor(shape) if writes is None else writes]
        if options:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            made.builtinOptions = getattr(schema, f"{options}T")()
            for name, value in settings.items():
                setattr(made.builtinOptions, name, value)
        self.graph.operators.append(made)
        return made.outputs[0]

    def _weights(self, shape, axis, fan_in, read):
        """Weights and bias; int8 ones with a scale a filter."""
        count = shape[axis]
        bias = self.rng.normal(0, 0.1, count)
        if self.weights == "float32":
            values = self.rng.normal(0, fan_in**-0.5, shape)
            return self.tensor(shape, "float32", values), self.tensor([count], "float32", bias)
        scales = self.rng.uniform(0.5, 1.5, count) / (100 * fan_in**0.5)
        values = self.rng.integers(-127, 128, shape)
        weights = self.tensor(shape, "int8", values, scales, axis=axis)
        if self.dtype == "float32":
            return weights, self.tensor([count], "float32", bias)
        in_scale = self.graph.tensors[read].quantization.scale[0]
        steps = np.rint(bias / (in_scale * scales))
        return weights, self.tensor([count], "int32", steps, in_scale * scales)

    def _out(self, size, kernel, stride, dilation, padding):
        reach = (kernel - 1) * dilation + 1
        return -(-size // stride) if padding == SAME else (size - reach) // stride + 1

    def convolution(
        self, x, filters, kernel=(3, 3), stride=1, dilation=1, padding=SAME, act=0, depthwise=False
    ):
        _, rows, columns, channels = self.shape(x)
        filters = channels if depthwise else filters
        shape = (1, *kernel, channels) if depthwise else (filters, *kernel, channels)
        fan_in = kernel[0] * kernel[1] * (1 if depthwise else channels)
        weights, bias = self._weights(shape, 3 if depthwise else 0, fan_in, x)
        kind, options = "CONV_2D", "Conv2DOptions"
        settings = {}
        if depthwise:
            kind, options = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
            settings = {"depthMultiplier": 1}
        return self.operator(
            kind,
            [x, weights, bias],
            (
                1,
                self._out(rows, kernel[0], stride, dilation, padding),
                self._out(columns, kernel[1], stride, dilation, padding),
                filters,
            ),
            options,
            3,
            padding=padding,
            strideH=stride,
            strideW=stride,
            dilationHFactor=dilation,
            dilationWFactor=dilation,
            fusedActivationFunction=act,
            **settings,
        )

    def transposed(self, x, filters, kernel=(3, 3), stride=2, padding=SAME):
        _, rows, columns, channels = self.shape(x)
        shape = (filters, *kernel, channels)
        weights, bias = self._weights(shape, 0, kernel[0] * kernel[1] * channels, x)
        sizes = [
            size * stride if padding == SAME else (size - 1) * stride + reach
            for size, reach in zip((rows, columns), kernel, strict=True)
        ]
        shape = (1, *sizes, filters)
        settings = {"padding": padding, "strideH": stride, "strideW": stride}
        reads = [self.integers(*shape), weights, x, bias]
        return self.operator("TRANSPOSE_CONV", reads, shape, "TransposeConvOptions", 3, **settings)

    def pool(self, x, kind="MAX", kernel=(3, 3), stride=1, padding=SAME):
        _, rows, columns, channels = self.shape(x)
        return self.operator(
            f"{kind}_POOL_2D",
            [x],
            (
                1,
                self._out(rows, kernel[0], stride, 1, padding),
                self._out(columns, kernel[1], stride, 1, padding),
                channels,
            ),
            "Pool2DOptions",
            padding=padding,
            strideH=stride,
            strideW=stride,
            filterHeight=kernel[0],
            filterWidth=kernel[1],
        )

    def pad(self, x, above, below, before, behind):
        _, rows, columns, channels = self.shape(x)
        around = self.integers((0, 0), (above, below), (before, behind), (0, 0))
        shape = (1, rows + above + below, columns + before + behind, channels)
        return self.operator("PAD", [x, around], shape, "PadOptions")

    def pair(self, kind, a, b, act=0):
        """ADD or MUL of two images, or of an image and one that is spread over it."""
        return self.operator(
            kind,
            [a, b],
            self.shape(a),
            f"{kind.title()}Options",
            fusedActivationFunction=act,
        )

    def scaled(self, x, spread):
        """An image times a constant: of each place (``""``), row, column or channel."""
        full = self.shape(x)
        shape = {"": full, "row": (full[1], 1, 1), "channel": full[-1:]}[spread]
        dtype = self.dtype
        drawn = (
            self.rng.integers(-50, 50, shape) if dtype == "int8" else self.rng.normal(size=shape)
        )
        return self.pair("MUL", x, self.tensor(shape, dtype, drawn))

    def alone(self, kind, x):
        if kind == "LOGISTIC" and self.dtype == "int8":
            scale, zero = _LOGISTIC
            squashed = self.tensor(self.shape(x), "int8", scales=[scale], zero=zero)
            self.operator(kind, [x], self.shape(x), writes=squashed)
            return self.operator("QUANTIZE", [squashed], self.shape(x))
        return self.operator(kind, [x], self.shape(x))

    def joined(self, *parts):
        shape = self.shape(parts[0])
        channels = sum(self.shape(part)[-1] for part in parts)
        return self.operator(
            "CONCATENATION", parts, (*shape[:-1], channels), "ConcatenationOptions", axis=3
        )

    def resized(self, x, kind="RESIZE_BILINEAR", scale=2, half=False):
        _, rows, columns, channels = self.shape(x)
        options = kind.title().replace("_", "") + "Options"
        return self.operator(
            kind,
            [x, self.integers(rows * scale, columns * scale)],
            (1, rows * scale, columns * scale, channels),
            options,
            3,
            halfPixelCenters=half,
        )

    def cropped(self, x, above, below):
        _, rows, columns, channels = self.shape(x)
        shape = (1, rows - above - below, columns, channels)
        reads = [x, self.integers(0, above, 0, 0), self.integers(*shape)]
        return self.operator("SLICE", reads, shape, "SliceOptions")

    def softmax(self, x):
        return self.operator("SOFTMAX", [x], self.shape(x), "SoftmaxOptions", beta=1.0)

    def prelu(self, x):
        slopes = self.tensor(
            (1, 1, self.shape(x)[-1]), data=self.rng.normal(size=self.shape(x)[-1])
        )
        return self.operator("PRELU", [x, slopes], self.shape(x))

    def halves(self, x):
        """SPLIT of the columns; of the two halves, the second."""
        _, rows, columns, channels = self.shape(x)
        shape = (1, rows, columns // 2, channels)
        two = [self.tensor(shape), self.tensor(shape)]
        axis = self.tensor((), "int32", 2)
        self.operator("SPLIT", [axis, x], shape, "SplitOptions", writes=two[0], numSplits=2)
        self.graph.operators[-1].outputs = two
        return two[1]

    def blocks(self, x, kind, size=2):
        _, rows, columns, channels = self.shape(x)
        options = kind.title().replace("_", "") + "Options"
        if kind == "SPACE_TO_DEPTH":
            shape = (1, rows // size, columns // size, channels * size * size)
        else:
            shape = (1, rows * size, columns * size, channels // (size * size))
        return self.operator(kind, [x], shape, options, blockSize=size)

    def stripped(self, x):
        """All rows but the first and the last, all columns but the first, by STRIDED_SLICE."""
        _, rows, columns, channels = self.shape(x)
        ends = (0, 1, 1, 0), (1, -1, 0, 0), (1, 1, 1, 1)
        reads = [x, *(self.integers(*each) for each in ends)]
        shape = (1, rows - 2, columns - 1, channels)
        masks = {"beginMask": 0b1001, "endMask": 0b1100}
        return self.operator("STRIDED_SLICE", reads, shape, "StridedSliceOptions", **masks)

    def mean(self, x, keep=True):
        shape = self.shape(x)
        shape = (1, 1, 1, shape[-1]) if keep else (1, shape[-1])
        axes = self.integers(1, 2)
        return self.operator("MEAN", [x, axes], shape, "ReducerOptions", keepDims=keep)

    def dense(self, x, units):
        shape = (units, self.shape(x)[-1])
        weights, bias = self._weights(shape, 0, shape[1], x)
        return self.operator(
            "FULLY_CONNECTED", [x, weights, bias], (1, units), "FullyConnectedOptions", 5
        )

    def file(self):
        """The file; what no operator reads is its outputs."""
        read = {index for operator in self.graph.operators for index in operator.inputs}
        written = [index for operator in self.graph.operators for index in operator.outputs]
        self.graph.outputs = [index for index in written if index not in read]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return TfliteFile(bytes(builder.Output()), "a drawn network")


@st.composite
def networks(draw, dtypes=("float32", "int8")):
    """Networks of some operators on images of any size; whatever no other reads is an output."""
    network = Network(draw(st.sampled_from(dtypes)), draw(st.integers(0, 99)))
    rows, columns = draw(st.integers(4, 26)), draw(st.integers(3, 12))
    tensors = [network.image(rows, columns, draw(st.integers(1, 4)))]
    for _ in range(draw(st.integers(2, 8))):
        x = tensors[-1] if draw(st.booleans()) else draw(st.sampled_from(tensors))
        tensors.append(_layer(draw, network, x, tensors))
    end = network.mean(tensors[-1], keep=False)
    network.dense(end, draw(st.integers(1, 40)))
    return network.file()


def _layer(draw, network, x, tensors):
    _, rows, columns, _ = network.shape(x)
    kind = draw(
        st.sampled_from(
            ("conv", "conv", "depthwise", "max", "average", "pad", "meet", "alone", "scaled",
             "resize", "transposed", "crop", "squeeze", "other")
        )
    )  # fmt: skip
    padding = draw(st.sampled_from((SAME, VALID)))
    kernel = tuple(
        draw(st.integers(1, 5 if padding == SAME else min(5, size))) for size in (rows, columns)
    )
    stride = draw(st.integers(1, 3))
    if kind in ("conv", "depthwise"):
        dilation = 1
        if stride == 1 and max(kernel) > 1:
            dilation = draw(st.integers(1, 2))
            if padding == VALID and any(
                2 * (k - 1) + 1 > size for k, size in zip(kernel, (rows, columns), strict=True)
            ):
                dilation = 1
        filters = draw(st.sampled_from((1, 3, 8, 16, 33)))
        act = draw(st.sampled_from((0, 1, 3)))
        return network.convolution(
            x, filters, kernel, stride, dilation, padding, act, kind == "depthwise"
        )
    if kind in ("max", "average"):
        return network.pool(x, kind.upper(), kernel, stride, padding)
    if kind == "pad":
        return network.pad(x, *(draw(st.integers(0, 3)) for _ in range(4)))
    if kind == "meet":
        shape = network.shape(x)
        alike = [t for t in tensors if network.shape(t) == shape]
        other = draw(st.sampled_from(alike))
        if draw(st.booleans()):
            return network.joined(x, other)
        return network.pair(draw(st.sampled_from(("ADD", "MUL"))), x, other)
    if kind == "alone":
        return network.alone(draw(st.sampled_from(("LOGISTIC", "RELU"))), x)
    if kind == "scaled":
        return network.scaled(x, draw(st.sampled_from(("", "row", "channel"))))
    if kind == "resize" and rows * columns < 200:
        which = draw(st.sampled_from(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")))
        return network.resized(x, which, draw(st.sampled_from((2, 4))), draw(st.booleans()))
    if kind == "transposed" and rows * columns < 200:
        stride = draw(st.integers(1, 2))
        kernel = draw(st.integers(stride, 4)), draw(st.integers(stride, 4))
        return network.transposed(x, draw(st.sampled_from((3, 8))), kernel, stride, padding)
    if kind == "crop" and rows > 4:
        return network.cropped(x, draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    if kind == "other" and network.dtype == "float32":
        return _other(draw, network, x)
    return network.pair("MUL", x, network.alone("LOGISTIC", network.mean(x)))


def _other(draw, network, x):
    """Kinds that networks have now and then, in float32."""
    _, rows, columns, channels = network.shape(x)
    kinds = ["HARD_SWISH", "TANH", "EXP", "softmax", "prelu"]
    kinds += ["halves"] * (columns % 2 == 0) + ["stripped"] * (rows > 3 and columns > 1)
    kinds += ["SPACE_TO_DEPTH"] * (rows % 2 == columns % 2 == 0)
    kinds += ["DEPTH_TO_SPACE"] * (channels % 4 == 0)
    kind = draw(st.sampled_from(kinds))
    if kind in ("SPACE_TO_DEPTH", "DEPTH_TO_SPACE"):
        return network.blocks(x, kind)
    return network.alone(kind, x) if kind.isupper() else getattr(network, kind)(x)
