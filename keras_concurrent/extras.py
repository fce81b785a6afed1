"""Which extra of ``keras-concurrent`` installs what."""

from __future__ import annotations

from keras_concurrent.errors import MissingExtraError

EXTRA_OF = {
    "ai_edge_litert": "edge",
    "av": "video",
    "cryptography": "keys",
    "flatbuffers": "design",
    "grpc": "design",
    "jinja2": "report",
    "keras": "design",
    "keras_tuner": "design",
    "markupsafe": "report",
    "matplotlib": "report",
    "mlxtend": "data",
    "mtkahypar": "design",
    "networkx": "design",
    "numba": "design",
    "optuna": "optuna",
    "ortools": "polish",
    "PIL": "report",
    "prometheus_client": "serve",
    "skimage": "data",
    "sklearn": "data",
    "starlette": "serve",
    "tensorflow": "design",
    "tflite_runtime": "edge",
    "uvicorn": "serve",
    "zenoh": "edge",
}
"""The packages that are no requirement of all, by the names that they are imported by."""


def named(error: ImportError) -> ImportError:
    """A failed import, as one that names the extra, where an extra has what was not found."""
    package = (error.name or "").split(".")[0]
    if isinstance(error, ModuleNotFoundError) and package in EXTRA_OF:
        return MissingExtraError(package, EXTRA_OF[package])
    return error
