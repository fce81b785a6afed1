"""Every wire format in every precision; `.ci/board_environments` runs them on both interpreters."""

import numpy as np
import pytest
from combinations import COMBINATIONS, combination, three_boards
from pieces import run

from keras_concurrent.edge.testbed.local_boards import LocalBoards, free_ports
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.export.cutting import cut
from keras_concurrent.interpreter import Segment
from keras_concurrent.precision import PRECISIONS


@pytest.mark.parametrize(("precision", "wire"), COMBINATIONS)
def test_pieces_of_every_combination(precision, wire):
    found = combination(precision, wire)
    planned = found.planned
    assert len(planned.plan.boards) == 3
    sent = {planned.file.tensors[m.tensor].dtype for m in planned.plan.messages
            if m.tensor not in (*found.file.inputs, *found.file.outputs)}  # fmt: skip
    if precision == "int8":
        assert sent == {"int8"}  # its tensors travel as they are
    else:
        assert sent == {"auto": {"int8"}}.get(wire, {wire})
    values = {found.file.inputs[0]: found.image}
    for piece in cut(planned.file, planned.plan):
        run(piece.content, values)
    answer = values[found.file.outputs[0]]
    np.testing.assert_array_equal(answer, Segment(planned.file.data).run([found.image])[0])
    (unsent,) = Segment(found.file.data).run([found.image])
    np.testing.assert_allclose(answer, unsent, atol=found.wire_tolerance, rtol=0)
    np.testing.assert_allclose(answer, found.reference, atol=found.tolerance, rtol=0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_through_running_boards(precision, tmp_path):
    found = combination(precision, "auto")
    cluster = three_boards(free_ports(3))
    bundle = export_bundle(
        found.file,
        cluster,
        tmp_path / "bundle",
        plan=found.planned.plan,
        rewritten=found.planned.file,
    )
    with LocalBoards(bundle, cluster) as running:
        answer = running.client.infer(found.image)[found.file.outputs[0]]
    np.testing.assert_array_equal(answer, Segment(found.planned.file.data).run([found.image])[0])
    np.testing.assert_allclose(answer, found.reference, atol=found.tolerance, rtol=0)


def test_what_no_interpreter_loads_is_refused():
    """A layer that gives nothing but zeros has no scale; the interpreter would end the process."""
    import keras

    from keras_concurrent.convert import to_tflite
    from keras_concurrent.errors import ConversionError

    image = keras.Input((8, 8, 3))
    first = keras.layers.Conv2D(4, 3, activation="relu", name="dead")(image)
    model = keras.Model(image, keras.layers.Conv2D(4, 1)(first))
    model.get_layer("dead").bias.assign([-100.0] * 4)  # below zero whatever it reads
    images = np.random.default_rng(0).random((4, 8, 8, 3), dtype=np.float32)
    with pytest.raises(ConversionError, match="was next to zero for all calibration images"):
        to_tflite(model, precision="int8", images=images)
