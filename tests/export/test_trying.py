"""What no board can run is refused before anything is planned; open sizes are said by a command."""

import json

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from command_line import run
from outside_files import packed
from small_files import converted

from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.errors import ModelFileError
from keras_concurrent.export.trying import check_boards_can_run
from keras_concurrent.interpreter import Segment, quiet
from keras_concurrent.tflite.file import TfliteFile


def with_custom(name, content):
    """A file whose last operator is a custom one of this name."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    operator = model.subgraphs[0].operators[-1]
    code = model.operatorCodes[operator.opcodeIndex]
    code.builtinCode = schema.BuiltinOperator.CUSTOM
    code.deprecatedBuiltinCode, code.customCode = schema.BuiltinOperator.CUSTOM, name
    operator.builtinOptions = None
    operator.builtinOptionsType = schema.BuiltinOptions.NONE
    return packed(model)


@pytest.fixture(scope="module")
def sines():
    return converted(lambda x: tf.sin(tf.nn.relu(x)), (1, 4)).data


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("FlexErf", "it has not the operator 'Erf' of TensorFlow's own, number 1"),
        ("MaxPoolingWithArgmax2D", "it has not the custom operator 'MaxPoolingWithArgmax2D'"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "export", "explain"])
@pytest.mark.filterwarnings("ignore::keras_concurrent.errors.UnknownOperatorWarning")
def test_operators_that_no_board_has_are_named_before_anything_is_planned(
    sines, tmp_path, name, reason, command
):
    (tmp_path / "model.tflite").write_bytes(with_custom(name, sines))
    where = () if command == "explain" else ("--out", tmp_path / "out")
    told = run(command, tmp_path / "model.tflite", "--boards", 2, *where, status=1)
    assert f"no board can run {tmp_path / 'model.tflite'}: ai_edge_litert cannot" in told.stderr
    assert reason in told.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore::keras_concurrent.errors.UnknownOperatorWarning")
def test_what_a_file_gives_must_be_as_large_as_it_says():
    class Finding(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 4))])
        def places(self, x):
            return tf.where(tf.nn.relu(x) > 0.5)

    made = Finding()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [made.places.get_concrete_function()], made
    )
    with quiet():
        file = TfliteFile(converter.convert(), "finder")
    assert file.whole_because.endswith("known only when it runs")
    with pytest.raises(ModelFileError, match=r"no board can run finder: .*known only when it runs"):
        check_boards_can_run(file)


def test_text_is_refused_by_its_name(sines):
    model = schema.ModelT.InitFromPackedBuf(sines, 0)
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].type = schema.TensorType.STRING
    file = TfliteFile(packed(model), "reader")
    with pytest.raises(ModelFileError, match=r"run reader: its '.*' has the type string, expected"):
        check_boards_can_run(file)


def test_complex_numbers_run():
    file = converted(lambda x: tf.signal.rfft(tf.nn.relu(x)), (1, 8))
    check_boards_can_run(file)
    assert file.tensors[file.outputs[0]].dtype == "complex64"


@pytest.fixture(scope="module")
def of_any_size():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32)
    return converted_open(lambda x: tf.nn.conv2d(x, kernel, 1, "SAME", dilations=2))


def converted_open(function):
    signature = [tf.TensorSpec((None, None, None, 3), name="image")]
    concrete = tf.function(function, input_signature=signature).get_concrete_function()
    with quiet():
        return tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()


def test_a_model_of_any_size_is_exported_with_the_size_that_is_said(of_any_size, tmp_path):
    (tmp_path / "model.tflite").write_bytes(of_any_size)
    words = ("export", tmp_path / "model.tflite", "--boards", 1, "--out", tmp_path / "bundle")
    told = run(*words, status=1)
    assert "image=1x?x?x3; say them with --input-shape" in told.stderr
    run(*words, "--input-shape", "1x12x20x3")
    manifest = Bundle(tmp_path / "bundle").manifest
    assert manifest.tensors[manifest.inputs[0]].shape == (1, 12, 20, 3)
    assert manifest.tensors[manifest.outputs[0]].shape == (1, 12, 20, 4)
    image = np.random.default_rng(1).random((1, 12, 20, 3)).astype(np.float32)
    np.save(tmp_path / "image.npy", image)
    answer = run(
        "infer", tmp_path / "bundle", tmp_path / "image.npy", "--local", "--json",
        "--cluster", tmp_path / "cluster.toml",
    )  # fmt: skip
    (output,) = json.loads(answer.stdout)["outputs"].values()
    (expected,) = Segment(Bundle(tmp_path / "bundle").content("model")).run([image])
    np.testing.assert_allclose(output["values"], expected.ravel())
    assert np.ptp(output["values"]) > 0.1
    small = json.loads(
        run("score", tmp_path / "model.tflite", "--input-shape", "image=1x6x10x3", "--json").stdout
    )
    large = json.loads(
        run("score", tmp_path / "model.tflite", "--input-shape", "1x12x20x3", "--json").stdout
    )
    assert large["flops"] == 4 * small["flops"]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("12x20", "must have the shape ?x?x?x3, got 12x20"),
        ("photo=1x12x20x3", "must be of the inputs image of"),
        ("large", "--input-shape must look like 1x224x224x3 or name=1x224x224x3, got 'large'"),
    ],
)
def test_a_shape_that_does_not_suit_is_refused(of_any_size, tmp_path, shape, message):
    (tmp_path / "model.tflite").write_bytes(of_any_size)
    told = run("plan", tmp_path / "model.tflite", "--input-shape", shape, status=2)
    assert message in told.stderr
