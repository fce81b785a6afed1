"""Outputs stay in the interpreter's memory, and are right for as long as they are wanted."""

import numpy as np
import pytest
from small_files import colours_file

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.manifest import WHOLE
from keras_concurrent.export.assemble import export_bundle


@pytest.fixture
def workshop(tmp_path):
    made = Workshop()
    made.take(export_bundle(colours_file(), Cluster.of("pi3", 1), tmp_path / "bundle"), "pi3-1")
    made.load(WHOLE)
    return made


def picture(workshop, colour):
    """A picture all red, green or blue, by the input's name."""
    values = np.zeros((1, 8, 8, 3), np.float32)
    values[..., colour] = 1.0
    return dict.fromkeys(workshop.manifest.inputs, values)


def scores(workshop, tensors):
    """What is said of a picture."""
    return tensors[workshop.manifest.outputs[0]]


def test_each_image_keeps_its_outputs_while_others_run_and_segments_are_measured(workshop):
    red, green, done, blue = (picture(workshop, colour) for colour in (0, 1, 1, 2))
    workshop.run(WHOLE, red)
    workshop.run(WHOLE, green)
    workshop.measure((WHOLE,))
    workshop.run(WHOLE, done)
    done.clear()  # nobody wants it any more
    workshop.run(WHOLE, blue)
    for colour, tensors in enumerate((red, green, blue)):
        assert np.argmax(scores(workshop, tensors)) == colour
        assert scores(workshop, tensors)[0, colour] > 0.9


def test_the_memory_of_an_output_is_the_interpreters(workshop):
    places = []
    for colour in range(3):
        tensors = picture(workshop, colour)
        workshop.run(WHOLE, tensors)
        places.append(scores(workshop, tensors).ctypes.data)
        tensors.clear()
    assert len(set(places)) == 1
