import re

import keras
import numpy as np
import pytest

import keras_concurrent.layers  # noqa: F401 - the layers of saved and converted models
from keras_concurrent.convert import to_tflite
from keras_concurrent.errors import ConversionError
from keras_concurrent.interpreter import Segment
from keras_concurrent.layers import TransformationBlock
from keras_concurrent.models import build_model
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile

NETWORKS = {
    "separable, concat": ("DP", 12, {}),
    "separable, stem, merge": ("WS", 8, {"stem_filters": 6, "head": "merge"}),
    "dense, merge": ("ER", 8, {"separable": False, "head": "merge"}),
    "dense, stem, concat": ("DP", 12, {"separable": False, "stem_filters": 6}),
}


def unlike_ones(model, seed=0):
    """Give every weight of a weighted sum a value that the converter cannot fold away."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "/weight_" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5))
        elif "gamma" in weight.path or "beta" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


def settled(model, images):
    """Take the images' own statistics for the normalisations, so that answers differ by image."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    return model


IMAGES = np.random.default_rng(1).random((4, 16, 16, 3), dtype=np.float32)
IMAGES *= np.float32([-1, 0.1, 1, 5]).reshape(4, 1, 1, 1)


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=list(NETWORKS))
def converted(request):
    kind, vertices, arguments = request.param
    architecture = stage(
        generate(kind, vertices, seed=4),
        (16, 16, 3),
        5,
        filters=4,
        channel_cap=16,
        seed=1,
        **arguments,
    )
    keras.utils.set_random_seed(0)
    model = settled(unlike_ones(build_model(architecture)), IMAGES)
    return architecture, model, to_tflite(model)


def test_the_file_answers_like_keras(converted):
    _, model, content = converted
    segment = Segment(content)
    ours = np.concatenate([segment.run([image[None]])[0] for image in IMAGES])
    theirs = keras.ops.convert_to_numpy(model(IMAGES))
    assert np.ptp(theirs, axis=0).max() > 1e-3  # different images, different answers
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_names_and_a_batch_of_one_are_kept(converted):
    architecture, model, content = converted
    file = TfliteFile(content)
    assert file.inputs == ("image",)
    assert file.outputs == ("classes",) == tuple(model.output_names)
    assert file.tensors["image"].shape == (1, 16, 16, 3)
    assert file.tensors["classes"].shape == (1, architecture.classes)


def test_the_architecture_knows_the_flops_of_every_vertex_of_the_file(converted):
    architecture, _, content = converted
    predicted = {t.name: t.flops for t in TaskGraph.from_architecture(architecture).tasks}
    counted = dict.fromkeys(predicted, 0)
    for task in TaskGraph.from_tflite(TfliteFile(content)).tasks:
        for vertex in task.vertices:
            counted[vertex] += task.flops
    assert counted == predicted


def test_the_architecture_knows_the_number_of_parameters(converted):
    architecture, model, _ = converted
    assert architecture.parameters == model.count_params()


def test_the_architecture_knows_the_bytes_of_every_tensor_of_the_file(converted):
    architecture, _, content = converted
    graph = TaskGraph.from_architecture(architecture)
    file = TfliteFile(content)
    last = {}
    for task in TaskGraph.from_tflite(file).tasks:
        if task.name.endswith("_CONV_2D"):  # a vertex ends with its convolution
            last.update(dict.fromkeys(task.vertices, task.outputs[0]))
        average = re.search(r"average_(vertex_\d+)_", task.outputs[0])
        if average:  # a last one of the concat head with the average
            last[average.group(1)] = task.outputs[0]
    found = {vertex: file.tensors[tensor].bytes for vertex, tensor in last.items()}
    size = 16 * 16 * (architecture.stem_filters or 3) * 4
    assert {"source": size, **found} == dict(graph.tensor_bytes)


def test_several_inputs_and_outputs_keep_names_and_order():
    right = keras.Input((4, 4, 2), name="right")
    left = keras.Input((8, 8, 3), name="left")
    x = TransformationBlock(4, name="joined")([left, right])
    first = keras.layers.Conv2D(2, 1, name="zebra")(x)
    second = keras.layers.GlobalAveragePooling2D(name="ant")(x)
    model = unlike_ones(keras.Model([right, left], [first, second], name="two"))
    content = to_tflite(model)
    file = TfliteFile(content)
    assert file.inputs == ("right", "left")
    assert file.outputs == ("zebra", "ant")
    rng = np.random.default_rng(2)
    images = {
        "right": rng.random((1, 4, 4, 2), dtype=np.float32),
        "left": rng.random((1, 8, 8, 3), dtype=np.float32),
    }
    segment = Segment(content)
    answers = dict(
        zip(
            segment.output_names, segment.run([images[n] for n in segment.input_names]), strict=True
        )
    )
    zebra, ant = (keras.ops.convert_to_numpy(x) for x in model([images["right"], images["left"]]))
    np.testing.assert_allclose(answers["zebra"], zebra, atol=1e-5)
    np.testing.assert_allclose(answers["ant"], ant, atol=1e-5)


