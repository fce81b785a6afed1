"""Measured seconds of every task on this machine, the host, because FLOPs alone mislead.

Small separable convolutions are bound by memory and by the cost of a call, not by arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from keras_concurrent.interpreter import Array, Segment
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.tflite.parts import Operator

_PASSES = 15  # runs of what is measured
_Work = tuple[str, int, tuple[tuple[tuple[int, ...], str], ...]]


@dataclass(frozen=True)
class HostSeconds:
    """What this machine needs, in seconds of one core.

    Args:
        seconds: by task, the call not included.
        call_s: fixed cost of running one segment.
    """

    seconds: Mapping[str, float]
    call_s: float


def measure_tasks_on_host(
    file: TfliteFile,
    graph: TaskGraph,
    *,
    passes: int = _PASSES,
    progress: Callable[[int, int], None] | None = None,
) -> HostSeconds:
    """Cut every task out, run it here on random values, and take the least of its CPU times.

    The tasks run one after another, as in the uncut model, so each finds the caches as it would
    there. What they take together more than the uncut model is the cost of the calls; it is shared
    out equally and taken off each task, so that the tasks add up to the model. The least counts
    because a task does the same work every time: anything above is the machine's noise.

    Args:
        file: the model.
        graph: the file's task graph, whose tasks are measured.
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
    return HostSeconds(
        {task.name: s - call_s for task, s in zip(graph.tasks, task_s, strict=True)}, call_s
    )


class HostCosts:
    """Gives the task graphs of a file, and of files rewritten from it, seconds measured here.

    The file's operators are measured once, see `measure_tasks_on_host`. A rewritten file has the
    same ones but for sums, encoders and decoders: of those, each kind and size is measured when it
    is first seen. So a search that tries many rewritten files need not measure each of them.

    Args:
        file: the model.
        flops_per_s: this machine's nominal rate, see `keras_concurrent.measured.host.measure_host`.
        progress: see `measure_tasks_on_host`.

    Attributes:
        call_s: fixed cost of running one segment on this machine.
    """

    def __init__(
        self,
        file: TfliteFile,
        flops_per_s: float,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._flops_per_s = flops_per_s
        graph = TaskGraph.from_tflite(file)
        tasks = measure_tasks_on_host(file, graph, progress=progress)
        self.call_s = tasks.call_s
        measured: dict[_Work, list[float]] = {}
        if file.whole_because is None:
            for task in graph.tasks:
                work = _work_of(file, file.operators[task.operators[0]])
                measured.setdefault(work, []).append(tasks.seconds[task.name])
        self._model_s = tasks.seconds
        self._seconds = {work: sum(all_s) / len(all_s) for work, all_s in measured.items()}

    def __call__(self, file: TfliteFile, graph: TaskGraph) -> TaskGraph:
        """The graph with seconds; its tasks are operators of the file, or groups of them."""
        seconds = self._model_s
        if file.whole_because is None:
            seconds = {
                task.name: sum(self._of(file, file.operators[index]) for index in task.operators)
                for task in graph.tasks
            }
        return graph.timed(seconds, self._flops_per_s)

    def _of(self, file: TfliteFile, operator: Operator) -> float:
        work = _work_of(file, operator)
        if work not in self._seconds:
            content = file.cut([operator.index], operator.inputs, operator.outputs)
            segment = Segment(content, name=operator.kind)
            rng = np.random.default_rng(0)
            values = [_random(file, name, rng) for name in segment.input_names]
            durations = []
            for _ in range(_PASSES + 1):
                start = time.thread_time()
                segment.run(values)
                durations.append(time.thread_time() - start)
            self._seconds[work] = max(0.0, min(durations) - self.call_s)
        return self._seconds[work]


def _work_of(file: TfliteFile, operator: Operator) -> _Work:
    """What an operator's time depends on: its kind, its weights, what it reads and writes."""
    tensors = (file.tensors[name] for name in (*operator.inputs, *operator.outputs))
    return (
        operator.kind, operator.parameter_bytes, tuple((t.shape, t.dtype) for t in tensors)
    )  # fmt: skip


def _random(file: TfliteFile, name: str, rng: np.random.Generator) -> Array:
    info = file.tensors[name]
    if np.issubdtype(np.dtype(info.dtype), np.floating):
        return rng.random(info.shape).astype(info.dtype)
    return rng.integers(0, 2, info.shape).astype(info.dtype)
