import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_concurrent.layers import TransformationBlock
from keras_concurrent.models import ConcurrentModel, build_model
from keras_concurrent.networks.generators import KINDS, generate
from keras_concurrent.networks.staging import stage


def small(**arguments):
    how = {"filters": 4, "channel_cap": 8, "seed": 1, **arguments}
    return stage(generate("DP", 10, seed=2), (16, 16, 3), 5, **how)


def images(count=3, side=16):
    return np.random.default_rng(0).random((count, side, side, 3), dtype=np.float32)


def same_weights(model, other):
    other.set_weights(model.get_weights())
    return other


@pytest.mark.parametrize("head", ["concat", "merge"])
def test_a_block_stands_for_every_vertex_and_reads_what_the_graph_says(head):
    architecture = small(head=head)
    model = build_model(architecture)
    blocks = {b.name: b for b in model.layers if isinstance(b, TransformationBlock)}
    assert set(blocks) == {block.name for block in architecture.blocks}
    for block in architecture.blocks:
        (node,) = blocks[block.name]._inbound_nodes
        read = [tensor._keras_history.operation.name for tensor in node.input_tensors]
        assert read == ["image" if name == "source" else name for name in block.inputs]
        assert blocks[block.name].output.shape == (None, *architecture.shapes[block.name])


@pytest.mark.parametrize("side", [28, 32, 96, 224])
@pytest.mark.parametrize("staging", ["uniform", "greedy", "probabilistic"])
def test_networks_answer_at_the_usual_sizes(side, staging):
    architecture = stage(
        generate("DP", 6, seed=0), (side, side, 3), 7, staging=staging, filters=2, channel_cap=8
    )
    answer = np.asarray(build_model(architecture)(images(2, side)))
    assert answer.shape == (2, 7)
    np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_generator_becomes_a_network(kind):
    staging = "merges" if kind == "FB" else "probabilistic"
    architecture = stage(
        generate(kind, 16, seed=0), (16, 16, 3), 5, staging=staging, filters=2, channel_cap=8
    )
    model = build_model(architecture)
    assert model.count_params() == architecture.parameters
    assert np.isfinite(np.asarray(model(images()))).all()


def test_jit_does_not_change_the_answer():
    model = build_model(small())
    plain = same_weights(model, build_model(small()))
    model.compile(jit_compile=True)
    plain.compile(jit_compile=False)
    np.testing.assert_allclose(
        model.predict(images(), verbose=0), plain.predict(images(), verbose=0), atol=1e-6
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_network_of_low_precision_answers_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = build_model(small())
    finally:
        keras.config.set_dtype_policy("float32")
    reference = same_weights(model, build_model(small()))
    answer = model(images())
    assert answer.dtype == "float32"
    np.testing.assert_allclose(np.asarray(answer), np.asarray(reference(images())), atol=0.05)


class Counting(ConcurrentModel):
    """Overrides a training step, as a user would."""

    steps = 0

    def train_step(self, *args, **kwargs):
        type(self).steps += 1
        return super().train_step(*args, **kwargs)


def test_a_subclass_is_the_same_network_and_trains_by_its_own_step():
    model = Counting(small(), name="mine")
    assert model.name == "mine"
    twin = same_weights(model, build_model(small()))
    np.testing.assert_array_equal(np.asarray(model(images())), np.asarray(twin(images())))
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    before = model.get_weights()
    model.fit(images(4), np.array([0, 1, 2, 3]), batch_size=2, verbose=0)
    assert Counting.steps == 2
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


FRESH = """
import sys, keras, numpy as np
import keras_concurrent.models
if sys.argv[1].endswith(".keras"):
    model = keras.saving.load_model(sys.argv[1])
else:
    from keras_concurrent import Architecture, build_model
    model = build_model(Architecture.from_json(open(sys.argv[4]).read()))
    model.load_weights(sys.argv[1])
np.save(sys.argv[3], np.asarray(model(np.load(sys.argv[2]))))
print(type(model).__name__)
"""


@pytest.mark.parametrize(
    ("kind", "file", "name"),
    [
        (build_model, "model.keras", "Functional"),
        (ConcurrentModel, "model.keras", "ConcurrentModel"),
        (build_model, "model.weights.h5", "Functional"),
    ],
)
def test_a_saved_network_answers_identically_in_a_fresh_process(tmp_path, kind, file, name):
    model = kind(small())
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.1, 1, w.shape).astype(w.dtype) for w in model.get_weights()])
    if file.endswith(".keras"):
        model.save(tmp_path / file)
    else:
        model.save_weights(tmp_path / file)
    (tmp_path / "network.json").write_text(small().to_json())
    np.save(tmp_path / "in.npy", images())
    paths = [str(tmp_path / part) for part in (file, "in.npy", "out.npy", "network.json")]
    done = subprocess.run(
        [sys.executable, "-c", FRESH, *paths], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [name]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.asarray(model(images())))
