"""Requests and responses of ``/v2/models/NAME/infer``: JSON, and the extension for binary data.

With binary data, a body is a JSON object and then the tensors' bytes, in the order in which the
object names them; the header ``Inference-Header-Content-Length`` says where the object ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from keras_concurrent.edge.manifest import Manifest
from keras_concurrent.interpreter import Array
from keras_concurrent.serve.tensors import (
    datatype,
    described,
    from_bytes,
    from_json,
    shaped,
    to_bytes,
    to_json,
)

HEADER_LENGTH = "Inference-Header-Content-Length"
VERSION = "1"
"""Of the model: a bundle has one."""


@dataclass(frozen=True)
class Asked:
    """What a request asks for.

    Args:
        values: by input.
        outputs: those to return, and whether as bytes, in the order to return them.
        id: that the response repeats; ``None`` where the request has none.
        timeout_s: how long the answer may take, where the request says it.
    """

    values: dict[str, Array]
    outputs: dict[str, bool]
    id: str | None = None
    timeout_s: float | None = None


def read_request(manifest: Manifest, body: memoryview, header_length: str | None) -> Asked:
    """A request by its body.

    Args:
        manifest: the model's inputs and outputs.
        body: all of it.
        header_length: what the header says, if it is there; 0 where the body is the bytes of the
            model's only input and nothing else.

    Raises:
        ValueError: it is none, or not one for this model; says why.
    """
    length = _length(header_length, len(body))
    if length == 0 and header_length is not None:
        return Asked({_only(manifest): _raw(manifest, body)}, dict.fromkeys(manifest.outputs, True))
    said = _object(json_of(body[:length]), "the request")
    parameters = _parameters(said, "the request")
    values, rest = {}, body[length:]
    for entry in _list(said, "inputs"):
        name, used, value = _input(manifest, _object(entry, "an input"), rest)
        if name in values:
            raise ValueError(f"input {name!r} comes twice")
        values[name], rest = value, rest[used:]
    if rest:
        raise ValueError(f"{len(rest)} bytes follow that belong to no input")
    default = parameters.get("binary_data_output", False) is True
    named = said.get("id")
    if named is not None and type(named) is not str:
        raise ValueError(f"'id' must be a text, got {named!r}")
    return Asked(values, _outputs(manifest, said, default), named, _timeout_s(parameters))


def json_of(body: memoryview | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"failed to parse the request JSON: {error}") from None


def _length(header: str | None, size: int) -> int:
    """How long the JSON object is."""
    if header is None:
        return size
    if not (header.isascii() and header.isdigit() and int(header) <= size):
        raise ValueError(f"{HEADER_LENGTH} must be 0 to {size}, the body's length, got {header!r}")
    return int(header)


def _only(manifest: Manifest) -> str:
    if len(manifest.inputs) != 1:
        raise ValueError(
            f"{HEADER_LENGTH} 0 is for models of one input, this one has "
            f"{', '.join(manifest.inputs)}"
        )
    return manifest.inputs[0]


def _raw(manifest: Manifest, body: memoryview) -> Array:
    name = manifest.inputs[0]
    spec = manifest.tensors[name]
    return from_bytes(name, body, spec.shape, spec)


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be a JSON object, got {type(value).__name__}")
    return value


def _parameters(said: dict[str, Any], what: str) -> dict[str, Any]:
    return _object(said.get("parameters", {}), f"'parameters' of {what}")


def _list(said: dict[str, Any], key: str) -> list[Any]:
    if not isinstance(said.get(key), list):
        raise ValueError(f"the request must have a list {key!r}")
    found: list[Any] = said[key]
    return found


def _name(entry: dict[str, Any], what: str, known: tuple[str, ...], model_has: str) -> str:
    name = entry.get("name")
    if name not in known:
        raise ValueError(f"unexpected {what} {name!r}: the model has {model_has}")
    return str(name)


def _input(manifest: Manifest, entry: dict[str, Any], rest: memoryview) -> tuple[str, int, Array]:
    """An input's name, how many of the bytes that follow are its own, and its values."""
    name = _name(entry, "inference input", manifest.inputs, ", ".join(manifest.inputs))
    spec, came = manifest.tensors[name], entry.get("datatype")
    if came != datatype(name, spec):
        raise ValueError(f"input {name!r} must be {datatype(name, spec)}, got {came!r}")
    shape = entry.get("shape")
    if not isinstance(shape, list) or not all(type(s) is int and 0 <= s < 1 << 31 for s in shape):
        raise ValueError(f"input {name!r} must have a shape of whole numbers, got {shape!r}")
    parameters = _parameters(entry, f"input {name!r}")
    if "shared_memory_region" in parameters:
        raise ValueError(f"input {name!r} is in shared memory, which this server does not read")
    size = parameters.get("binary_data_size")
    if size is None:
        if "data" not in entry:
            raise ValueError(f"input {name!r} has neither 'data' nor 'binary_data_size'")
        return name, 0, shaped(name, from_json(name, entry["data"], spec), tuple(shape))
    if type(size) is not int or not 0 <= size <= len(rest):
        raise ValueError(
            f"'binary_data_size' of input {name!r} must be 0 to {len(rest)}, the bytes that are "
            f"left, got {size!r}"
        )
    return name, size, from_bytes(name, rest[:size], tuple(shape), spec)