def test_inputs_in_a_dict_keep_their_names():
    inputs = {name: keras.Input((2, 2, 1), name=name) for name in ("b", "a")}
    outputs = keras.layers.Subtract(name="difference")([inputs["b"], inputs["a"]])
    segment = Segment(to_tflite(keras.Model(inputs, outputs)))
    values = {"a": np.full((1, 2, 2, 1), 1, "float32"), "b": np.full((1, 2, 2, 1), 5, "float32")}
    (answer,) = segment.run([values[name] for name in segment.input_names])
    np.testing.assert_array_equal(answer, np.full((1, 2, 2, 1), 4))


def test_twelve_inputs_keep_their_names():
    inputs = [keras.Input((1,), name=f"in_{i}") for i in range(12)]
    outputs = keras.layers.Concatenate(name="all")(inputs)
    segment = Segment(to_tflite(keras.Model(inputs, outputs)))
    values = {f"in_{i}": np.float32([[i]]) for i in range(12)}
    (answer,) = segment.run([values[name] for name in segment.input_names])
    np.testing.assert_array_equal(answer, [np.arange(12)])


def test_an_unknown_size_is_refused_by_name():
    image = keras.Input((None, 8, 3), name="photograph")
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(image))
    with pytest.raises(ValueError, match=r"inputs of known size, got 'photograph' of shape"):
        to_tflite(model)


def layers_of_a_model():
    return [keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(3)]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.convolution, self.flat, self.dense = layers_of_a_model()

    def call(self, inputs):
        return self.dense(self.flat(self.convolution(inputs)))


def with_an_input():
    return keras.Sequential([keras.Input((5, 5, 1)), *layers_of_a_model()])


def built():
    model = keras.Sequential(layers_of_a_model())
    model.build((None, 5, 5, 1))
    return model


def called():
    model = Subclassed()
    model(np.zeros((2, 5, 5, 1)))
    return model


@pytest.mark.parametrize("make", [with_an_input, built, called])
def test_a_model_that_is_not_functional_answers_alike(make):
    model = make()
    image = np.random.default_rng(0).random((1, 5, 5, 1), dtype=np.float32)
    (answer,) = Segment(to_tflite(model)).run([image])
    np.testing.assert_allclose(answer, keras.ops.convert_to_numpy(model(image)), atol=1e-5)


def of_two_inputs():
    class Sum(keras.Model):
        def call(self, inputs):
            return inputs[0] + inputs[1]

    model = Sum(name="sum")
    model([np.zeros((1, 4)), np.zeros((1, 4))])
    return model


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: keras.Sequential(layers_of_a_model(), name="open"),
            "Sequential 'open': let it start with a keras.Input",
        ),
        (Subclassed, r"Subclassed 'own': give keras.Model\(x, model\(x\)\)"),
        (of_two_inputs, r"Sum 'sum': give keras.Model\(x, model\(x\)\)"),
    ],
)
def test_a_model_of_unknown_inputs_is_refused_with_what_to_do(make, said):
    with pytest.raises(TypeError, match="inputs are known, got the " + said):
        to_tflite(make())


@keras.saving.register_keras_serializable("test_convert")
class Fickle(keras.layers.Layer):
    """Answers differently each time it is traced or called."""

    times = 0

    def call(self, inputs):
        self.times += 1
        return inputs + self.times


@keras.saving.register_keras_serializable("test_convert")
class Undefined(keras.layers.Layer):
    def call(self, inputs):
        return keras.ops.log(inputs - 2.0)  # images lie in [0, 1)


@pytest.mark.parametrize("layer", [Fickle, Undefined])
def test_a_model_whose_conversion_answers_otherwise_is_refused(layer):
    image = keras.Input((2, 2, 1), name="image")
    model = keras.Model(image, layer(name="answer")(image), name="odd")
    with pytest.raises(ConversionError, match="model 'odd' differs from Keras at output 'answer'"):
        to_tflite(model)


def test_the_tolerance_is_relative_to_large_answers():
    image = keras.Input((2, 2, 1), name="image")
    large = keras.layers.Rescaling(1e6, name="large")(image)
    to_tflite(keras.Model(image, large), tolerance=1e-5)
    with pytest.raises(ConversionError, match="expected at most -1, got"):
        to_tflite(keras.Model(image, large), tolerance=-1)


def test_a_model_that_has_no_operators_for_a_board_is_refused(capfd):
    image = keras.Input((4,), name="image")

    class Foreign(keras.layers.Layer):
        def call(self, inputs):
            import tensorflow as tf

            return tf.strings.length(tf.strings.as_string(inputs)) + 1

    model = keras.Model(image, Foreign(name="answer")(image), name="foreign")
    with pytest.raises(ConversionError, match="model 'foreign' cannot be converted"):
        to_tflite(model)
