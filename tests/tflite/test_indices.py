"""Every index in a file, followed, checked and renumbered."""

import inspect
import re
from itertools import pairwise

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from outside_files import packed
from pieces import check_pieces, image_for, run

from keras_concurrent.errors import ModelFileError
from keras_concurrent.interpreter import Segment
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.tflite.indices import INDICES, options_of
from keras_concurrent.tflite.piece import Piece

# ---------------------------------------------------------------- the schema

# Fields whose numbers are sizes, types, axes, ids and the like wherever they stand.
_NO_INDICES = """
algorithm apiVersion arrayIndicesType arraySegmentsType axis baseDilations batchDim batchDims
batchGroupCount beginMask blockMap blockShape blockSize broadcastDimensions builtinCode
builtinOptions2Type builtinOptionsType collapsedSliceDims combiner compareType
comparisonDirection compositeAttributes compositeAttributesFormat custom customAttributes
customOptions customOptionsFormat data denseSize depthMultiplier deprecatedBuiltinCode
detailsType dilationDFactor dilationHFactor dilationWFactor dimension dimensions edgePaddingHigh
edgePaddingLow ellipsisMask embeddingDimPerChannel endMask externalBuffer featureGroupCount
filterHeight filterWidth format fusedActivationFunction group id idxOutType inDataType
indexVectorDim inputBatchDimension inputFeatureDimension inputSpatialDimensions
insertedWindowDims interiorPadding iotaDimension kernelInputFeatureDimension
kernelOutputFeatureDimension kernelSpatialDimensions kernelType keyDtype
largeCustomOptionsOffset largeCustomOptionsSize length lhsBatchingDimensions
lhsContractingDimensions lhsDilation limitIndices maxSkipSize mode newAxisMask newShape
ngramSize num numBits numChannels numColumnsPerChannel numSplits offset offsetDims outDataType
outType outputBatchDimension outputFeatureDimension outputSpatialDimensions outputType padding
permutation precisionConfig quantSpec quantizedBiasType quantizedDimension quantizedDimensions
radius rank reduceFunction rhsBatchingDimensions rhsContractingDimensions rhsDilation
scatterDimsToOperandDims seed seed2 seqDim shape shapeSignature shrinkAxisMask size sliceSizes
squeezeDims startIndexMap startIndices strideD strideH strideW strides tableId traversalOrder
type updateWindowDims valueDtype values valuesCount version weightsFormat windowDilations
windowDimensions windowStrides zeroPoint
"""
NUMBERS = set(_NO_INDICES.split())


def whole_numbers():
    """Class and field of all whole numbers, single or in lists, that the schema has."""
    found = set()
    for name, kind in vars(schema).items():
        if inspect.isclass(kind) and name.endswith("T") and hasattr(kind, "InitFromObj"):
            source = inspect.getsource(kind.__init__)
            fields = re.findall(r"self\.(\w+) = .*# type: (.*)", source)
            assert len(fields) == len(inspect.signature(kind.__init__).parameters) - 1
            found |= {(name, field) for field, what in fields if re.search(r"\bint\b", what)}
    return found


def test_of_every_number_in_the_schema_is_known_whether_it_is_an_index():
    found = whole_numbers()
    unknown = {(kind, field) for kind, field in found - set(INDICES) if field not in NUMBERS}
    assert not unknown, "put them into keras_concurrent.tflite.indices, or into NUMBERS above"
    assert not set(INDICES) - found, "the schema has them no more"
    assert not {field for _, field in INDICES} & NUMBERS


def holder_of(model, kind):
    """An object of a class that has indices, placed somewhere in a model."""
    graph = model.subgraphs[0]
    made = getattr(schema, kind)()
    if kind == "ModelT":
        return model
    if kind == "SubGraphT":
        return graph
    if kind == "TensorT":
        return graph.tensors[-1]
    if kind == "OperatorT":
        return graph.operators[-1]
    if kind == "MetadataT":
        model.metadata = [made]
    elif kind == "SignatureDefT":
        model.signatureDefs = [made]
    elif kind == "TensorMapT":
        signature = schema.SignatureDefT()
        signature.outputs, model.signatureDefs = [made], [signature]
    elif kind.endswith("QuantizationT"):
        code = graph.tensors[-1].quantization = schema.QuantizationParametersT()
        code.details, code.detailsType = made, getattr(schema.QuantizationDetails, kind[:-1])
    else:
        second = "2" if hasattr(schema.BuiltinOptions2, kind[:-1]) else ""
        union = getattr(schema, f"BuiltinOptions{second}")
        setattr(graph.operators[-1], f"builtinOptions{second}", made)
        setattr(graph.operators[-1], f"builtinOptions{second}Type", getattr(union, kind[:-1]))
    return made


