"""Requests and responses of ``/v1/models/NAME:predict``, as TensorFlow Serving has them.

By rows, ``instances`` has an entry an image: its value, or with several inputs an object by input.
By columns, ``inputs`` has one value for all images, or an object by input. The answer, in
``predictions`` or ``outputs``, is laid out likewise.
"""

from __future__ import annotations

from typing import Any

from keras_concurrent.edge.manifest import Manifest
from keras_concurrent.interpreter import Array
from keras_concurrent.serve.inference import VERSION, json_of
from keras_concurrent.serve.tensors import datatype, described, from_json, takes_batches

_SIGNATURE = "serving_default"


def read_predict(manifest: Manifest, body: memoryview) -> tuple[dict[str, Array], bool]:
    """Values by input, and whether the request is by rows.

    Raises:
        ValueError: it is none, or not one for this model; says why.
    """
    said = json_of(body)
    if not isinstance(said, dict) or ("instances" in said) == ("inputs" in said):
        raise ValueError("the request must be a JSON object with either 'instances' or 'inputs'")
    signature = said.get("signature_name", _SIGNATURE)
    if signature != _SIGNATURE:
        raise ValueError(f"'signature_name' must be {_SIGNATURE!r}, got {signature!r}")
    by_rows = "instances" in said
    if by_rows and not takes_batches(manifest):
        raise ValueError("the model has no batch axis: give 'inputs' instead of 'instances'")
    columns = _by_columns(manifest, said["instances"]) if by_rows else said["inputs"]
    if not isinstance(columns, dict):
        if len(manifest.inputs) != 1:
            raise ValueError(f"the inputs must be named: {', '.join(manifest.inputs)}")
        columns = {manifest.inputs[0]: columns}
    unknown = sorted(columns.keys() - set(manifest.inputs))
    if unknown:
        raise ValueError(
            f"expected the inputs {', '.join(manifest.inputs)}, got {', '.join(columns)}"
        )
    values = {name: from_json(name, data, manifest.tensors[name]) for name, data in columns.items()}
    return values, by_rows


def _by_columns(manifest: Manifest, rows: Any) -> dict[str, list[Any]]:
    """Rows turned to one list an input."""
    if not isinstance(rows, list) or not rows:
        raise ValueError("'instances' must be a list of at least one image")
    if not all(isinstance(row, dict) for row in rows):
        if len(manifest.inputs) != 1:
            raise ValueError(f"each instance must name the inputs: {', '.join(manifest.inputs)}")
        return {manifest.inputs[0]: rows}
    names = set(rows[0])
    if any(set(row) != names for row in rows):
        raise ValueError("every instance must have the same inputs")
    return {name: [row[name] for row in rows] for name in rows[0]}


def predicted(manifest: Manifest, answer: dict[str, Array], *, by_rows: bool) -> dict[str, Any]:
    """The response."""
    names = manifest.outputs
    lists = {name: answer[name].tolist() for name in names}
    if not by_rows:
        return {"outputs": lists[names[0]] if len(names) == 1 else lists}
    if len(names) == 1:
        return {"predictions": lists[names[0]]}
    rows = zip(*lists.values(), strict=True)
    return {"predictions": [dict(zip(names, row, strict=True)) for row in rows]}


def status() -> dict[str, Any]:
    """What ``/v1/models/NAME`` says of the model's one version."""
    fine = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": VERSION, "state": "AVAILABLE", "status": fine}]}


def signature(manifest: Manifest, model: str) -> dict[str, Any]:
    """What ``/v1/models/NAME/metadata`` says of the model."""

    def tensors(names: tuple[str, ...]) -> dict[str, Any]:
        return {name: _tensor_info(manifest, name) for name in names}

    serving = {
        "inputs": tensors(manifest.inputs),
        "outputs": tensors(manifest.outputs),
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": model, "signature_name": "", "version": VERSION},
        "metadata": {"signature_def": {"signature_def": {_SIGNATURE: serving}}},
    }


def _tensor_info(manifest: Manifest, name: str) -> dict[str, Any]:
    kind = {"FP16": "HALF", "FP32": "FLOAT", "FP64": "DOUBLE"}
    dtype = datatype(name, manifest.tensors[name])
    sizes = described(manifest, name)["shape"]
    return {
        "dtype": f"DT_{kind.get(dtype, dtype)}",
        "tensor_shape": {
            "dim": [{"size": str(size), "name": ""} for size in sizes],
            "unknown_rank": False,
        },
        "name": name,
    }
