"""Measured seconds of every task on this machine, because FLOPs alone mislead.

Small separable convolutions are bound by memory and by the cost of a call, not by arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from keras_concurrent.interpreter import Array, Segment
from keras_concurrent.taskgraph import TaskGraph
from keras_concurrent.tflite_file import TfliteFile


@dataclass(frozen=True)
class Profile:
    """What one machine needs, in seconds of one core.

    Args:
        seconds: of every task, the call not included.
        call_s: fixed cost of running one segment.
    """

    seconds: Mapping[str, float]
    call_s: float


def profile(
    file: TfliteFile,
    graph: TaskGraph,
    *,
    repeats: int = 15,
    progress: Callable[[int, int], None] | None = None,
) -> Profile:
    """Cut every task out, run it on random values, and take the median of its CPU time.

    What the tasks take together more than the uncut model is the cost of the calls; it is shared
    out equally and taken off each task, so that the tasks add up to the model.

    Args:
        file: the model.
        graph: of the file; its tasks are what is measured.
        repeats: runs of every task.
        progress: told how many tasks are measured, and of how many.
    """
    rng = np.random.default_rng(0)
    seconds: dict[str, float] = {}
    for done, task in enumerate(graph.tasks):
        if progress:
            progress(done, len(graph.tasks))
        content = file.cut(task.operators, task.inputs, task.outputs)
        seconds[task.name] = _cpu_seconds(Segment(content, name=task.name), file, rng, repeats)
    if progress:
        progress(len(graph.tasks), len(graph.tasks))
    whole = _cpu_seconds(Segment(file.data, name="the model"), file, rng, repeats)
    call_s = max(0.0, sum(seconds.values()) - whole) / max(1, len(seconds) - 1)
    call_s = min(call_s, min(seconds.values()))
    return Profile({name: value - call_s for name, value in seconds.items()}, call_s)


def _cpu_seconds(
    segment: Segment, file: TfliteFile, rng: np.random.Generator, repeats: int
) -> float:
    values = [_random(file, name, rng) for name in segment.input_names]
    segment.run(values)
    measured = []
    for _ in range(repeats):
        start = time.thread_time()
        segment.run(values)
        measured.append(time.thread_time() - start)
    return float(np.median(measured))


def _random(file: TfliteFile, name: str, rng: np.random.Generator) -> Array:
    info = file.tensors[name]
    if np.issubdtype(np.dtype(info.dtype), np.floating):
        return rng.random(info.shape).astype(info.dtype)
    return rng.integers(0, 2, info.shape).astype(info.dtype)
