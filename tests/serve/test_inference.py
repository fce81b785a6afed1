"""Bodies of the Open Inference Protocol, byte for byte as its text has them."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from keras_concurrent.edge.manifest import Manifest, TensorSpec
from keras_concurrent.serve.inference import Asked, metadata, read_request, response
from keras_concurrent.serve.tensors import DATATYPES, images_of, together


def manifest_of(inputs, outputs):
    return Manifest(tuple(inputs), tuple(outputs), {**inputs, **outputs}, {}, {})


TWO = manifest_of(
    {"input0": TensorSpec((2, 2), "uint32"), "input1": TensorSpec((3,), "bool")},
    {"output0": TensorSpec((3, 2), "float32")},
)
"""The model of the protocol's own example."""
ONE = manifest_of(
    {"image": TensorSpec((1, 2, 3), "float32")}, {"classes": TensorSpec((1, 4), "float32")}
)


def read(manifest, said, content=b"", header=None):
    body = json.dumps(said).encode()
    length = header or (str(len(body)) if content else None)
    return read_request(manifest, memoryview(body + content), length)


def entry(name, shape, kind, **rest):
    return {"name": name, "shape": shape, "datatype": kind, **rest}


def test_the_example_of_the_binary_extension_is_read_and_answered():
    inputs = [
        entry("input0", [2, 2], "UINT32", parameters={"binary_data_size": 16}),
        entry("input1", [3], "BOOL", parameters={"binary_data_size": 3}),
    ]
    wanted = [{"name": "output0", "parameters": {"binary_data": True}}]
    content = struct.pack("<4I", 1, 2, 3, 4) + b"\x01\x00\x01"
    asked = read(TWO, {"inputs": inputs, "outputs": wanted}, content)
    np.testing.assert_array_equal(asked.values["input0"], np.array([[1, 2], [3, 4]], np.uint32))
    assert asked.values["input0"].dtype == np.uint32
    assert asked.values["input1"].tolist() == [True, False, True]

    numbers = np.array([[1.0, 1.1], [2.0, 2.1], [3.0, 3.1]], np.float32)
    body, length = response(TWO, "mymodel", asked, {"output0": numbers})
    assert body[length:] == struct.pack("<6f", 1.0, 1.1, 2.0, 2.1, 3.0, 3.1)
    assert json.loads(body[:length]) == {
        "model_name": "mymodel",
        "model_version": "1",
        "outputs": [
            entry("output0", [3, 2], "FP32", parameters={"binary_data_size": 24}),
        ],
    }


def test_the_example_in_json_is_read_and_answered():
    inputs = [
        entry("input0", [2, 2], "UINT32", data=[1, 2, 3, 4]),
        entry("input1", [3], "BOOL", data=[True, False, True]),
    ]
    asked = read(TWO, {"id": "42", "inputs": inputs, "outputs": [{"name": "output0"}]})
    assert asked.values["input0"].tolist() == [[1, 2], [3, 4]]
    body, length = response(TWO, "m", asked, {"output0": np.arange(6, dtype=np.float32)})
    assert length is None
    said = json.loads(body)
    assert said["id"] == "42"
    assert said["outputs"][0]["data"] == [0, 1, 2, 3, 4, 5]


def test_nested_data_is_the_same_as_flat():
    flat = [1.0, 2, 3, 4, 5, 6]
    nested = [[[1.0, 2, 3], [4, 5, 6]]]
    a, b = (
        read(ONE, {"inputs": [entry("image", [1, 2, 3], "FP32", data=data)]}).values["image"]
        for data in (flat, nested)
    )
    np.testing.assert_array_equal(a, b)


def test_a_body_without_an_object_is_the_only_input():
    content = np.arange(6, dtype="<f4").tobytes()
    asked = read_request(ONE, memoryview(content), "0")
    assert asked.values["image"].tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert asked.outputs == {"classes": True}
    with pytest.raises(ValueError, match="0 is for models of one input, this one has input0, inp"):
        read_request(TWO, memoryview(content), "0")


def test_all_outputs_come_as_bytes_where_the_request_says_so_unless_one_says_otherwise():
    both = manifest_of(
        ONE.tensors and {"image": ONE.tensors["image"]},
        {"a": TensorSpec((1, 2), "int8"), "b": TensorSpec((1, 2), "int8")},
    )
    inputs = [entry("image", [1, 2, 3], "FP32", data=[0.0] * 6)]
    parameters = {"binary_data_output": True}
    assert read(both, {"inputs": inputs, "parameters": parameters}).outputs == {"a": 1, "b": 1}
    outputs = [{"name": "b", "parameters": {"binary_data": False}}, {"name": "a"}]
    said = {"inputs": inputs, "parameters": parameters, "outputs": outputs}
    assert list(read(both, said).outputs.items()) == [("b", False), ("a", True)]