def _outputs(manifest: Manifest, said: dict[str, Any], default: bool) -> dict[str, bool]:
    if not said.get("outputs"):
        return dict.fromkeys(manifest.outputs, default)
    outputs: dict[str, bool] = {}
    for entry in _list(said, "outputs"):
        asked = _object(entry, "an output")
        name = _name(asked, "inference output", manifest.outputs, ", ".join(manifest.outputs))
        parameters = _parameters(asked, f"output {name!r}")
        for unsupported in ("classification", "shared_memory_region"):
            if parameters.get(unsupported):
                raise ValueError(f"output {name!r} asks for {unsupported!r}: not supported here")
        outputs[name] = parameters.get("binary_data", default) is True
    return outputs


def _timeout_s(parameters: dict[str, Any]) -> float | None:
    """Triton's parameter: microseconds; 0 for the server's own."""
    timeout = parameters.get("timeout", 0)
    if type(timeout) is not int or timeout < 0:
        raise ValueError(f"'timeout' must be whole microseconds, got {timeout!r}")
    return timeout / 1e6 or None


def response(
    manifest: Manifest, model: str, asked: Asked, answer: dict[str, Array]
) -> tuple[bytes, int | None]:
    """A response's body, and the length of its JSON object where bytes follow it.

    Raises:
        ValueError: an output that JSON cannot hold was asked for in JSON.
    """
    outputs, contents = [], []
    for name, binary in asked.outputs.items():
        values = answer[name]
        entry: dict[str, Any] = {
            "name": name,
            "datatype": datatype(name, manifest.tensors[name]),
            "shape": list(values.shape),
        }
        if binary:
            contents.append(to_bytes(values))
            entry["parameters"] = {"binary_data_size": len(contents[-1])}
        else:
            entry["data"] = to_json(name, values)
        outputs.append(entry)
    said: dict[str, Any] = {} if asked.id is None else {"id": asked.id}
    said |= {"model_name": model, "model_version": VERSION, "outputs": outputs}
    head = json.dumps(said, separators=(",", ":")).encode()
    return b"".join([head, *contents]), len(head) if contents else None


def metadata(manifest: Manifest, model: str) -> dict[str, Any]:
    """What ``/v2/models/NAME`` says of the model."""
    return {
        "name": model,
        "versions": [VERSION],
        "platform": "tensorflow_tflite",
        "inputs": [described(manifest, name) for name in manifest.inputs],
        "outputs": [described(manifest, name) for name in manifest.outputs],
    }
