import numpy as np
import pytest
from pieces import check_pieces, image_for
from small_files import homes_of, on_boards, operators, sums_file

from keras_concurrent.interpreter import Segment
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.wire.encoding import crossing, encode
from keras_concurrent.wire.format import FLOAT16, FLOAT32, SIGMOID

X = np.array([[-3.0, 0.0, 1.0, 8.0]], np.float32)
SQUASHED = 1 / (1 + np.exp(-X.astype(float)))


def three_boards():
    """A sigmoid on a, read there (times 1.5), on b (2.5) and on c (3.5)."""
    file = sums_file(1, ((0,), (0,), (0,)))
    return file, homes_of(file, {"x0": "a"}, "abc")


def test_what_passes_between_boards():
    file, homes = three_boards()
    (squashed,) = operators(file, "LOGISTIC")[0].outputs
    assert crossing(file, homes) == {squashed: ("b", "c")}
    assert crossing(file, on_boards(file, lambda o: "a")) == {}


def test_one_byte_a_value_and_the_sender_keeps_its_own():
    file, homes = three_boards()
    (squashed,) = operators(file, "LOGISTIC")[0].outputs
    coded, on = encode(file, homes, {squashed: SIGMOID})
    (encoder,), decoders = operators(coded, "QUANTIZE"), operators(coded, "DEQUANTIZE")
    assert on[encoder.index] == "a"
    assert [on[d.index] for d in decoders] == ["b", "c"]
    assert crossing(coded, on) == {encoder.outputs[0]: ("b", "c")}
    assert coded.tensors[encoder.outputs[0]].bytes == 4
    # The byte on the wire, and what is left of the value: at most 1/512 off.
    piece = Segment(coded.cut(range(encoder.index + 1), coded.inputs, encoder.outputs))
    bytes_ = np.clip(np.round(SQUASHED * 256) - 128, -128, 127)
    np.testing.assert_array_equal(piece.run([X])[0], bytes_.astype(np.int8))
    decoded = (bytes_ + 128) / 256
    assert np.abs(decoded - SQUASHED).max() <= 1 / 256
    answers = Segment(coded.data).run([X])
    exact = Segment(file.data).run([X])
    by_name = dict(zip(coded.outputs, zip(answers, exact, strict=True), strict=True))
    home_of = {name: on[o.index] for o in coded.operators for name in o.outputs}
    for name, (answer, float32) in by_name.items():
        if home_of[name] == "a":
            np.testing.assert_array_equal(answer, float32)
        else:
            factor = {"b": 2.5, "c": 3.5}[home_of[name]] * 0.125
            np.testing.assert_allclose(answer, decoded * factor, rtol=1e-6)
            assert not np.array_equal(answer, float32)


def test_two_bytes_a_value():
    file, homes = three_boards()
    (squashed,) = operators(file, "LOGISTIC")[0].outputs
    coded, on = encode(file, homes, {squashed: FLOAT16})
    (sent,) = crossing(coded, on)
    assert (coded.tensors[sent].dtype, coded.tensors[sent].bytes) == ("float16", 8)
    for answer, exact in zip(
        Segment(coded.data).run([X]), Segment(file.data).run([X]), strict=True
    ):
        np.testing.assert_allclose(answer, exact, rtol=2**-11 * 1.01)


def test_float32_is_sent_as_it_is():
    file, homes = three_boards()
    (squashed,) = operators(file, "LOGISTIC")[0].outputs
    coded, on = encode(file, homes, {squashed: FLOAT32})
    assert len(coded.operators) == len(file.operators)
    assert on == homes


def test_pieces_of_a_coded_file_add_up_to_it():
    file, homes = three_boards()
    (squashed,) = operators(file, "LOGISTIC")[0].outputs
    coded, on = encode(file, homes, {squashed: SIGMOID})
    graph = TaskGraph.from_tflite(coded)
    groups = {}
    for task in graph.tasks:
        groups.setdefault(on[task.operators[0]], []).append(task.name)
    watched = check_pieces(coded, list(groups.values()))
    assert any(value.dtype == np.int8 for value in watched.values())


def test_what_cannot_be_coded_is_refused():
    file, homes = three_boards()
    with pytest.raises(ValueError, match="must name tensors that pass between boards, got 'x0'"):
        encode(file, homes, {"x0": SIGMOID})
    (squashed,) = operators(file, "LOGISTIC")[0].outputs
    coded, on = encode(file, homes, {squashed: SIGMOID})
    (sent,) = crossing(coded, on)
    with pytest.raises(ValueError, match=r"must name float32 tensors, got .* of int8"):
        encode(coded, on, {sent: FLOAT16})


def test_every_format_of_a_generated_network(small_file):
    rng = np.random.default_rng(0)
    homes = on_boards(small_file, lambda o: "abc"[rng.integers(3)])
    kinds = {name: o.kind for o in small_file.operators for name in o.outputs}
    squashed = [name for name in crossing(small_file, homes) if kinds[name] == "LOGISTIC"]
    assert len(squashed) > 5
    images = image_for(small_file)
    (exact,) = Segment(small_file.data).run(list(images.values()))
    for wire_format, tolerance in ((FLOAT16, 1e-3), (SIGMOID, 1e-2)):
        coded, _ = encode(small_file, homes, dict.fromkeys(squashed, wire_format))
        (answer,) = Segment(coded.data).run(list(images.values()))
        assert 0 < np.abs(answer - exact).max() <= tolerance


def test_a_rewritten_file_is_what_its_bytes_say_and_leaves_the_other_alone():
    file, homes = three_boards()
    before = file.data
    (squashed,) = operators(file, "LOGISTIC")[0].outputs
    coded, _ = encode(file, homes, {squashed: SIGMOID})
    read_again = TfliteFile(coded.data)
    assert (read_again.operators, read_again.tensors) == (coded.operators, coded.tensors)
    assert (read_again.inputs, read_again.outputs) == (coded.inputs, coded.outputs)
    assert TfliteFile(file.renamed({})).data == TfliteFile(before).renamed({})
    assert crossing(file, homes) == {squashed: ("b", "c")}
