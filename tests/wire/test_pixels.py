import numpy as np
import pytest
from small_files import converted, operators

from keras_concurrent.interpreter import Segment
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.wire.pixels import take_pixels


def test_bytes_in_and_the_same_answer(small_file):
    file = take_pixels(small_file)
    assert (file.inputs, file.outputs) == (small_file.inputs, small_file.outputs)
    assert file.signatures.keys() == small_file.signatures.keys()
    assert file.tensors["image"].dtype == "uint8"
    assert file.tensors["image"].bytes * 4 == small_file.tensors["image"].bytes
    pixels = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3)).astype(np.uint8)
    (answer,) = Segment(file.data).run([pixels])
    (exact,) = Segment(small_file.data).run([(pixels / 255).astype(np.float32)])
    np.testing.assert_allclose(answer, exact, atol=1e-5)


def test_every_reader_decodes_for_itself(small_file):
    file = take_pixels(small_file)
    readers = TaskGraph.from_tflite(small_file).consumers["image"]
    decoders = operators(file, "DEQUANTIZE")
    assert len(decoders) == len(readers) > 0
    assert {o.inputs for o in decoders} == {("image",)}


def test_a_byte_by_hand():
    file = take_pixels(converted(lambda x: x * 2.0, (1, 1, 2, 1)))
    pixels = np.array([[[[51], [255]]]], np.uint8)
    (answer,) = Segment(file.data).run([pixels])
    np.testing.assert_allclose(answer.ravel(), [0.4, 2.0], rtol=1e-6)


def test_what_has_no_image_is_refused():
    with pytest.raises(ValueError, match=r"has no float32 input of rank 4, got \('x0',\)"):
        take_pixels(converted(lambda x: x * 2.0, (1, 2)))
