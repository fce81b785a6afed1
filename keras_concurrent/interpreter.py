"""ai-edge-litert or tflite-runtime behind one small face. Never TensorFlow."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_concurrent.errors import BundleError, MissingExtraError

Array = NDArray[Any]
_PACKAGES = ("ai_edge_litert", "tflite_runtime")


def interpreter_package() -> str:
    """The name of the interpreter's package on this machine.

    Raises:
        MissingExtraError: neither is installed, or tflite-runtime stands beside NumPy 2, under
            which its constructor crashes.
    """
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            continue
        if package == "tflite_runtime" and int(np.__version__.split(".")[0]) >= 2:
            raise MissingExtraError(
                f"tflite-runtime crashes under NumPy {np.__version__}; 'numpy<2' (or "
                "ai-edge-litert)",
                "edge",
            )
        return package
    raise MissingExtraError("ai-edge-litert or tflite-runtime", "edge")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep log lines of compiled code (file descriptors 1 and 2) off the terminal.

    When the work fails, the end of what was written is shown, since it may hold the cause.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as log:
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            yield
        except Exception:
            log.seek(0)
            os.write(saved[1], log.read()[-4000:])
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            os.close(saved[0])
            os.close(saved[1])


def load_interpreter() -> Any:
    """The interpreter's module.

    Raises:
        MissingExtraError: see `interpreter_package`.
    """
    return importlib.import_module(f"{interpreter_package()}.interpreter")


class Segment:
    """A loaded .tflite: arrays in, arrays out, in the file's own order.

    Args:
        content: the file's bytes.
        threads: how many the kernels compute with.
        name: what to call it in errors.

    Raises:
        BundleError: the interpreter refuses the file.
    """

    def __init__(self, content: bytes, threads: int = 1, name: str = "segment") -> None:
        module, package = load_interpreter(), interpreter_package()
        try:
            with quiet():
                self._interpreter = module.Interpreter(model_content=content, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            reason = _own_reason(module, content) or reason_of(error)
            raise BundleError(f"{package} cannot load {name}: {reason}") from error
        self.name = name
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        self._input_names = tuple(detail["name"] for detail in inputs)
        self._output_names = tuple(detail["name"] for detail in outputs)
        self._input_indices = [detail["index"] for detail in inputs]
        # The function is kept, and asked each time: its answer may not be held while computing.
        self._output_views = [self._interpreter.tensor(detail["index"]) for detail in outputs]

    @property
    def input_names(self) -> tuple[str, ...]:
        """Tensor names, in the order in which `run` takes them."""
        return self._input_names

    @property
    def output_names(self) -> tuple[str, ...]:
        """Tensor names, in the order in which `run` gives them."""
        return self._output_names

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Compute once.

        Args:
            inputs: one array a tensor of `input_names`, of its shape and dtype.

        Returns:
            New arrays, one a tensor of `output_names`.
        """
        return [value.copy() for value in self.run_in_place(inputs)]

    def run_in_place(self, inputs: Sequence[Array]) -> list[Array]:
        """Compute once, see `run`. Nothing is remembered of the time before (LSTM's state).

        Returns:
            The interpreter's own memory, an array a tensor of `output_names`: valid until it
            computes again, which it refuses to while any is held.
        """
        for index, value in zip(self._input_indices, inputs, strict=True):
            self._interpreter.set_tensor(index, value)
        self._interpreter.reset_all_variables()
        self._interpreter.invoke()
        return [view() for view in self._output_views]

    def run_on_zeros(self) -> list[Array]:
        """Compute once, whatever the shapes and types of its inputs.

        Returns:
            New arrays, see `run`.

        Raises:
            BundleError: it takes text, or cannot compute.
        """
        zeros = []
        for detail in self._interpreter.get_input_details():
            if not issubclass(detail["dtype"], (np.number, np.bool_)):
                raise BundleError(f"{self.name} takes text, {detail['name']!r}: expected numbers")
            zeros.append(np.zeros(detail["shape"], detail["dtype"]))
        try:
            return self.run(zeros)
        except (RuntimeError, ValueError) as error:
            reason = reason_of(error)
            raise BundleError(
                f"{interpreter_package()} cannot run {self.name}: {reason}"
            ) from error


_AT_NODE = re.compile(r"\s*Node number (\d+) \((.*?)\) failed to (?:prepare|invoke)\.?\s*")


def reason_of(error: Exception) -> str:
    """Why the interpreter refuses a file, in one line.

    Of operators that it does not have their names; otherwise its own words, and of which operator
    they are.
    """
    text = str(error)
    found = _AT_NODE.search(text)
    said = " ".join(_AT_NODE.sub("; ", text).split()).strip("; ")
    if found is None:
        return said
    number, kind = found.groups()
    if "Select TensorFlow op" in said:
        own = kind.removeprefix("Flex")
        return f"it has not the operator {own!r} of TensorFlow's own, number {number}"
    if "unresolved custom op" in said:
        return f"it has not the custom operator {kind!r}, number {number}"
    return f"{said or 'no reason given'} (operator {number}, {kind})"


def _own_reason(module: Any, content: bytes) -> str | None:
    """Why the kernels themselves refuse a file: XNNPACK, which comes before them, tells little."""
    plain = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with quiet():
        try:
            interpreter = module.Interpreter(
                model_content=content, experimental_op_resolver_type=plain
            )
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            return reason_of(error)
    return None


def bytes_of(values: Array) -> memoryview:
    """The bytes of an array, without copying them where it is in one piece."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
