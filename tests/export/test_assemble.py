"""What a bundle says of its model beside the plan, for which see tests/edge/test_bundle.py."""

import json

import numpy as np
import pytest
from in_process import running, slow_boards
from small_files import colours_file, converted
from wires import SLOW

from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.manifest import MANIFEST
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.interpreter import Segment, load_interpreter
from keras_concurrent.wire.pixels import take_pixels


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_inputs_and_outputs_say_what_their_integers_stand_for(tmp_path, dtype):
    """As the interpreter reads it from the file."""
    file = colours_file(dtype)
    export_bundle(file, SLOW, tmp_path / "bundle")
    manifest = Bundle(tmp_path / "bundle").manifest
    interpreter = load_interpreter().Interpreter(model_content=file.data)
    details = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    for detail in details:
        spec = manifest.tensors[detail["name"]]
        assert spec.dtype == dtype
        assert (spec.scale, spec.zero_point) == detail["quantization"]
    scaled = {name for name, spec in manifest.tensors.items() if spec.scale is not None}
    assert scaled == {detail["name"] for detail in details}


def test_pixels_are_bytes_of_values_from_0_to_1(tmp_path):
    manifest = export_bundle(take_pixels(colours_file()), SLOW, tmp_path / "bundle").manifest
    spec = manifest.tensors[manifest.inputs[0]]
    assert (spec.dtype, spec.scale, spec.zero_point) == ("uint8", pytest.approx(1 / 255), 0)


def test_float32_has_no_scale_to_say(tmp_path):
    export_bundle(colours_file(), SLOW, tmp_path / "bundle")
    tensors = json.loads((tmp_path / "bundle" / MANIFEST).read_text())["tensors"]
    assert all(set(spec) == {"shape", "dtype"} for spec in tensors.values())


def with_an_unused_input(tf):
    return lambda x, y: tf.sigmoid(x) * 3, (1, 4), (1, 3)


def with_a_scalar(tf):
    return lambda x, y: tf.sigmoid(x) * y, (1, 4), ()


def with_an_input_that_is_an_output(tf):
    return lambda x, y: (x, tf.sigmoid(x) * 3, y), (1, 4), (1, 3)


@pytest.mark.parametrize(
    "make", [with_an_unused_input, with_a_scalar, with_an_input_that_is_an_output]
)
@pytest.mark.parametrize("placement", ["boards", "one_board"])
def test_boards_answer_for_inputs_and_outputs_of_odd_forms(tmp_path, make, placement):
    import tensorflow as tf

    file = converted(*make(tf))
    bundle = export_bundle(file, slow_boards(3), tmp_path / "bundle")
    rng = np.random.default_rng(0)
    images = {n: np.array(rng.random(file.tensors[n].shape), np.float32) for n in file.inputs}
    with running(bundle, placement) as (client, _, _):
        answers = client.infer(images)
    expected = Segment(file.data).run([images[name] for name in file.inputs])
    assert set(answers) == set(file.outputs)
    for name, value in zip(file.outputs, expected, strict=True):
        np.testing.assert_array_equal(answers[name], value)
