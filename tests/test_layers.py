import inspect
import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_concurrent import layers
from keras_concurrent.layers import (
    BranchBlock,
    ConvBlock,
    ScalingBlock,
    TransformationBlock,
    WeightedSum,
)
from keras_concurrent.networks.convolutions import BRANCHES


@dataclass(frozen=True)
class Example:
    """How to make a layer, what to feed it, and what must come out."""

    kind: type
    inputs: Any
    outputs: Any
    trainable: int
    fixed: int
    arguments: dict[str, Any] = field(default_factory=dict)


MIXED = [(2, 8, 8, 3), (2, 4, 4, 5), (2, 2, 4, 1)]
ODD = [(2, 9, 7, 3), (2, 5, 4, 5)]  # 9 and 7 halve to 5 and 4
EXAMPLES = {
    "scaling one": Example(ScalingBlock, (2, 8, 8, 3), [(2, 8, 8, 3)], 0, 0),
    "scaling equal": Example(ScalingBlock, [(2, 4, 4, 3)] * 2, [(2, 4, 4, 3)] * 2, 0, 0),
    # The first and the third are widened to 5 channels: kernel and bias each.
    "scaling mixed": Example(ScalingBlock, MIXED, [(2, 2, 4, 5)] * 3, 4, 0),
    "scaling halved": Example(ScalingBlock, ODD, [(2, 5, 4, 5)] * 2, 2, 0, {"padding": "same"}),
    "sum one": Example(WeightedSum, (2, 4, 4, 3), (2, 4, 4, 3), 1, 0),
    "sum three": Example(
        WeightedSum,
        [(2, 4, 4, 3)] * 3,
        (2, 4, 4, 3),
        3,
        0,
        {"weight_initializer": "random_normal"},
    ),
    "sum flat": Example(WeightedSum, [(2, 7)] * 2, (2, 7), 2, 0),
    "sum plain": Example(WeightedSum, [(2, 7)] * 2, (2, 7), 2, 0, {"activation": None}),
    "sum squashed weights": Example(
        WeightedSum,
        [(2, 7)] * 2,
        (2, 7),
        2,
        0,
        {"activation": None, "weight_activation": "sigmoid"},
    ),
    # Depthwise and pointwise kernels, gamma and beta; moving mean and variance.
    "conv separable": Example(ConvBlock, (2, 8, 8, 3), (2, 8, 8, 6), 4, 2, {"filters": 6}),
    "conv dense": Example(
        ConvBlock,
        (2, 7, 7, 3),
        (2, 4, 4, 6),
        3,
        2,
        {
            "filters": 6,
            "strides": 2,
            "separable": False,
            "kernel_size": 5,
            "momentum": 0.8,
            "gamma": 1.0,
            "beta": 0.5,
        },
    ),
    "transformation one": Example(
        TransformationBlock, (2, 8, 8, 3), (2, 8, 8, 6), 5, 2, {"filters": 6}
    ),
    # Two widenings of 2, three weights, then 3 (dense) and 2.
    "transformation mixed": Example(
        TransformationBlock,
        MIXED,
        (2, 1, 2, 6),
        4 + 3 + 3,
        2,
        {"filters": 6, "strides": 2, "separable": False, "weight_initializer": "glorot_uniform"},
    ),
    # A kernel, gamma and beta a convolution; moving mean and variance.
    "plain one": Example(BranchBlock, (2, 7, 8, 3), (2, 7, 8, 6), 3, 2, {"filters": 6}),
    # One widening of 2, two weights, then 3 for each of two convolutions and the projection.
    "residual mixed": Example(
        BranchBlock,
        ODD,
        (2, 2, 1, 6),
        2 + 2 + 3 * 3,
        3 * 2,
        {"filters": 6, "block": "residual", "depth": 2, "strides": 4},
    ),
    "residual same shape": Example(
        BranchBlock, (2, 5, 5, 6), (2, 5, 5, 6), 3, 2, {"filters": 6, "block": "residual"}
    ),
    "separable mixed": Example(
        BranchBlock,
        ODD,
        (2, 3, 2, 6),
        2 + 2 + 4 * 3,
        4 * 2,
        {"filters": 6, "block": "separable", "depth": 2, "strides": 2, "momentum": 0.8},
    ),
    "inverted two": Example(
        BranchBlock,
        (2, 6, 6, 2),
        (2, 3, 3, 4),
        6 * 3,
        6 * 2,
        {"filters": 4, "block": "inverted", "depth": 2, "strides": 2},
    ),
}
each_example = pytest.mark.parametrize("example", EXAMPLES.values(), ids=list(EXAMPLES))


