"""Concurrent architectures for Keras: one image, several boards, sooner.

The names here are loaded on first use, so that ``import keras_concurrent`` imports neither
TensorFlow nor networkx. Loading a saved model needs its layers: ``import
keras_concurrent.layers``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from keras_concurrent._version import __version__

if TYPE_CHECKING:
    from keras_concurrent.cluster import Cluster as Cluster
    from keras_concurrent.convert import to_tflite as to_tflite
    from keras_concurrent.edge.bundle import Bundle as Bundle
    from keras_concurrent.edge.client.client import Client as Client
    from keras_concurrent.edge.testbed.local_boards import LocalBoards as LocalBoards
    from keras_concurrent.errors import ConcurrentError as ConcurrentError
    from keras_concurrent.export.assemble import export_bundle as export_bundle
    from keras_concurrent.models import ConcurrentModel as ConcurrentModel
    from keras_concurrent.models import build_model as build_model
    from keras_concurrent.networks.architecture import Architecture as Architecture
    from keras_concurrent.networks.generators import generate as generate
    from keras_concurrent.networks.staging import stage as stage
    from keras_concurrent.planning.segments import plan_segments as plan_segments
    from keras_concurrent.planning.taskgraph import TaskGraph as TaskGraph
    from keras_concurrent.report.page import write_report as write_report
    from keras_concurrent.scoring.concurrency import concurrency_score as concurrency_score
    from keras_concurrent.tflite.file import TfliteFile as TfliteFile

_MODULE_OF = {
    "Architecture": "networks.architecture",
    "Bundle": "edge.bundle",
    "Client": "edge.client.client",
    "Cluster": "cluster",
    "ConcurrentError": "errors",
    "ConcurrentModel": "models",
    "LocalBoards": "edge.testbed.local_boards",
    "TaskGraph": "planning.taskgraph",
    "TfliteFile": "tflite.file",
    "build_model": "models",
    "concurrency_score": "scoring.concurrency",
    "export_bundle": "export.assemble",
    "generate": "networks.generators",
    "plan_segments": "planning.segments",
    "stage": "networks.staging",
    "to_tflite": "convert",
    "write_report": "report.page",
}

__all__ = [*sorted(_MODULE_OF), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    except ModuleNotFoundError as error:
        from keras_concurrent.extras import named

        raise named(error) from error


def __dir__() -> list[str]:
    return sorted(__all__)