@given(st.sampled_from(sorted(DATATYPES)), st.data())
def test_values_of_every_type_come_back_as_they_were_sent(dtype, data):
    values = data.draw(arrays(dtype, (2, 3)))
    manifest = manifest_of({"x": TensorSpec((1, 3), dtype)}, {"y": TensorSpec((1, 3), dtype)})
    kind = DATATYPES[dtype]
    content = values.tobytes()
    sent = entry("x", [2, 3], kind, parameters={"binary_data_size": len(content)})
    asked = read(manifest, {"inputs": [sent], "parameters": {"binary_data_output": True}}, content)
    assert asked.values["x"].tobytes() == content
    answer = together([{"y": each["x"]} for each in images_of(manifest, asked.values)])
    body, length = response(manifest, "m", asked, answer)
    assert body[length:] == content
    if dtype != "float16" and np.isfinite(values).all():
        sent = entry("x", [2, 3], kind, data=values.ravel().tolist())
        in_json = read(manifest, {"inputs": [sent]})
        assert in_json.values["x"].tobytes() == content
        text, _ = response(manifest, "m", in_json, answer)
        back = json.loads(text)["outputs"][0]["data"]
        assert np.array(back, dtype).tobytes() == content


GOOD = entry("image", [1, 2, 3], "FP32", data=[0.0] * 6)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([], "the request must be a JSON object, got list"),
        ({}, "must have a list 'inputs'"),
        ({"inputs": [GOOD, GOOD]}, "input 'image' comes twice"),
        ({"inputs": [{**GOOD, "name": "x"}]}, "unexpected inference input 'x': the model has im"),
        ({"inputs": [{**GOOD, "datatype": "FP64"}]}, "'image' must be FP32, got 'FP64'"),
        ({"inputs": [{**GOOD, "shape": [6, -1]}]}, "must have a shape of whole numbers, got"),
        ({"inputs": [{**GOOD, "data": [0.0] * 5}]}, "must have 6 values for its shape .* got 5"),
        ({"inputs": [{**GOOD, "data": [[1], [1, 2]]}]}, "numbers in equally long rows"),
        ({"inputs": [{**GOOD, "data": ["a"] * 6}]}, "must hold values of float32, got something"),
        ({"inputs": [GOOD], "outputs": [{"name": "x"}]}, "unexpected inference output 'x'"),
        ({"inputs": [GOOD], "id": 3}, "'id' must be a text"),
        ({"inputs": [GOOD], "parameters": {"timeout": -1}}, "whole microseconds, got -1"),
        (
            {"inputs": [entry("image", [1, 2, 3], "FP32", parameters={"binary_data_size": 25})]},
            "'binary_data_size' of input 'image' must be 0 to 0",
        ),
        ({"inputs": [entry("image", [1, 2, 3], "FP32")]}, "neither 'data' nor 'binary_data_size'"),
    ],
)
def test_what_is_no_request_is_refused_with_the_reason(said, message):
    with pytest.raises(ValueError, match=message):
        read(ONE, said)


def test_bytes_that_belong_to_nothing_and_wrong_lengths_are_refused():
    with pytest.raises(ValueError, match="3 bytes follow that belong to no input"):
        read(ONE, {"inputs": [GOOD]}, b"abc")
    with pytest.raises(ValueError, match="must be 0 to 4, the body's length, got '9'"):
        read_request(ONE, memoryview(b"{}ab"), "9")
    with pytest.raises(ValueError, match="failed to parse the request JSON"):
        read_request(ONE, memoryview(b"{"), None)
    with pytest.raises(ValueError, match=r"must have 24 bytes for its shape \[1, 2, 3\], got 4"):
        read_request(ONE, memoryview(b"abcd"), "0")


def test_integers_are_never_rounded_or_wrapped():
    manifest = manifest_of({"x": TensorSpec((1, 1), "int8")}, {"y": TensorSpec((1, 1), "int8")})
    for data, message in (([200], "int8, -128 to 127, got 200 to 200"), ([1.5], "got float64")):
        with pytest.raises(ValueError, match=message):
            read(manifest, {"inputs": [entry("x", [1, 1], "INT8", data=data)]})


def test_a_batch_is_taken_apart_and_put_together():
    values = {"image": np.arange(18, dtype=np.float32).reshape(3, 2, 3)}
    images = images_of(ONE, values)
    assert [each["image"].shape for each in images] == [(1, 2, 3)] * 3
    np.testing.assert_array_equal(together(images)["image"], values["image"])
    (alone,) = images_of(ONE, {"image": values["image"][0]})  # without the batch axis
    np.testing.assert_array_equal(alone["image"], values["image"][:1])
    with pytest.raises(ValueError, match=r"must have the shape \[-1, 2, 3\], got \[1, 6\]"):
        images_of(ONE, {"image": np.zeros((1, 6), np.float32)})
    with pytest.raises(ValueError, match="equally many images, at least one"):
        images_of(ONE, {"image": np.zeros((0, 2, 3), np.float32)})
    with pytest.raises(ValueError, match="expected the inputs image, got none"):
        images_of(ONE, {})


def test_a_model_without_a_batch_axis_says_its_own_shapes():
    assert metadata(TWO, "m")["inputs"][0]["shape"] == [2, 2]
    assert metadata(ONE, "m")["inputs"][0]["shape"] == [-1, 2, 3]


def test_a_timeout_is_in_microseconds_and_0_is_none():
    for timeout, seconds in ((1_500_000, 1.5), (0, None)):
        asked = read(ONE, {"inputs": [GOOD], "parameters": {"timeout": timeout}})
        assert isinstance(asked, Asked)
        assert asked.timeout_s == seconds
