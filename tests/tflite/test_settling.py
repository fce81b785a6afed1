"""Sizes are the interpreter's own, whatever a file leaves open."""

import functools
import itertools
import random
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from outside_files import packed
from pieces import check_pieces, image_for, random_groups
from tensorflow import nn

from keras_concurrent.convert import to_tflite
from keras_concurrent.errors import ModelFileError, UnknownOperatorWarning
from keras_concurrent.interpreter import Segment, load_interpreter, quiet
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile


def weights(*shape):
    return tf.constant(np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32))


def dilated(x):
    return nn.conv2d(x, weights(3, 3, 3, 4), 1, "SAME", dilations=2)


def dilated_twice(x):
    x = nn.relu(nn.conv2d(x, weights(3, 3, 3, 4), 1, "VALID", dilations=2))
    return nn.conv2d(x, weights(3, 3, 4, 2), 1, "SAME", dilations=3)


def blocks_in_the_batch(x):
    y = tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]])
    return tf.batch_to_space(y * 2.0, [2, 2], [[0, 0], [0, 0]])


def tiled(x):
    return nn.relu(tf.tile(x, [3, 1, 1, 2]) + 1.0)


def concatenated(x):
    return tf.reduce_mean(nn.relu(tf.concat([x, x * 2.0, -x], 0)), axis=[1, 2])


def dense_on_three_axes(x):
    y = tf.reshape(x, [tf.shape(x)[0], -1, 6])
    return nn.softmax(tf.tensordot(y, weights(6, 5), 1) + 0.5)


def attention(x):
    tokens = tf.reshape(x, [tf.shape(x)[0], tf.shape(x)[1] * tf.shape(x)[2], 3])
    q, k, v = (tf.tensordot(tokens, weights(3, 4) * f, 1) for f in (1.0, 2.0, 3.0))
    return tf.matmul(nn.softmax(tf.matmul(q, k, transpose_b=True)), v)