def random(shape, seed=0):
    """Random inputs of a shape, or of a list of shapes."""
    rng = np.random.default_rng(seed)
    if isinstance(shape, list):
        return [rng.standard_normal(s, dtype=np.float32) for s in shape]
    return rng.standard_normal(shape, dtype=np.float32)


def arrays(outputs):
    return [keras.ops.convert_to_numpy(x) for x in keras.tree.flatten(outputs)]


def test_every_public_layer_is_in_the_table():
    public = {
        value
        for name, value in inspect.getmembers(layers, inspect.isclass)
        if issubclass(value, keras.layers.Layer)
    }
    assert public == {example.kind for example in EXAMPLES.values()}
    assert {kind.__name__ for kind in public} == set(layers.__all__)


# The harness feeds a generator to fit.
@pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning")
@each_example
def test_the_layer_passes_keras_own_checks(example):
    TestCase().run_layer_test(
        example.kind,
        init_kwargs=example.arguments,
        input_shape=example.inputs,
        expected_output_shape=example.outputs,
        expected_num_trainable_weights=example.trainable,
        expected_num_non_trainable_weights=example.fixed,
        expected_num_losses=0,
        # The harness can train on one tensor only; see the next test.
        run_training_check=isinstance(example.inputs, tuple) and example.kind is not ScalingBlock,
    )


@pytest.mark.parametrize(
    "example", [e for e in EXAMPLES.values() if e.trainable], ids=lambda e: e.kind.__name__
)
def test_a_training_step_moves_every_trainable_weight(example):
    keras.utils.set_random_seed(1)
    layer = example.kind(**example.arguments)
    shapes = example.inputs if isinstance(example.inputs, list) else [example.inputs]
    inputs = [keras.Input(shape[1:]) for shape in shapes]
    outputs = keras.tree.flatten(layer(inputs if len(inputs) > 1 else inputs[0]))
    joined = keras.layers.Concatenate()([keras.layers.Flatten()(x) for x in (*outputs, *outputs)])
    model = keras.Model(inputs, joined)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    for weight in layer.trainable_weights:
        if "weight_" in weight.path:
            weight.assign(1.0)  # a negative sum would end in the ReLU
    before = [keras.ops.convert_to_numpy(w) for w in layer.trainable_weights]
    given = [random(shape, seed) for seed, shape in enumerate(shapes)]
    model.train_on_batch(given, random((2, joined.shape[1]), 9))
    for weight, old in zip(layer.trainable_weights, before, strict=True):
        assert not np.array_equal(weight.numpy(), old), weight.path
    assert len(before) == example.trainable


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@each_example
def test_mixed_precision_computes_low_and_keeps_weights_in_float32(example, policy):
    layer = example.kind(**example.arguments, dtype=policy)
    given = random(example.inputs)
    outputs = keras.tree.flatten(layer(given))
    low = policy.removeprefix("mixed_")
    assert {keras.backend.standardize_dtype(x.dtype) for x in outputs} == {low}
    assert {str(weight.dtype) for weight in layer.weights} <= {"float32"}
    exact = example.kind(**example.arguments)
    exact(given)
    exact.set_weights(layer.get_weights())
    for ours, theirs in zip(outputs, arrays(exact(given)), strict=True):
        ours = keras.ops.convert_to_numpy(keras.ops.cast(ours, "float32"))
        np.testing.assert_allclose(ours, theirs, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "example",
    [e for e in EXAMPLES.values() if e.inputs not in (MIXED, ODD)],
    ids=lambda e: e.kind.__name__,
)
def test_unknown_sizes_and_batch_are_given_on(example):
    def open_ended(shape):
        return (None, *(None for _ in shape[1:-1]), shape[-1])

    shapes = example.inputs if isinstance(example.inputs, list) else [example.inputs]
    symbolic = [keras.Input(open_ended(shape)[1:]) for shape in shapes]
    given = symbolic if isinstance(example.inputs, list) else symbolic[0]
    model = keras.Model(given, example.kind(**example.arguments)(given))
    wanted = example.outputs if isinstance(example.outputs, list) else [example.outputs]
    assert [tuple(x.shape) for x in model.outputs] == [open_ended(shape) for shape in wanted]
    values = random(example.inputs)
    assert [x.shape for x in arrays(model(values))] == wanted


