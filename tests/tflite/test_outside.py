import re

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from outside_files import moved_behind, packed
from pieces import check_pieces, image_for, random_groups
from small_files import colours_file

from keras_concurrent.errors import ModelFileError
from keras_concurrent.interpreter import Segment
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.tflite.outside import bring_inside


@pytest.fixture(scope="module", params=["float32", "int8"])
def original(request, small_file):
    return small_file if request.param == "float32" else colours_file("int8")


@pytest.fixture(scope="module")
def behind(original):
    return moved_behind(original.data)


def test_a_file_with_weights_behind_it_is_read_as_the_same_with_them_inside(original, behind):
    inside = schema.ModelT.InitFromPackedBuf(behind, 0).buffers
    assert not any(buffer.data is not None for buffer in inside)  # or nothing here is shown
    file = TfliteFile(behind)
    assert file.operators == original.operators
    assert file.tensors == original.tensors
    assert file.parameter_bytes == original.parameter_bytes > 0
    assert file.data == original.renamed({})  # the same bytes, weights inside
    for operator in file.operators:
        arguments = ([operator.index], operator.inputs, operator.outputs)
        assert file.cut(*arguments) == original.cut(*arguments)


def test_weights_behind_a_file_answer_bit_for_bit_as_the_original(original, behind):
    file = TfliteFile(behind)
    images = list(image_for(file).values())
    answers = Segment(original.data).run(images)
    for content in (behind, file.data):
        for value, answer in zip(Segment(content).run(images), answers, strict=True):
            np.testing.assert_array_equal(value, answer)
    check_pieces(file, [[task.name] for task in TaskGraph.from_tflite(file).tasks])


@settings(max_examples=10, deadline=None)
@given(rng=st.randoms(use_true_random=False), least=st.integers(0, 400))
def test_pieces_of_a_file_with_some_weights_behind_it(small_file, rng, least):
    file = TfliteFile(moved_behind(small_file.data, least))
    groups = random_groups(TaskGraph.from_tflite(file), rng, 4)
    check_pieces(file, groups)


def test_options_behind_a_file_are_brought_inside():
    model = schema.ModelT.InitFromPackedBuf(colours_file().data, 0)
    last = model.subgraphs[0].operators[-1]
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM, 32
    code.customCode, code.version = "Detect", 1
    last.opcodeIndex = len(model.operatorCodes)
    model.operatorCodes.append(code)
    last.builtinOptions, last.builtinOptionsType = None, 0
    last.largeCustomOptionsOffset, last.largeCustomOptionsSize = 1, 6  # so that there is room
    last.largeCustomOptionsOffset = len(packed(model))
    file = TfliteFile(packed(model) + b"orders")
    assert file.whole_because.endswith("it has not the custom operator 'Detect', number 2")
    found = schema.ModelT.InitFromPackedBuf(file.data, 0).subgraphs[0].operators[-1]
    assert bytes(found.customOptions) == b"orders"
    assert (found.largeCustomOptionsOffset, found.largeCustomOptionsSize) == (0, 0)


# ---------------------------------------------------------------- damage


def with_place(content, place=None, size=None):
    """The largest weight of a file with all of them behind it says another place or size."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    number = max(range(len(model.buffers)), key=lambda i: model.buffers[i].size)
    buffer = model.buffers[number]
    start = min(b.offset for b in model.buffers if b.offset > 1)
    buffer.offset = buffer.offset if place is None else place
    buffer.size = buffer.size if size is None else size
    structure = packed(model)
    return structure + content[len(structure) : start] + content[start:], number


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"place": 10**6},
            r"buffer {n} has \d+ bytes from byte 1000000 on; expected .* file at {end}",
        ),
        ({"place": 2**64 - 1}, r"buffer {n} has \d+ bytes from byte 18446744073709551615 on"),
        ({"size": 2**64 - 1}, r"buffer {n} has 18446744073709551615 bytes from byte \d+ on"),
        ({"size": 10**6}, r"buffer {n} has 1000000 bytes from byte \d+ on; expected"),
        ({"size": 0}, r"buffer {n} has 0 bytes from byte \d+ on; expected at least one"),
        ({"place": 4}, r"buffer {n} has \d+ bytes from byte 4 on; .* between byte 8 and the"),
        ({"place": 1}, r"buffer {n} is to lie outside the flatbuffer, but its place was never"),
        ({"place": 1, "size": 1}, r"buffer {n} is to lie outside the flatbuffer, but its place"),
        ({"place": 0}, r"buffer {n} has \d+ bytes outside the flatbuffer, but no place"),
    ],
)
def test_a_place_that_cannot_be_is_refused_by_name(small_file, change, expected):
    content, number = with_place(moved_behind(small_file.data), **change)
    expected = expected.format(n=number, end=len(content))
    with pytest.raises(ModelFileError, match=rf"photo\.tflite is damaged: {expected}"):
        TfliteFile(content, "photo.tflite")


def test_a_file_cut_short_behind_its_flatbuffer_is_refused(small_file):
    content = moved_behind(small_file.data)
    with pytest.raises(ModelFileError, match=r"damaged: buffer \d+ has \d+ bytes from byte"):
        TfliteFile(content[:-17])


def test_a_placeholder_of_a_tensor_that_is_computed_is_no_damage(small_file):
    model = schema.ModelT.InitFromPackedBuf(small_file.data, 0)
    graph = model.subgraphs[0]
    empty = schema.BufferT()
    empty.offset = empty.size = 1
    graph.tensors[graph.operators[0].outputs[0]].buffer = len(model.buffers)
    model.buffers.append(empty)
    file = TfliteFile(packed(model))
    assert file.tensors == small_file.tensors
    assert file.operators == small_file.operators


def test_more_bytes_than_a_flatbuffer_holds_are_refused_before_any_is_copied(small_file):
    content = moved_behind(small_file.data)
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    total = sum(buffer.size for buffer in model.buffers)
    message = f"it names {total} bytes outside the flatbuffer, which holds at most {total - 1}"
    with pytest.raises(ValueError, match=re.escape(message)):
        bring_inside(model, content, total - 1)


_PLACES = st.integers(0, 2**64 - 1) | st.integers(0, 20000)


@settings(max_examples=40, deadline=None)
@given(place=_PLACES, size=_PLACES)
def test_any_place_and_size_are_read_or_refused_as_damaged(small_file, place, size):
    content, _ = with_place(moved_behind(small_file.data), place, size)
    outside = 8 <= place < place + size <= len(content)
    if outside or (place == 0 and size <= 1):  # the latter is how buffers inside look
        assert TfliteFile(content).parameter_bytes > 0
    else:
        with pytest.raises(ModelFileError, match="is damaged: buffer"):
            TfliteFile(content)
