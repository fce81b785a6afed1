"""A plan's segments, cut out of the .tflite."""

from __future__ import annotations

from dataclasses import dataclass

from keras_concurrent.planning.schedule import Plan
from keras_concurrent.tflite.file import TfliteFile


@dataclass(frozen=True)
class CutSegment:
    """A segment's file.

    Args:
        task: name of the plan's task that it computes.
        content: the .tflite's bytes.
        inputs: tensor names, in the file's order.
        outputs: tensor names, in the file's order.
    """

    task: str
    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def cut(file: TfliteFile, plan: Plan) -> tuple[CutSegment, ...]:
    """Cut a plan's segments out of the .tflite that its graph was read from."""
    return tuple(
        CutSegment(
            task.name,
            file.cut(task.operators, task.inputs, task.outputs),
            task.inputs,
            task.outputs,
        )
        for task in plan.graph.tasks
    )
