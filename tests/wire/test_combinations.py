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


@pytest.mark.parametrize(("precision", "sent_as"), COMBINATIONS)
def test_pieces_of_every_combination(precision, sent_as):
    made = combination(precision, sent_as)
    planned = made.planned
    assert len(planned.plan.boards) == 3
    sent = {planned.file.tensors[m.tensor].dtype for m in planned.plan.messages
            if m.tensor not in (*made.file.inputs, *made.file.outputs)}  # fmt: skip
    if precision == "int8":
        assert sent == {"int8"}  # its tensors travel as they are
    else:
        assert sent == {"auto": {"int8"}}.get(sent_as, {sent_as})
    values = {made.file.inputs[0]: made.image}
    for piece in cut(planned.file, planned.plan):
        run(piece.content, values)
    answer = values[made.file.outputs[0]]
    np.testing.assert_array_equal(answer, Segment(planned.file.data).run([made.image])[0])
    (unsent,) = Segment(made.file.data).run([made.image])
    np.testing.assert_allclose(answer, unsent, atol=made.wire_tolerance, rtol=0)
    np.testing.assert_allclose(answer, made.reference, atol=made.tolerance, rtol=0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_through_running_boards(precision, tmp_path):
    made = combination(precision, "auto")
    cluster = three_boards(free_ports(3))
    bundle = export_bundle(
        made.file,
        cluster,
        tmp_path / "bundle",
        plan=made.planned.plan,
        rewritten=made.planned.file,
    )
    with LocalBoards(bundle, cluster) as running:
        answer = running.client.infer(made.image)[made.file.outputs[0]]
    np.testing.assert_array_equal(answer, Segment(made.planned.file.data).run([made.image])[0])
    np.testing.assert_allclose(answer, made.reference, atol=made.tolerance, rtol=0)


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
