"""Outputs stay in the interpreter's memory, and are right for as long as they are wanted."""

import numpy as np
import pytest

from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.manifest import WHOLE
from keras_concurrent.edge.watch.bench import random_images, reference


@pytest.fixture
def workshop(bundle):
    made = Workshop()
    made.take(bundle, "pi3-1")
    made.load(WHOLE)
    return made


def tensors_of(bundle, number):
    images = random_images(bundle, 3)
    return {bundle.manifest.inputs[0]: images[number].reshape(1, *images[number].shape[-3:])}


def test_each_image_keeps_its_outputs_while_others_run_and_segments_are_measured(bundle, workshop):
    expected = reference(bundle, random_images(bundle, 3))
    first, second, done = (tensors_of(bundle, number) for number in range(3))
    workshop.run(WHOLE, first)
    workshop.run(WHOLE, second)
    workshop.measure((WHOLE,))
    workshop.run(WHOLE, done)
    done.clear()  # nobody wants it any more: nothing is copied
    workshop.run(WHOLE, third := tensors_of(bundle, 2))
    for number, tensors in enumerate((first, second, third)):
        for name, values in expected[number].items():
            assert np.array_equal(tensors[name], values)
    assert not np.array_equal(expected[0]["classes"], expected[1]["classes"])


def test_the_memory_of_an_output_is_the_interpreters(bundle, workshop):
    tensors = tensors_of(bundle, 0)
    workshop.run(WHOLE, tensors)
    output = tensors["classes"]
    assert output.base is not None
    before = output.ctypes.data
    del output
    tensors.clear()
    workshop.run(WHOLE, tensors := tensors_of(bundle, 1))
    assert tensors["classes"].ctypes.data == before