@each_example
def test_a_loaded_configuration_makes_an_equal_layer(example):
    layer = example.kind(**example.arguments, name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    given = random(example.inputs)
    layer(given)
    again(given)
    again.set_weights(layer.get_weights())
    assert again.name == "mine"
    for ours, theirs in zip(arrays(layer(given)), arrays(again(given)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# ---------------------------------------------------------------- hand values


def test_a_weighted_sum_of_zeros_is_half_the_sum_of_its_weights():
    layer = WeightedSum()
    zeros = [np.zeros((1, 2, 2, 1), "float32")] * 3
    np.testing.assert_allclose(layer(zeros), np.full((1, 2, 2, 1), 0.5 * 3))  # ones at first
    layer.set_weights([np.float32(w) for w in (2.0, -1.0, 0.25)])
    np.testing.assert_allclose(layer(zeros), np.full((1, 2, 2, 1), 0.5 * (2 - 1 + 0.25)))


def test_a_weighted_sum_by_hand():
    layer = WeightedSum()
    a, b = np.float32([[0.0, np.log(3)]]), np.float32([[-np.log(3), 100.0]])
    layer.build([a.shape, b.shape])
    layer.set_weights([np.float32(2), np.float32(4)])
    # sigmoid(0) = 1/2, sigmoid(log 3) = 3/4, sigmoid(-log 3) = 1/4, sigmoid(100) = 1.
    np.testing.assert_allclose(layer([a, b]), [[2 / 2 + 4 / 4, 2 * 3 / 4 + 4 * 1]], rtol=1e-6)


def test_without_an_activation_the_sum_is_plain():
    layer = WeightedSum(activation=None)
    a, b = np.float32([[1.0, -2.0]]), np.float32([[10.0, 20.0]])
    layer.build([a.shape, b.shape])
    layer.set_weights([np.float32(2), np.float32(0.5)])
    np.testing.assert_allclose(layer([a, b]), [[2 + 5, -4 + 10]])
    block = TransformationBlock(1, activation=None)
    block.build((1, 2, 2, 1))
    np.testing.assert_allclose(
        block.weighted_sum(np.full((1, 2, 2, 1), 7.0)), np.full((1, 2, 2, 1), 7)
    )


def test_a_normalisation_starts_from_its_given_scale_and_shift():
    for layer in (ConvBlock(2, gamma=3.0, beta=-1.0), TransformationBlock(2, gamma=3.0, beta=-1.0)):
        layer.build((None, 4, 4, 1))
        start = getattr(layer, "conv_block", layer).normalization
        np.testing.assert_array_equal(start.gamma, [3, 3])
        np.testing.assert_array_equal(start.beta, [-1, -1])


def test_a_weighted_sum_stays_bounded_however_large_its_inputs():
    layer = WeightedSum()
    huge = [np.full((1, 2, 2, 1), s, "float32") for s in (1e30, -1e30, 1e30)]
    np.testing.assert_allclose(layer(huge), np.full((1, 2, 2, 1), 2.0))


def test_scaling_takes_the_maximum_of_each_window():
    large = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    small = np.float32([[[[-1.0], [-2.0]], [[-3.0], [-4.0]]]])
    pooled, untouched = ScalingBlock()([large, small])
    #  0  1 |  2  3
    #  4  5 |  6  7
    # ------+------
    #  8  9 | 10 11
    # 12 13 | 14 15
    np.testing.assert_array_equal(pooled, [[[[5], [7]], [[13], [15]]]])
    np.testing.assert_array_equal(untouched, small)


def test_scaling_pools_each_axis_by_its_own_factor():
    tall = np.arange(8, dtype="float32").reshape(1, 4, 2, 1)
    low = np.zeros((1, 2, 2, 1), "float32")
    np.testing.assert_array_equal(ScalingBlock()([low, tall])[1], [[[[2], [3]], [[6], [7]]]])


def test_scaling_widens_the_poorer_input_by_a_1x1_convolution():
    layer = ScalingBlock()
    poor = np.float32([[[[3.0]]]])
    rich = np.float32([[[[1.0, 2.0]]]])
    layer.build([poor.shape, rich.shape])
    layer.set_weights([np.float32([[[[10.0, 20.0]]]]), np.float32([1.0, 2.0])])
    widened, untouched = layer([poor, rich])
    np.testing.assert_allclose(widened, [[[[3 * 10 + 1, 3 * 20 + 2]]]])
    np.testing.assert_array_equal(untouched, rich)


def test_a_conv_block_by_hand():
    layer = ConvBlock(1, separable=False)
    layer.build((None, 2, 2, 1))
    kernel = np.zeros((3, 3, 1, 1), "float32")
    kernel[1, 1], kernel[1, 2] = 2, 1  # twice the pixel and its right neighbour
    gamma, beta, mean, variance = (np.float32([v]) for v in (3, 1, 4, 0.25 - 1e-3))
    layer.set_weights([kernel, gamma, beta, mean, variance])
    image = np.float32([[[[1.0], [-5.0]], [[2.0], [3.0]]]])
    # ReLU: 1 0 / 2 3. Convolution: 2 0 / 7 6. Normalised: (x - 4) / 0.5 * 3 + 1.
    np.testing.assert_allclose(layer(image), [[[[-11], [-23]], [[19], [13]]]], rtol=1e-5)


def test_only_training_moves_the_normalisation():
    layer = ConvBlock(2, momentum=0.9)
    image = random((4, 4, 4, 3))
    layer(image)
    before = layer.normalization.moving_mean.numpy().copy()
    layer(image, training=False)
    np.testing.assert_array_equal(layer.normalization.moving_mean, before)
    layer(image, training=True)
    convolved = keras.ops.convert_to_numpy(layer.convolution(keras.ops.relu(image)))
    moved = 0.9 * before + 0.1 * convolved.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(layer.normalization.moving_mean, moved, rtol=1e-4, atol=1e-6)


def test_a_transformation_block_is_its_three_parts():
    block = TransformationBlock(6, strides=2)
    given = random(MIXED)
    whole = arrays(block(given))[0]
    parts = block.conv_block(block.weighted_sum(block.scaling(given)))
    np.testing.assert_array_equal(whole, arrays(parts)[0])
    assert whole.shape == (2, 1, 2, 6)


def test_the_sum_of_xie_et_al_squashes_its_weights_and_not_its_inputs():
    layer = WeightedSum(activation=None, weight_activation="sigmoid")
    a, b = np.float32([[100.0, -2.0]]), np.float32([[10.0, 20.0]])
    layer.build([a.shape, b.shape])
    layer.set_weights([np.float32(0), np.float32(np.log(3))])  # sigmoids 1/2 and 3/4
    np.testing.assert_allclose(layer([a, b]), [[50 + 7.5, -1 + 15]], rtol=1e-6)


def test_scaling_by_halvings_pools_a_rest_too():
    row = np.float32([3, 1, 4, 1, 5]).reshape(1, 1, 5, 1)
    pooled, _ = ScalingBlock("same")([row, np.zeros((1, 1, 3, 1), "float32")])
    np.testing.assert_array_equal(pooled[0, 0, :, 0], [3, 4, 5])
    # Of 13 positions windows of 4 leave 4, as two halvings do; three are beyond the edges.
    image = random((1, 13, 10, 2))
    pooled, _ = ScalingBlock("same")([image, np.zeros((1, 4, 3, 2), "float32")])
    assert pooled.shape == (1, 4, 3, 2)
    np.testing.assert_array_equal(keras.ops.max(pooled, (1, 2)), image.max((1, 2)))


def as_usual(x, weights, rectifies):
    """Convolutions of SAME padding with their normalisations, by Keras's functions."""
    for kernel, (gamma, beta, mean, variance), strides, rectified in zip(
        weights[0], weights[1], weights[2], rectifies, strict=True
    ):
        depthwise = kernel.shape[-1] == 1
        convolve = keras.ops.depthwise_conv if depthwise else keras.ops.conv
        x = convolve(x, kernel, strides=strides, padding="same")
        x = (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
        x = keras.ops.relu(x) if rectified else x
    return x


def drawn(block, given):
    """A block with random weights, its kernels and its normalisations' weights."""
    block(given)
    rng = np.random.default_rng(3)
    block.set_weights([rng.uniform(-0.5, 1.5, w.shape) for w in block.get_weights()])
    for normalization in block._normalizations:
        normalization.moving_variance.assign(rng.uniform(0.5, 2, normalization.gamma.shape))
    kernels = [w.numpy() for w in block.weights if "kernel" in w.path and "widen" not in w.path]
    return kernels, [[w.numpy() for w in n.weights] for n in block._normalizations]


def test_a_residual_branch_is_two_convolutions_beside_a_projection():
    given = random((2, 5, 6, 3))
    block = BranchBlock(4, "residual", depth=2, strides=2)
    (first, second, beside), (a, b, c) = drawn(block, given)
    main = as_usual(given, ([first, second], [a, b], [2, 1]), [True, False])
    short = as_usual(given, ([beside], [c], [2]), [False])
    assert beside.shape == (1, 1, 3, 4)
    np.testing.assert_allclose(block(given), keras.ops.relu(main + short), rtol=1e-4, atol=1e-5)


def test_an_inverted_branch_adds_its_input_where_the_shape_stays_and_ends_without_a_relu():
    given = random((2, 5, 6, 3))
    block = BranchBlock(3, "inverted", depth=2)
    kernels, normalized = drawn(block, given)
    assert [kernel.shape for kernel in kernels[:3]] == [(1, 1, 3, 18), (3, 3, 18, 1), (1, 1, 18, 3)]
    x = given
    for at in (0, 3):
        part = kernels[at : at + 3], normalized[at : at + 3], [1, 1, 1]
        x = x + as_usual(x, part, [True, True, False])
    assert float(keras.ops.min(x)) < 0
    np.testing.assert_allclose(block(given), x, rtol=1e-4, atol=1e-4)


def test_a_plain_branch_is_the_weighted_sum_then_its_convolutions():
    given = random([(2, 4, 4, 3)] * 2)
    block = BranchBlock(5, depth=2)
    kernels, normalized = drawn(block, given)
    block.weighted_sum.set_weights([np.float32(0), np.float32(np.log(3))])
    x = as_usual(0.5 * given[0] + 0.75 * given[1], (kernels, normalized, [1, 1]), [True] * 2)
    np.testing.assert_allclose(block(given), x, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- order, structure, errors


def test_lists_and_dicts_keep_their_order():
    first, second = np.zeros((1, 2, 2, 1), "float32"), np.full((1, 2, 2, 1), 100, "float32")
    layer = WeightedSum()
    layer.build([first.shape, second.shape])
    layer.set_weights([np.float32(1), np.float32(10)])
    assert float(layer([first, second])[0, 0, 0, 0]) == pytest.approx(0.5 * 1 + 1 * 10)
    assert float(layer([second, first])[0, 0, 0, 0]) == pytest.approx(1 * 1 + 0.5 * 10)
    scaled = ScalingBlock()([first, second])
    assert [float(x[0, 0, 0, 0]) for x in scaled] == [0, 100]


def test_a_dict_is_taken_in_its_own_order_eagerly_and_in_a_model():
    first, second = np.zeros((1, 2, 2, 1), "float32"), np.full((1, 2, 2, 1), 100, "float32")
    layer = WeightedSum()
    inputs = {name: keras.Input((2, 2, 1), name=name) for name in ("b", "a")}
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.float32(1), np.float32(10)])
    given = {"b": first, "a": second}
    eager = float(layer(given)[0, 0, 0, 0])
    assert eager == pytest.approx(0.5 * 1 + 1 * 10)
    assert float(model(given)[0, 0, 0, 0]) == pytest.approx(eager)


@pytest.mark.parametrize(
    "kind", [ScalingBlock, WeightedSum, lambda: TransformationBlock(2), lambda: BranchBlock(2)]
)
def test_a_layer_built_for_two_inputs_refuses_another_number(kind):
    layer = kind()
    x = np.zeros((1, 4, 4, 2), "float32")
    layer([x, x])
    for wrong in (x, [x], [x, x, x]):
        count = len(wrong) if isinstance(wrong, list) else 1
        with pytest.raises(ValueError, match=rf"built for 2 input\(s\)\. Received: {count}"):
            layer(wrong)


@pytest.mark.parametrize("kind", [ScalingBlock, lambda: TransformationBlock(2)])
def test_sizes_that_no_window_reconciles_are_refused(kind):
    inputs = [np.zeros((1, 7, 4, 2), "float32"), np.zeros((1, 4, 4, 2), "float32")]
    with pytest.raises(ValueError, match=r"input 0 of size 7 on axis 1 beside 4"):
        kind()(inputs)


@pytest.mark.parametrize(
    "kind",
    [ScalingBlock, *(lambda k=k: k(2) for k in (TransformationBlock, ConvBlock, BranchBlock))],
)
def test_a_rank_other_than_4_is_refused(kind):
    with pytest.raises(ValueError, match=r"expects inputs of rank 4 .*shape \(1, 4, 2\)"):
        kind()(np.zeros((1, 4, 2), "float32"))


@pytest.mark.parametrize(
    "kind",
    [ScalingBlock, *(lambda k=k: k(2) for k in (TransformationBlock, ConvBlock, BranchBlock))],
)
def test_an_unknown_number_of_channels_is_refused(kind):
    with pytest.raises(ValueError, match="needs to know the number of channels"):
        kind()(keras.Input((4, 4, None)))


def test_one_known_size_beside_an_unknown_one_is_refused():
    with pytest.raises(ValueError, match="needs the sizes of all inputs, or of none"):
        ScalingBlock()([keras.Input((None, None, 2)), keras.Input((4, 4, 2))])


def test_a_sum_of_different_shapes_is_refused():
    with pytest.raises(ValueError, match=r"inputs of one shape\. Received: input 1 of shape"):
        WeightedSum()([np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 2))])


@pytest.mark.parametrize("kind", [ConvBlock, TransformationBlock])
@pytest.mark.parametrize("name", ["filters", "strides", "kernel_size"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "3", None])
def test_a_bad_argument_is_named(kind, name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .*Received: {name}={value!r}"):
        kind(**{"filters": 4, name: value})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"block": "paper"}, f"`block` must be one of {', '.join(BRANCHES)}. Received: .*'paper'"),
        ({"depth": 0}, "`depth` must be .*Received: depth=0"),
        ({"strides": 4}, "a power of two of at most 2 .* Received: strides=4 with depth=1"),
        ({"strides": 3, "depth": 3}, "Received: strides=3 with depth=3"),
    ],
)
def test_a_branch_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BranchBlock(4, **arguments)