# Debug metadata is not looked into, by the interpreter neither.
FOLLOWED = sorted(index for index, what in INDICES.items() if what != "debug metadata")


@pytest.mark.parametrize(("kind", "field"), FOLLOWED)
def test_every_index_of_what_a_file_does_not_have_is_refused(small_file, kind, field):
    for index in (9999, -2):
        model = schema.ModelT.InitFromPackedBuf(small_file.data, 0)
        holder = holder_of(model, kind)
        single = isinstance(getattr(schema, kind)().__dict__[field], int)
        setattr(holder, field, index if single else [index])
        try:
            content = packed(model)
        except TypeError:  # the schema has no numbers below zero there
            assert index < 0
            continue
        with pytest.raises(ModelFileError, match=f"refers to {INDICES[kind, field]} {index} of"):
            TfliteFile(content)


OPTIONS = sorted({kind for kind, _ in INDICES if kind.endswith("OptionsT")})


@pytest.mark.parametrize("kind", OPTIONS)
def test_an_operator_takes_the_subgraphs_along_that_it_names(small_file, kind):
    model = schema.ModelT.InitFromPackedBuf(small_file.data, 0)
    options = holder_of(model, kind)
    fields = [field for owner, field in INDICES if owner == kind]
    for number in range(1, 2 + len(fields)):  # the first is nobody's
        inner = schema.SubGraphT()
        inner.name, inner.tensors, inner.operators = f"graph {number}", [], []
        inner.inputs, inner.outputs = [], []
        model.subgraphs.append(inner)
    for number, field in enumerate(fields, 2):
        single = isinstance(getattr(options, field), int)
        setattr(options, field, number if single else [number])
    piece = Piece(model)
    piece.add(model.subgraphs[0].operators[-1])
    made = schema.ModelT.InitFromPackedBuf(piece.packed(), 0)
    assert [graph.name for graph in made.subgraphs[1:]] == [
        f"graph {number}".encode() for number in range(2, 2 + len(fields))
    ]
    (operator,) = made.subgraphs[0].operators
    (found,) = options_of(operator).values()
    named = [np.ravel(getattr(found, field)).tolist() for field in fields]
    assert named == [[number] for number in range(1, 1 + len(fields))]
    assert [getattr(options, field) for field in fields] != named  # the source is as it was


# ---------------------------------------------------------------- scales of blocks


WIDTH, BLOCK = 64, 32


