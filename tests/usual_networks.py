"""Networks of keras.applications with random weights, as .tflite files of four precisions."""

import functools
import math
import warnings

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from keras_concurrent.interpreter import quiet
from keras_concurrent.tflite.file import TfliteFile

SHAPE = (1, 96, 96, 3)
NETWORKS = (
    "DenseNet121", "EfficientNetB0", "InceptionV3", "MobileNet", "MobileNetV2",
    "MobileNetV3Small", "NASNetMobile", "ResNet50", "VGG16", "Xception",
)  # fmt: skip


def build(name):
    """The Keras model, its weights such that no converter can fold a layer away."""
    keras.utils.set_random_seed(0)
    # VGG16 without its two dense layers of 4,096, nine tenths of its bytes.
    top = {"include_top": False, "pooling": "avg"} if name == "VGG16" else {"classes": 10}
    model = getattr(keras.applications, name)(weights=None, input_shape=SHAPE[1:], **top)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        kind = weight.path.rsplit("/", 1)[-1]
        if kind in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif kind in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    return model


@functools.cache
def frozen(name):
    """The model's graph, its weights constants, and the FLOPs of its batch normalisation.

    These are what TensorFlow's profiler counts: 2 an element, and 6 a channel for scale and offset.
    """
    model = build(name)
    function = tf.function(
        lambda image: model(image, training=False), input_signature=[tf.TensorSpec(SHAPE)]
    )
    shapes = [
        layer.output.shape[1:]
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    normalisation = sum(2 * math.prod(shape) + 6 * shape[-1] for shape in shapes)
    return convert_variables_to_constants_v2(function.get_concrete_function()), normalisation


@functools.cache
def network(name, precision):
    """The file. The precisions: float32, float16, dynamic (int8 weights), int8 (everything)."""
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen(name)[0]])
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        rng = np.random.default_rng(0)
        converter.representative_dataset = lambda: (
            [rng.random(SHAPE, dtype=np.float32)] for _ in range(2)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")
        return TfliteFile(converter.convert(), f"{name}, {precision}")


def forget():
    """Free the memory of all networks."""
    frozen.cache_clear()
    network.cache_clear()