def windows(x):
    """Partitioned into windows of two, as Swin does, and put together again."""
    n, h, w = (tf.shape(x)[i] for i in range(3))
    y = tf.transpose(tf.reshape(x, [n, h // 2, 2, w // 2, 2, 3]), [0, 1, 3, 2, 4, 5])
    y = tf.tensordot(tf.reshape(y, [-1, 4, 3]), weights(3, 3), 1)
    y = tf.reshape(y, [n, h // 2, w // 2, 2, 2, 3])
    return tf.reshape(tf.transpose(y, [0, 1, 3, 2, 4, 5]), [n, h, w, 3])


def rows_as_batch(x):
    """TimeDistributed: each row by itself."""
    n, h, w = (tf.shape(x)[i] for i in range(3))
    y = nn.conv1d(tf.reshape(x, [n * h, w, 3]), weights(3, 3, 2), 1, "SAME")
    return tf.reshape(y, [n, h, w, 2])


def normalised(x):
    """LayerNormalization of ConvNeXt, and its dense layers on four axes."""
    mean, variance = nn.moments(x, [3], keepdims=True)
    y = (x - mean) * tf.math.rsqrt(variance + 1e-3)
    return x + tf.tensordot(nn.gelu(tf.tensordot(y, weights(3, 8), 1)), weights(8, 3), 1)


def upsampled(x):
    size = tf.shape(x)[1:3] * 2
    return nn.conv2d(tf.image.resize(x, size), weights(3, 3, 3, 2), 1, "SAME")


def pyramid(x):
    small = nn.max_pool2d(nn.conv2d(x, weights(3, 3, 3, 4), 2, "SAME"), 2, 2, "SAME")
    large = tf.image.resize(small, tf.shape(x)[1:3], "nearest")
    return {"large": tf.concat([x, large], -1), "small": small}


def transposed(x):
    shape = tf.shape(x)
    out = tf.stack([shape[0], shape[1] * 2, shape[2] * 2, 5])
    return nn.conv2d_transpose(x, weights(3, 3, 5, 3), out, 2)


def padded_to_a_square(x):
    h, w = tf.shape(x)[1], tf.shape(x)[2]
    size = tf.maximum(h, w)
    return nn.relu(tf.pad(x, [[0, 0], [0, size - h], [0, size - w], [0, 0]]))


def mean_of_parts(x):
    first, second = tf.split(nn.relu(x), 2, axis=1)
    return tf.reduce_mean(first - second, axis=[1, 2]) / tf.cast(tf.shape(x)[1], tf.float32)


def looped(x):
    y = tf.reduce_mean(x, axis=[1, 2])
    (y,) = tf.while_loop(lambda y: tf.reduce_sum(tf.abs(y)) < 50.0, lambda y: (2.0 * y + 1.0,), [y])
    return nn.softmax(y)


FUNCTIONS = (
    dilated, dilated_twice, blocks_in_the_batch, tiled, concatenated, dense_on_three_axes,
    attention, windows, rows_as_batch, normalised, upsampled, pyramid, transposed,
    padded_to_a_square, mean_of_parts, looped,
)  # fmt: skip
SIZES = ((1, 8, 8), (1, 10, 14), (1, 16, 12), (2, 6, 8), (1, 18, 6), (3, 8, 6), (1, 12, 12))


@functools.cache
def content_of(function):
    """A function of pictures of any number and size as a .tflite."""
    signature = [tf.TensorSpec((None, None, None, 3), name="x")]
    concrete = tf.function(function, input_signature=signature).get_concrete_function()
    with quiet():
        return tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()


def as_run(content, shape):
    """Shapes of all tensors after a run of the file as it is, and its outputs, by name."""
    module = load_interpreter()
    interpreter = module.Interpreter(
        model_content=content,
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    given = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(given, shape)
    interpreter.allocate_tensors()
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    interpreter.set_tensor(given, image)
    interpreter.invoke()
    shapes = {each["name"]: tuple(each["shape"]) for each in interpreter.get_tensor_details()}
    outputs = {
        each["name"]: interpreter.get_tensor(each["index"])
        for each in interpreter.get_output_details()
    }
    return shapes, outputs


@pytest.mark.parametrize(("function", "size"), itertools.product(FUNCTIONS, SIZES))
def test_sizes_are_those_that_the_interpreter_runs_with(function, size):
    content = content_of(function)
    shapes, outputs = as_run(content, (*size, 3))
    file = TfliteFile(content, "a file", {"x": (*size, 3)})
    assert file.whole_because is None
    graph = TaskGraph.from_tflite(file)
    for name in graph.tensor_bytes:
        assert file.tensors[name].shape == shapes[name], name
    images = [image_for(file)[name] for name in file.inputs]
    for name, answer in zip(file.outputs, Segment(file.data).run(images), strict=True):
        np.testing.assert_allclose(answer, outputs[name], rtol=1e-4, atol=1e-5)
    if size in SIZES[:3]:
        check_pieces(file, [[task.name] for task in graph.tasks])
    elif len(graph.tasks) > 1:
        check_pieces(file, random_groups(graph, random.Random(f"{size}"), 3))


def test_costs_are_of_the_true_sizes():
    content = content_of(dilated)
    small, large = (
        TfliteFile(content, input_shapes={"": (1, side, side, 3)}).flops for side in (12, 120)
    )
    assert large == 100 * small == 2 * (120 * 120 * 4) * (3 * 3 * 3)


def test_an_open_size_that_nobody_said_is_asked_for():
    with pytest.raises(
        ModelFileError, match=r"photo leaves sizes of its inputs open: \S*x\S*=1x\?x\?x3; say them"
    ):
        TfliteFile(content_of(dilated), "photo")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"": (1, 8, 8)}, r"must have the shape \?x\?x\?x3, got 1x8x8"),
        ({"": (1, 8, 8, 4)}, r"must have the shape \?x\?x\?x3, got 1x8x8x4"),
        ({"": (1, 0, 8, 3)}, r"must have the shape \?x\?x\?x3, got 1x0x8x3"),
        ({"y": (1, 8, 8, 3)}, "input_shapes must be of the inputs .* of photo, got 'y'"),
    ],
)
def test_a_shape_that_does_not_suit_is_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        TfliteFile(content_of(dilated), "photo", shapes)


def test_a_size_that_no_layer_takes_is_refused_with_the_reason():
    file = TfliteFile(content_of(windows), "photo", {"x": (1, 7, 8, 3)})
    assert "refuses it: " in file.whole_because
    assert "RESHAPE" in file.whole_because


def detector():
    """Boxes and scores of 20 anchors, and the custom operator that makes detections of them."""
    module = tf.function(
        lambda boxes, scores: (nn.relu(boxes), tf.sigmoid(scores)),
        input_signature=[tf.TensorSpec((1, 20, 4)), tf.TensorSpec((1, 20, 3))],
    )
    with quiet():
        content = tf.lite.TFLiteConverter.from_concrete_functions(
            [module.get_concrete_function()]
        ).convert()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    anchors = schema.BufferT()
    anchors.data = (
        np.random.default_rng(0).random((20, 4)).astype(np.float32).view(np.uint8).ravel()
    )
    model.buffers.append(anchors)
    for name in ("anchors", "places", "classes", "likelihoods", "count"):
        tensor = schema.TensorT()
        tensor.name, tensor.type = name, schema.TensorType.FLOAT32
        tensor.shape = [20, 4] if name == "anchors" else []  # as such files say of the outputs
        tensor.buffer = len(model.buffers) - 1 if name == "anchors" else 0
        graph.tensors.append(tensor)
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = b"TFLite_Detection_PostProcess", 1
    model.operatorCodes.append(code)
    given = {
        "max_detections": 6, "max_classes_per_detection": 1, "num_classes": 2,
        "nms_score_threshold": 0.3, "nms_iou_threshold": 0.6, "y_scale": 10.0, "x_scale": 10.0,
        "h_scale": 5.0, "w_scale": 5.0,
    }  # fmt: skip
    operator.customOptions = np.frombuffer(flexbuffers.Dumps(given), np.uint8)
    operator.opcodeIndex = len(model.operatorCodes) - 1
    last = len(graph.tensors)
    by_width = {graph.tensors[i].shape[2]: i for i in graph.outputs}
    operator.inputs = [by_width[4], by_width[3], last - 5]
    operator.outputs = graph.outputs = [last - 4, last - 3, last - 2, last - 1]
    graph.operators.append(operator)
    model.signatureDefs = []
    return TfliteFile(packed(model))


def test_a_detector_s_post_processing_is_one_task_of_its_true_sizes():
    file = detector()
    assert file.whole_because is None
    assert [file.tensors[name].shape for name in file.outputs] == [(1, 6, 4), (1, 6), (1, 6), (1,)]
    graph = TaskGraph.from_tflite(file)
    assert [task.name.split("_", 1)[1] for task in graph.tasks][2:] == [
        "CUSTOM TFLite_Detection_PostProcess"
    ]
    values = check_pieces(file, [[task.name] for task in graph.tasks])
    assert all(np.ptp(value) > 0 for value in values.values())


@pytest.mark.parametrize("layer", [keras.layers.LSTM, keras.layers.GRU])
def test_a_recurrent_layer_is_cut_out_of_its_network(layer):
    frames = keras.Input((6, 5))
    x = layer(4, return_sequences=True)(keras.layers.Dense(3)(frames))
    file = TfliteFile(to_tflite(keras.Model(frames, keras.layers.Dense(2)(x))))
    graph = TaskGraph.from_tflite(file)
    kinds = [task.name.split("_", 1)[1] for task in graph.tasks]
    assert kinds[0] == kinds[-1] == "FULLY_CONNECTED"
    assert len(kinds) > 2
    check_pieces(file, [[task.name] for task in graph.tasks])


def test_a_fused_recurrent_layer_begins_every_answer_anew():
    """Its state is a variable, which an interpreter keeps between runs unless it is told not to."""
    model = schema.ModelT.InitFromPackedBuf(content_of_fused(), 0)
    assert any(tensor.isVariable for tensor in model.subgraphs[0].tensors)
    file = TfliteFile(content_of_fused())
    assert file.whole_because is None
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in {operator.kind for operator in file.operators}
    segment = Segment(file.data)
    frames = list(image_for(file).values())
    first = segment.run(frames)[0]
    assert np.ptp(first) > 0
    np.testing.assert_array_equal(segment.run(frames)[0], first)
    check_pieces(file, [[task.name] for task in TaskGraph.from_tflite(file).tasks])


@functools.cache
def content_of_fused():
    """An LSTM of 6 steps as the one operator that older Keras becomes, its states variables."""
    function = tf.function(nn.relu, input_signature=[tf.TensorSpec((1, 6, 5), name="x")])
    with quiet():
        content = tf.lite.TFLiteConverter.from_concrete_functions(
            [function.get_concrete_function()]
        ).convert()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    rng = np.random.default_rng(0)

    def added(name, shape, has_value=True):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), schema.TensorType.FLOAT32
        tensor.buffer, tensor.isVariable = 0, not has_value and name != "answer"
        if has_value:
            buffer = schema.BufferT()
            buffer.data = rng.normal(size=shape).astype(np.float32).ravel().view(np.uint8)
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
    code.deprecatedBuiltinCode, code.version = code.builtinCode, 1
    operator.opcodeIndex = len(model.operatorCodes)
    model.operatorCodes.append(code)
    operator.inputs = [
        graph.outputs[0],
        *(added(f"of the input {gate}", (4, 5)) for gate in range(4)),
        *(added(f"of the state {gate}", (4, 4)) for gate in range(4)),
        *[-1] * 3,
        *(added(f"bias {gate}", (4,)) for gate in range(4)),
        *[-1] * 2,
        *(added(name, (1, 4), False) for name in ("output state", "cell state")),
        *[-1] * 4,
    ]
    operator.outputs = graph.outputs = [added("answer", (1, 6, 4), False)]
    operator.builtinOptionsType = schema.BuiltinOptions.UnidirectionalSequenceLSTMOptions
    operator.builtinOptions = schema.UnidirectionalSequenceLSTMOptionsT()
    operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.TANH
    graph.operators.append(operator)
    model.signatureDefs = []
    return packed(model)


def test_what_says_how_xnnpack_computes_is_in_every_piece(small_file):
    model = schema.ModelT.InitFromPackedBuf(small_file.data, 0)
    for name, value in ((b"reduced_precision_support", b"fp16"), (b"author", b"somebody")):
        entry, buffer = schema.MetadataT(), schema.BufferT()
        entry.name, entry.buffer = name, len(model.buffers)
        buffer.data = np.frombuffer(value, np.uint8)
        model.buffers.append(buffer)
        model.metadata = [*(model.metadata or ()), entry]
    file = TfliteFile(packed(model))
    for task in TaskGraph.from_tflite(file).tasks[::5]:
        content = file.cut(task.operators, task.inputs, task.outputs)
        made = schema.ModelT.InitFromPackedBuf(content, 0)
        (entry,) = made.metadata
        assert entry.name == b"reduced_precision_support"
        assert bytes(made.buffers[entry.buffer].data) == b"fp16"


def test_a_size_that_depends_on_values_stays_open_and_its_file_whole():
    def found(x):
        places = tf.where(x > 0.5)
        return tf.cast(tf.shape(places)[0], tf.float32) + nn.relu(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownOperatorWarning)
        content = content_of(found)
        file = TfliteFile(content, input_shapes={"": (1, 4, 4, 3)})
        assert "is known only when it runs" in file.whole_because
        assert [task.name for task in TaskGraph.from_tflite(file).tasks] == ["model"]
    image = np.zeros((1, 4, 4, 3), np.float32)
    image[0, :2, 0, 0] = 1
    np.testing.assert_array_equal(Segment(file.data).run([image])[0], image + 2)