def blockwise(zero_points=-1):
    """Two dense layers with four-bit weights, each with a scale for every 32 of them.

    Returns:
        The file's bytes; the matrices that its layers multiply by, (64, 64).
    """
    rng = np.random.default_rng(0)
    model, graph = schema.ModelT(), schema.SubGraphT()
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 12
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers, graph.tensors, graph.operators = [schema.BufferT()], [], []

    def add(name, shape, kind, content=None):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), 0
        tensor.type = getattr(schema.TensorType, kind)
        if content is not None:
            buffer = schema.BufferT()
            buffer.data, tensor.buffer = content.reshape(-1).view(np.uint8), len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    layers = [add(name, (1, WIDTH), "FLOAT32") for name in ("image", "middle", "answer")]
    matrices = []
    for number, (read, written) in enumerate(pairwise(layers)):
        values = rng.integers(-7, 8, (WIDTH, WIDTH)).astype(np.int8)
        nibbles = values.reshape(-1, 2) & 15
        halves = (nibbles[:, 0] | nibbles[:, 1] << 4).astype(np.uint8)
        scales = 2.0 ** rng.integers(-5, -2, (WIDTH, WIDTH // BLOCK))
        weights = add(f"weights_{number}", values.shape, "INT4", halves)
        code = graph.tensors[weights].quantization = schema.QuantizationParametersT()
        code.detailsType = schema.QuantizationDetails.BlockwiseQuantization
        code.details = schema.BlockwiseQuantizationT()
        code.details.scales = add(
            f"scales_{number}", scales.shape, "FLOAT16", scales.astype(np.float16)
        )
        code.details.zeroPoints, code.details.blockSize = zero_points, BLOCK
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = 0, [read, weights, -1], [written]
        made.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        made.builtinOptions = schema.FullyConnectedOptionsT()
        graph.operators.append(made)
        matrices.append(values * np.repeat(scales, BLOCK, axis=1))
    graph.inputs, graph.outputs = [layers[0]], [layers[-1]]
    return packed(model), matrices


@pytest.mark.parametrize("zero_points", [-1, 0])  # left out, said or not
def test_scales_of_blocks_travel_with_their_weights(zero_points):
    content, matrices = blockwise(zero_points)
    file = TfliteFile(content)
    assert file.whole_because is None
    bytes_a_layer = WIDTH * WIDTH // 2 + WIDTH * (WIDTH // BLOCK) * 2
    assert [operator.parameter_bytes for operator in file.operators] == [bytes_a_layer] * 2
    for number, operator in enumerate(file.operators):
        piece = file.cut([number], operator.inputs, operator.outputs)
        tensors = schema.ModelT.InitFromPackedBuf(piece, 0).subgraphs[0].tensors
        (weights,) = [t for t in tensors if t.name == f"weights_{number}".encode()]
        assert tensors[weights.quantization.details.scales].name == f"scales_{number}".encode()
        assert weights.quantization.details.zeroPoints == -1
        assert len(tensors) == 4
    again = schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0].tensors
    assert again[5].quantization.details.scales == 6  # the file itself is as it was
    check_pieces(file, [[task.name] for task in TaskGraph.from_tflite(file).tasks])
    values = image_for(file)
    for number, operator in enumerate(file.operators):
        run(file.cut([number], operator.inputs, operator.outputs), values)
        exact = values[operator.inputs[0]].astype(float) @ matrices[number].T
        # The interpreter rounds what it reads to eight bits.
        written = values[operator.outputs[0]]
        np.testing.assert_allclose(written, exact, atol=0.03 * np.abs(exact).max())


def test_zero_points_of_blocks_travel_if_there_are_any():
    model = schema.ModelT.InitFromPackedBuf(blockwise()[0], 0)
    graph = model.subgraphs[0]
    for index, tensor in enumerate(graph.tensors):
        if tensor.name == b"weights_1":
            tensor.quantization.details.zeroPoints = index - 1  # scales_0 will do
    file = TfliteFile(packed(model))
    piece = file.cut([1], ["middle"], ["answer"])
    tensors = schema.ModelT.InitFromPackedBuf(piece, 0).subgraphs[0].tensors
    (weights,) = [tensor for tensor in tensors if tensor.name == b"weights_1"]
    assert tensors[weights.quantization.details.zeroPoints].name == b"scales_0"


def test_scales_that_are_computed_keep_a_file_whole():
    model = schema.ModelT.InitFromPackedBuf(blockwise()[0], 0)
    graph = model.subgraphs[0]
    graph.tensors[5].quantization.details.scales = 1
    reason = "the tensor 'middle', by which 'weights_1' is quantised, is computed"
    assert TfliteFile(packed(model)).whole_because == reason


def test_places_in_debug_metadata_stay_behind_with_it(small_file):
    model = schema.ModelT.InitFromPackedBuf(small_file.data, 0)
    for number, operator in enumerate(model.subgraphs[0].operators):
        operator.debugMetadataIndex = number + 5
    file = TfliteFile(packed(model))
    first = file.operators[0]
    piece = file.cut([0], first.inputs, first.outputs)
    (operator,) = schema.ModelT.InitFromPackedBuf(piece, 0).subgraphs[0].operators
    assert operator.debugMetadataIndex == -1
    assert Segment(piece).output_names == first.outputs
