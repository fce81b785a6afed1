"""A plan as a file that a person can read and change, and back.

::

    schema_version = 1
    model_sha256 = "9f86d0..."      # of the .tflite that it places

    [[segment]]                     # 1.20 to 4.75 ms, vertex_01, vertex_04
    board = "pi4-2"
    operators = "0-11 14"           # of the .tflite, by number

Every ``[[segment]]`` is what a board runs in one call. Their order is the order of running on each
board; messages are planned anew, in the order in which segments need them. Write another board,
move a segment up or down, split or join lists of operators: whatever can run is taken as it is
written, and what cannot is refused with the reason.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from keras_concurrent.cluster import Cluster
from keras_concurrent.errors import PlacementError
from keras_concurrent.planning.schedule import Plan, check_memory, decode
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.versioned import FileKind

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - Python 3.10
    import tomli as tomllib

_FILE = FileKind("a placement", 1, "`keras-concurrent plan --out` writes one", PlacementError)
_HEAD = """\
# Which board computes what, in which order. Every [[segment]] is one call of the interpreter.
# Change a board, move a segment, split or join its operators; then look what it comes to:
#   keras-concurrent plan MODEL --cluster CLUSTER --placement THIS_FILE
"""


def placement_toml(plan: Plan, model_sha256: str) -> str:
    """A plan's file.

    Args:
        plan: one of segments, from `keras_concurrent.planning.segments.plan_segments`; its tasks
        have operators.
        model_sha256: of the .tflite.
    """
    lines = [_HEAD, _FILE.to_toml_line(), f'model_sha256 = "{model_sha256}"']
    for slot in plan.slots:
        task = plan.graph.by_name[slot.task]
        about = f"{slot.start_s * 1e3:.2f} to {slot.end_s * 1e3:.2f} ms"
        about = ", ".join([about, *sorted(task.vertices)])
        lines += [
            "",
            f"[[segment]]  # {about}",
            f'board = "{slot.board}"',
            f'operators = "{_ranges(task.operators)}"',
        ]
    return "\n".join(lines) + "\n"


def read_placement(path: str | Path, graph: TaskGraph, cluster: Cluster, model_sha256: str) -> Plan:
    """The plan that a file describes, with its predicted times.

    Args:
        path: the file.
        graph: the .tflite's, one task an operator.
        cluster: the boards.
        model_sha256: of the .tflite.

    Raises:
        PlacementError: the file cannot be read or is of another model, an operator is missing,
            unknown or placed twice, a board is unknown, or segments wait for each other.
        ClusterError: a board has not the memory for what is placed on it.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlacementError(f"cannot read {path}: {error}") from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlacementError(f"{path} is no TOML file: {error}") from error
    try:
        return _plan(_segments(data, model_sha256), graph, cluster)
    except PlacementError as error:
        raise PlacementError(f"{path}: {error}") from None


def _segments(data: dict[str, Any], model_sha256: str) -> list[tuple[str, list[int]]]:
    """Board and operators of every segment, in the file's order."""
    data = _FILE.content(data)
    model = data.pop("model_sha256", None)
    if model != model_sha256:
        raise PlacementError(
            f"it places another model: model_sha256 must be {model_sha256}, got {model!r}"
        )
    listed = data.pop("segment", [])
    if data or not isinstance(listed, list):
        raise PlacementError(
            "expected schema_version, model_sha256 and [[segment]] tables, "
            f"got {', '.join(sorted(data)) or '[segment]'}"
        )
    segments = []
    for number, segment in enumerate(listed, start=1):
        if not isinstance(segment, dict) or segment.keys() != {"board", "operators"}:
            raise PlacementError(f"segment {number} must have board and operators, got {segment!r}")
        segments.append((segment["board"], _numbers(number, segment["operators"])))
    return segments


def _plan(segments: list[tuple[str, list[int]]], graph: TaskGraph, cluster: Cluster) -> Plan:
    task_of = {operator: task.name for task in graph.tasks for operator in task.operators}
    known = {board.name for board in cluster.boards}
    placed: dict[int, int] = {}
    for number, (board, operators) in enumerate(segments, start=1):
        if board not in known:
            raise PlacementError(
                f"segment {number}: no board is named {board!r}; the cluster has "
                f"{', '.join(sorted(known))}"
            )
        for operator in operators:
            if operator not in task_of:
                raise PlacementError(
                    f"segment {number}: there is no operator {operator}; the model's are "
                    f"{_ranges(task_of)}"
                )
            if operator in placed:
                raise PlacementError(
                    f"operator {operator} is in segment {placed[operator]} and in {number}"
                )
            placed[operator] = number
    missing = task_of.keys() - placed.keys()
    if missing:
        raise PlacementError(f"no segment has the operators {_ranges(missing)}")
    for task in graph.tasks:
        if len({placed[operator] for operator in task.operators}) > 1:
            raise PlacementError(
                f"operators {_ranges(task.operators)} are one task; keep them in one segment"
            )
    groups = [dict.fromkeys(task_of[operator] for operator in own) for _, own in segments]
    try:
        merged = graph.quotient([list(group) for group in groups])
    except ValueError as error:
        raise PlacementError(f"the segments cannot run in any order: {error}") from error
    number_of = {task.name: placed[task.operators[0]] for task in merged.tasks}
    in_order = sorted(merged.tasks, key=lambda task: number_of[task.name])
    for task in in_order:
        for before in merged.predecessors[task.name]:
            if number_of[before] > number_of[task.name]:
                raise PlacementError(
                    f"segment {number_of[task.name]} needs what segment {number_of[before]} "
                    f"writes; move it behind that"
                )
    homes = {task.name: segments[number_of[task.name] - 1][0] for task in in_order}
    plan = decode(replace(merged, tasks=tuple(in_order)), cluster, homes)
    check_memory(plan, cluster)
    return plan


def _ranges(numbers: Iterable[int]) -> str:
    """``"0-11 14"``."""
    runs = groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0])
    spans = [[number for _, number in run] for _, run in runs]
    return " ".join(f"{s[0]}" if len(s) == 1 else f"{s[0]}-{s[-1]}" for s in spans)


def _numbers(segment: int, text: object) -> list[int]:
    """What `_ranges` wrote."""
    if not isinstance(text, str) or not re.fullmatch(r"\d+(-\d+)?( \d+(-\d+)?)*", text.strip()):
        raise PlacementError(f"segment {segment}: operators must look like '0-11 14', got {text!r}")
    numbers: list[int] = []
    for part in text.split():
        first, _, last = part.partition("-")
        if int(last or first) - int(first) > 1_000_000:
            raise PlacementError(f"segment {segment}: {part} is too long a range")
        numbers += range(int(first), int(last or first) + 1)
    if not numbers:
        raise PlacementError(f"segment {segment}: operators must not be empty, got {text!r}")
    return numbers
