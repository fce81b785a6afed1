"""Models of several inputs, and of several signatures, as a user meets them."""

import json

import numpy as np
import pytest
import tensorflow as tf
from command_line import run

from keras_concurrent.interpreter import quiet
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile


class Several(tf.Module):
    """Of two inputs of two shapes, and of two signatures that share their weights."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.constant(np.arange(12, dtype=np.float32).reshape(4, 3))

    @tf.function(input_signature=[tf.TensorSpec((1, 4), name="x"), tf.TensorSpec((1, 3), name="y")])
    def added(self, x, y):
        return {"sum": tf.nn.relu(tf.matmul(x, self.kernel)) + tf.sin(y)}

    @tf.function(input_signature=[tf.TensorSpec((1, 4), name="x")])
    def counted(self, x):
        (x,) = tf.while_loop(lambda x: tf.reduce_sum(x) < 100.0, lambda x: (2.0 * x + 1.0,), [x])
        return {"product": -tf.matmul(x, self.kernel)}


@pytest.fixture(scope="module")
def both():
    module = Several()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.added.get_concrete_function(), module.counted.get_concrete_function()], module
    )
    with quiet():
        return converter.convert()


X, Y = np.float32([[1, 2, 3, 4]]), np.float32([[0.5, 1, 2]])


@pytest.fixture
def folder(both, tmp_path):
    (tmp_path / "model.tflite").write_bytes(both)
    for name, value in {"x": X, "y": Y}.items():
        np.save(tmp_path / f"{name}.npy", value)
    return tmp_path


def exported(folder, signature, *words):
    return run(
        "export", folder / "model.tflite", "--boards", 1, "--out", folder / "bundle", "--signature",
        signature, *words,
    )  # fmt: skip


def answers(folder, *words):
    told = run(
        "infer", folder / "bundle", "--cluster", folder / "cluster.toml", "--local", "--json",
        *words,
    )  # fmt: skip
    (output,) = json.loads(told.stdout)["outputs"].values()
    return output["values"]


def kernel():
    return np.arange(12, dtype=np.float32).reshape(4, 3)


def inputs_of(folder, signature):
    file = TfliteFile.read(folder / "model.tflite", signature=signature)
    return file.signatures[signature].inputs


def test_several_inputs_are_files_by_their_names(folder):
    exported(folder, "added")
    named = inputs_of(folder, "added")
    words = [f"--input={named[name]}={folder / name}.npy" for name in ("y", "x")]
    got = answers(folder, *words)
    np.testing.assert_allclose(got, (X @ kernel() + np.sin(Y))[0], rtol=1e-5)
    cluster = ("--cluster", folder / "cluster.toml", "--local")
    told = run("infer", folder / "bundle", folder / "x.npy", *cluster, status=2)
    assert "give --input name=file for each of them" in told.stderr
    for wrong, message in (
        (words[:1], "--input must be given for "),
        ([words[0], words[0]], "once for each input"),
        ([f"--input={folder / 'x.npy'}"], "--input must be name=file"),
        ([*words, folder / "x.npy"], "give images, or --input"),
        ([], "give images, or --input"),
        ([f"--input={named['x']}={folder / 'y.npy'}", words[0]], "y.npy: input "),
    ):
        assert message in run("infer", folder / "bundle", *wrong, *cluster, status=2).stderr


def test_the_signature_that_is_asked_for_runs(folder):
    exported(folder, "counted")
    got = answers(folder, folder / "x.npy")
    looped = 8 * X + 7  # of sums 10, 24, 52 and 108
    np.testing.assert_allclose(got, (-looped @ kernel())[0], rtol=1e-5)


def test_a_signature_s_graph_is_cut_as_any_other(folder):
    file = TfliteFile.read(folder / "model.tflite", signature="counted")
    assert file.whole_because is None
    kinds = [task.name.split("_", 1)[1] for task in TaskGraph.from_tflite(file).tasks]
    assert "WHILE" in kinds
    assert file.other_signatures == ("added",)
    assert TfliteFile(file.data, signature="added").signatures.keys() == {"added"}


def test_who_names_no_signature_is_told_which_one_runs(folder):
    told = run("plan", folder / "model.tflite", "--boards", 1, "--out", folder / "plan")
    assert "has the signatures added, counted: added runs, see --signature" in told.stderr
    told = run("plan", folder / "model.tflite", "--signature", "counting", status=2)
    assert "which has added, counted, got 'counting'" in told.stderr
