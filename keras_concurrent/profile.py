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


def profile_tasks(
    file: TfliteFile,
    graph: TaskGraph,
    *,
    passes: int = 15,
    progress: Callable[[int, int], None] | None = None,
) -> Profile:
    """Cut every task out, run it on random values, and take the least of its CPU times.

    The tasks run one after another, as in the uncut model, so each finds the caches as it would
    there. What they take together more than the uncut model is the cost of the calls; it is shared
    out equally and taken off each task, so that the tasks add up to the model. The least counts
    because a task does the same work every time: anything above is the machine's noise.

    Args:
        file: the model.
        graph: of the file; its tasks are what is measured.
        passes: runs of every task.
        progress: told how many passes are done, and of how many.
    """
    rng = np.random.default_rng(0)
    whole = Segment(file.data, name="the model")
    segments = [
        Segment(file.cut(task.operators, task.inputs, task.outputs), name=task.name)
        for task in graph.tasks
    ]
    steps = [
        (segment, [_random(file, name, rng) for name in segment.input_names])
        for segment in (whole, *segments)
    ]
    measured: list[list[float]] = [[] for _ in steps]
    for done in range(passes + 1):
        if progress:
            progress(done, passes)
        for durations, (segment, values) in zip(measured, steps, strict=True):
            start = time.thread_time()
            segment.run(values)
            durations.append(time.thread_time() - start)
    model_s, *task_s = [min(durations) for durations in measured]
    call_s = max(0.0, sum(task_s) - model_s) / max(1, len(task_s) - 1)
    call_s = min(call_s, *task_s)
    return Profile(
        {task.name: s - call_s for task, s in zip(graph.tasks, task_s, strict=True)}, call_s
    )


def _random(file: TfliteFile, name: str, rng: np.random.Generator) -> Array:
    info = file.tensors[name]
    if np.issubdtype(np.dtype(info.dtype), np.floating):
        return rng.random(info.shape).astype(info.dtype)
    return rng.integers(0, 2, info.shape).astype(info.dtype)