def test_another_padding_is_refused():
    with pytest.raises(
        ValueError, match=r"`padding` must be one of valid, same. Received: .*'full'"
    ):
        ScalingBlock("full")


@pytest.mark.parametrize("kind", [lambda: ScalingBlock("same"), lambda: BranchBlock(2)])
def test_sizes_that_do_not_halve_to_each_other_are_refused(kind):
    inputs = [np.zeros((1, 9, 4, 2), "float32"), np.zeros((1, 4, 4, 2), "float32")]
    with pytest.raises(ValueError, match=r"one that halves to the smallest .*9 on axis 1 beside 4"):
        kind()(inputs)


# ---------------------------------------------------------------- saved models

LOAD = """
import json, sys
import numpy as np
import keras
import keras_concurrent.layers
model = keras.saving.load_model(sys.argv[1])
data = np.load(sys.argv[2])
outputs = model([data[name] for name in ("a", "b")])
np.savez(sys.argv[3], *[np.asarray(x) for x in keras.tree.flatten(outputs)])
print(json.dumps([type(layer).__name__ for layer in model.layers]))
"""


def test_a_saved_model_answers_identically_in_a_fresh_process(tmp_path):
    a, b = keras.Input((8, 8, 3), name="a"), keras.Input((4, 4, 5), name="b")
    x = TransformationBlock(6, separable=False, weight_initializer="random_normal")([a, b])
    y = ConvBlock(4, strides=2, momentum=0.7)(x)
    scaled = ScalingBlock()([x, y])
    z = WeightedSum(weight_initializer="random_uniform")(scaled)
    z = BranchBlock(3, "residual", depth=2, strides=2)([z, x])
    model = keras.Model([a, b], [y, z])
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 1.0, weight.shape))
    data = {"a": random((2, 8, 8, 3)), "b": random((2, 4, 4, 5), 1)}
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "in.npz", **data)
    done = subprocess.run(
        [sys.executable, "-c", LOAD]
        + [str(tmp_path / name) for name in ("model.keras", "in.npz", "out.npz")],
        capture_output=True,
        check=True,
        text=True,
    )
    kinds = json.loads(done.stdout.splitlines()[-1])
    assert set(layers.__all__) < set(kinds)
    loaded = np.load(tmp_path / "out.npz")
    for name, ours in zip(loaded.files, arrays(model([data["a"], data["b"]])), strict=True):
        np.testing.assert_array_equal(loaded[name], ours)
