"""A .tflite as a task graph."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from keras_concurrent.planning.taskgraph import Task, TaskGraph
from keras_concurrent.tflite.parts import Operator

if TYPE_CHECKING:  # a file's `tasks` calls this
    from keras_concurrent.tflite.file import TfliteFile

_VERTEX = re.compile(r"(?:^|/)(vertex_\d+)(?:_\d+)?/")


def tasks_of(file: TfliteFile) -> TaskGraph:
    """One task an operator that depends on the inputs; one in all for a file that stays whole.

    Outputs that are the same for every image are the last task's to give; inputs that no operator
    reads are the first task's to take, so that every plan sends them to where the whole runs.
    """
    if file.whole_because is not None:
        indices = tuple(operator.index for operator in file.operators)
        tasks = [
            Task(
                "model",
                file.flops,
                file.inputs,
                (),
                file.parameter_bytes,
                indices,
                int8_flops=sum(_int8_flops(file, operator) for operator in file.operators),
                touched_bytes=sum(_touched_bytes(file, operator) for operator in file.operators),
                operator_count=len(indices),
            )
        ]
    else:
        tasks = [
            Task(
                f"{operator.index:04d}_{operator.kind}",
                operator.flops,
                operator.inputs,
                operator.outputs,
                operator.parameter_bytes,
                (operator.index,),
                tuple(_VERTEX.findall(operator.outputs[0])[:1]),
                int8_flops=_int8_flops(file, operator),
                touched_bytes=_touched_bytes(file, operator),
                operator_count=1,
            )
            for operator in file.operators
            if not operator.constant
        ]
    written = {*file.inputs, *(tensor for task in tasks for tensor in task.outputs)}
    others = tuple(dict.fromkeys(name for name in file.outputs if name not in written))
    tasks[-1] = replace(tasks[-1], outputs=(*tasks[-1].outputs, *others))
    read = {tensor for task in tasks for tensor in task.inputs}
    unread = tuple(name for name in dict.fromkeys(file.inputs) if name not in read)
    tasks[0] = replace(tasks[0], inputs=(*tasks[0].inputs, *unread))
    used = {t for task in tasks for t in (*task.inputs, *task.outputs)}
    used.update(file.inputs, file.outputs)
    sizes = {name: file.tensors[name].bytes for name in used}
    return TaskGraph(tuple(tasks), sizes, file.inputs, tuple(dict.fromkeys(file.outputs)))


def _int8_flops(file: TfliteFile, operator: Operator) -> int:
    """An operator's FLOPs if all that varies is int8, otherwise none."""
    dtypes = {file.tensors[name].dtype for name in (*operator.inputs, *operator.outputs)}
    return operator.flops if dtypes == {"int8"} else 0


def _touched_bytes(file: TfliteFile, operator: Operator) -> int:
    """Bytes of the tensors and weights that an operator reads and writes."""
    tensors = (*operator.inputs, *operator.outputs)
    return sum(file.tensors[name].bytes for name in tensors) + operator.parameter_bytes
