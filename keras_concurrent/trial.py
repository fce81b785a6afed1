"""Any file tried by this machine's interpreter, in a process of its own that a bad one may kill.

An interpreter checks little of what it is given: a damaged file may end the process, or never let
it go on. So files are tried in a child, one for all of them, that is started anew once it is dead.

The child answers a line of JSON for a line of JSON, followed by the file's bytes.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_concurrent.children import Child
from keras_concurrent.errors import BundleError, TrialError
from keras_concurrent.interpreter import Segment, load_interpreter, reason_of

_WITHIN_S = 60  # that a file is given: the largest take seconds
_REASON_BYTES = 4000


@dataclass(frozen=True)
class Sizes:
    """What sizes tensors have, by their indices in the file.

    Args:
        shapes: of all tensors.
        unknown: those that have it only from this run: it depends on values.
        values: of the tensors that were asked for, those that have one.
    """

    shapes: tuple[tuple[int, ...], ...]
    unknown: frozenset[int]
    values: Mapping[int, Any]


def true_sizes(
    content: bytes,
    inputs: Mapping[int, Sequence[int]],
    written: Sequence[int],
    wanted: Sequence[int] | None = None,
) -> Sizes:
    """What sizes the interpreter gives to a file's tensors.

    Args:
        content: the file's bytes.
        inputs: shapes of its inputs, by their indices.
        written: indices of the tensors that its operators write.
        wanted: tensors of integers whose values are asked for. ``None`` does not run the file.

    Raises:
        BundleError: the interpreter refuses the file, or to run it on zeros.
        TrialError: the interpreter dies of it, or does not come back.
    """
    given = {str(index): list(map(int, shape)) for index, shape in inputs.items()}
    question = {"do": "sizes", "inputs": given, "written": written, "wanted": wanted}
    answer = _ask(question, content)
    return Sizes(
        tuple(tuple(shape) for shape in answer["shapes"]),
        frozenset(answer["unknown"]),
        {int(index): value for index, value in answer["values"].items()},
    )


def computed(content: bytes) -> list[Any]:
    """The outputs of a file without inputs, integers, as lists.

    Raises:
        BundleError, TrialError: see `true_sizes`.
    """
    outputs: list[Any] = _ask({"do": "computed"}, content)["outputs"]
    return outputs


def check_runs(content: bytes, name: str, outputs: Mapping[str, Sequence[int]]) -> None:
    """A file runs on zeros as on a board, and gives what it says.

    Args:
        content: the file's bytes.
        name: what to call it in errors.
        outputs: the shapes that its outputs must have, by their names.

    Raises:
        BundleError: the interpreter refuses it, or gives outputs of other shapes.
        TrialError: the interpreter dies of it, or does not come back.
    """
    shapes = _ask({"do": "run", "name": name}, content)["outputs"]
    for output, shape in outputs.items():
        if shapes.get(output, list(shape)) != list(shape):
            raise BundleError(
                f"{name} gives {output!r} of shape {tuple(shapes[output])}, where it says "
                f"{tuple(shape)}: its size is known only when it runs"
            )


# ---------------------------------------------------------------- the parent's side

_lock = threading.Lock()
_child: Child | None = None


def _ask(question: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    """The child's answer, from a new one where there is none."""
    global _child
    with _lock:
        if _child is None or _child.status is not None:
            _child = Child([sys.executable, "-m", __name__])
        try:
            header = {**question, "bytes": len(content)}
            _child.stdin.write(json.dumps(header).encode() + b"\n")
            _child.stdin.write(content)
            _child.stdin.flush()
            line = _child.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            status = _child.wait()
            _end()
            _child = None
            raise TrialError(_cause(status))
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise BundleError(answer["error"])
    return answer


def _cause(status: int) -> str:
    """Why a child ended, as a sentence without its subject, which is the interpreter."""
    if status == -signal.SIGALRM:
        return f"the interpreter has not come back after {_WITHIN_S} s"
    if status < 0:
        return f"the interpreter dies of it ({signal.Signals(-status).name})"
    return f"the interpreter ends with status {status}"


@atexit.register
def _end() -> None:
    if _child is not None:
        _child.kill()
        _child.stdout.close()


# ---------------------------------------------------------------- the child's side


def _serve() -> None:
    """Answer until the parent closes the pipe; a file that takes too long ends it."""
    questions = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    _limit_memory()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # compiled code writes to these
        os.dup2(nowhere, descriptor)
    while line := questions.readline():
        question = json.loads(line)
        content = questions.read(question["bytes"])
        signal.alarm(_WITHIN_S)
        try:
            answer = _ANSWERS[question["do"]](content, question)
        except BundleError as error:
            answer = {"error": str(error)}
        except (RuntimeError, ValueError) as error:
            answer = {"error": reason_of(error)}
        signal.alarm(0)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _limit_memory() -> None:
    """Let a file that asks for more memory than there is end the child, not the machine's work."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not every system has these
        import resource

        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer_sizes(content: bytes, question: Mapping[str, Any]) -> dict[str, Any]:
    module = load_interpreter()
    interpreter = module.Interpreter(
        model_content=content,
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    for index, shape in question["inputs"].items():
        interpreter.resize_tensor_input(int(index), shape)
    interpreter.allocate_tensors()
    unknown = [index for index in question["written"] if not _has_memory(interpreter, index)]
    values = {}
    if question["wanted"] is not None:
        for detail in interpreter.get_input_details():
            if detail["dtype"] not in (bytes, object, np.bytes_):
                zeros = np.zeros(detail["shape"], detail["dtype"])
                interpreter.set_tensor(detail["index"], zeros)
        interpreter.invoke()
        values = {
            index: interpreter.get_tensor(index).tolist()
            for index in question["wanted"]
            if _has_memory(interpreter, index)
        }
    details = {each["index"]: each for each in interpreter.get_tensor_details()}
    shapes = [
        list(map(int, details[index]["shape"])) if index in details else []
        for index in range(max(details, default=-1) + 1)
    ]
    return {"shapes": shapes, "unknown": unknown, "values": values}


def _has_memory(interpreter: Any, index: int) -> bool:
    """Whether a tensor's size is settled: what depends on values gets memory when it runs."""
    try:
        interpreter.tensor(index)()
    except ValueError:
        return bool(0 in interpreter._get_tensor_details(index, 0)["shape"])  # takes none
    return True


def _answer_computed(content: bytes, question: Mapping[str, Any]) -> dict[str, Any]:
    return {"outputs": [value.tolist() for value in Segment(content).run([])]}


def _answer_run(content: bytes, question: Mapping[str, Any]) -> dict[str, Any]:
    segment = Segment(content, name=question["name"])
    outputs = segment.run_on_zeros()
    shapes = {
        name: list(value.shape) for name, value in zip(segment.output_names, outputs, strict=True)
    }
    return {"outputs": shapes}


_ANSWERS = {"sizes": _answer_sizes, "computed": _answer_computed, "run": _answer_run}

if __name__ == "__main__":
    _serve()
