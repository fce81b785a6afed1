"""FLOPs of operators, redone by hand: two for each multiply-accumulate."""

import keras
import pytest
import tensorflow as tf

from keras_concurrent.interpreter import quiet
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.tflite.operator_cost import flops_of, is_known

layers = keras.layers


def task_flops(layer, *shapes):
    """Kind and FLOPs of what a layer becomes in a file with a batch of one."""
    inputs = [keras.Input(shape, batch_size=1) for shape in shapes]
    model = keras.Model(inputs, layer(*inputs))
    with quiet():
        content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    return {
        t.name.split("_", 1)[1]: t.flops for t in TaskGraph.from_tflite(TfliteFile(content)).tasks
    }


@pytest.mark.parametrize(
    ("layer", "shapes", "kind", "flops"),
    [
        # Each of the 8x8x5 outputs: a 3x3 window of 4 channels.
        (layers.Conv2D(5, 3, padding="same"), [(8, 8, 4)], "CONV_2D", 2 * 8 * 8 * 5 * 9 * 4),
        # Dilation widens the window, not the work.
        (layers.Conv2D(5, 3, dilation_rate=2), [(8, 8, 4)], "CONV_2D", 2 * 4 * 4 * 5 * 9 * 4),
        # Two groups: each output sees half of the 4 channels.
        (layers.Conv2D(6, 3, groups=2), [(8, 8, 4)], "CONV_2D", 2 * 6 * 6 * 6 * 9 * 2),
        (layers.Conv1D(6, 3), [(8, 4)], "CONV_2D", 2 * 6 * 6 * 3 * 4),
        (
            layers.DepthwiseConv2D((3, 5), padding="same", strides=2),
            [(8, 8, 4)],
            "DEPTHWISE_CONV_2D",
            2 * 4 * 4 * 4 * 15,
        ),
        # Each of the 4x4x3 inputs is multiplied with a 3x3 window of 5 filters.
        (
            layers.Conv2DTranspose(5, 3, strides=2, padding="same"),
            [(4, 4, 3)],
            "TRANSPOSE_CONV",
            2 * 4 * 4 * 3 * 9 * 5,
        ),
        (layers.Conv3D(6, 2), [(4, 4, 4, 5)], "CONV_3D", 2 * 3**3 * 6 * 2**3 * 5),
        (layers.Dense(7), [(6,)], "FULLY_CONNECTED", 2 * 7 * 6),
        (layers.Dense(7), [(3, 6)], "FULLY_CONNECTED", 2 * 3 * 7 * 6),
        # (2, 3) by (3, 4): 2x4 results of 3 products.
        (layers.Dot((2, 1)), [(2, 3), (3, 4)], "BATCH_MATMUL", 2 * 2 * 4 * 3),
        (layers.Dot((2, 2)), [(2, 3), (4, 3)], "BATCH_MATMUL", 2 * 2 * 4 * 3),
        (layers.MaxPooling2D(2), [(8, 8, 4)], "MAX_POOL_2D", 4 * 4 * 4 * 4),
        (layers.AveragePooling2D(3, 1), [(8, 8, 4)], "AVERAGE_POOL_2D", 6 * 6 * 4 * 9),
        (layers.GlobalAveragePooling2D(), [(8, 8, 4)], "MEAN", 8 * 8 * 4),
        (layers.UpSampling2D(2, interpolation="bilinear"), [(4, 4, 3)], "RESIZE_BILINEAR",
         2 * 8 * 8 * 3 * 4),
        (layers.Activation("sigmoid"), [(4, 4, 3)], "LOGISTIC", 4 * 4 * 3),
        (layers.Maximum(), [(4, 3), (4, 3)], "MAXIMUM", 4 * 3),
        (layers.ZeroPadding2D(1), [(4, 4, 3)], "PAD", 0),
        (layers.Concatenate(), [(4, 3), (4, 2)], "CONCATENATION", 0),
    ],
)  # fmt: skip
def test_flops_of_a_layer(layer, shapes, kind, flops):
    inputs = (lambda *tensors: layer(list(tensors))) if len(shapes) > 1 else layer
    assert task_flops(inputs, *shapes)[kind] == flops


def test_flops_of_operators_that_no_layer_gives():
    assert flops_of("RESIZE_NEAREST_NEIGHBOR", None, [(1, 2, 2, 3)], [(1, 4, 4, 3)]) == 0
    assert flops_of("ADD_N", None, [(2, 3)] * 4, [(2, 3)]) == 3 * 6  # three additions each
    assert flops_of("L2_NORMALIZATION", None, [(2, 3)], [(2, 3)]) == 2 * 6 + 6
    # Output shape, filter (depth, height, width, out, in), input: 27 inputs x 4 channels each
    # times a window of 8 and 6 filters.
    shapes = [(5,), (2, 2, 2, 6, 4), (1, 3, 3, 3, 4)]
    assert flops_of("CONV_3D_TRANSPOSE", None, shapes, [(1, 6, 6, 6, 6)]) == 2 * 27 * 4 * 8 * 6


def test_flops_of_sound_and_detection():
    # 3 transforms of 16 real values each, half the work of 16 complex ones.
    assert flops_of("RFFT2D", None, [(3, 1, 16), (2,)], [(3, 1, 9)]) == 3 * (5 * 16 * 4 / 2)
    assert flops_of("COMPLEX_ABS", None, [(3, 9)], [(3, 9)]) == 4 * 27
    assert flops_of("CUMSUM", None, [(3, 9), ()], [(3, 9)]) == 27
    assert flops_of("SEGMENT_SUM", None, [(10, 4), (10,)], [(3, 4)]) == 40
    # Each of 100 values goes through a heap of 8.
    assert flops_of("TOPK_V2", None, [(2, 50), ()], [(2, 8), (2, 8)]) == 100 * 3
    # Each of 64 boxes against each of 5 that are kept, once sorted.
    shapes = [(64, 4), (64,), (), (), ()]
    assert flops_of("NON_MAX_SUPPRESSION_V4", None, shapes, [(5,), ()]) == 64 * 5 * 12 + 64 * 6
    shapes = [(1, 64, 4), (1, 64, 3), (64, 4)]
    assert (
        flops_of("CUSTOM TFLite_Detection_PostProcess", None, shapes, [(1, 5, 4)])
        == 64 * 20 + 64 * 3 + 64 * 5 * 12
    )


def test_flops_of_a_recurrent_layer():
    # 12 steps of 4 gates, each 7 x 5 values of the input and 7 x 7 of the state.
    shapes = [(1, 12, 5), *[(7, 5)] * 4, *[(7, 7)] * 4]
    assert flops_of("UNIDIRECTIONAL_SEQUENCE_LSTM", None, shapes, [(1, 12, 7)]) == (
        12 * 4 * 2 * (7 * 5 + 7 * 7)
    )


def test_an_unknown_operator_counts_one_operation_an_output_element():
    assert is_known("CONV_2D")
    assert not is_known("SVDF")
    assert flops_of("SVDF", None, [(9, 9)], [(2, 3), (4,)]) == 2 * 3 + 4
