"""An interpreter as LiteRT's (``ai_edge_litert``, ``tflite_runtime``), whose model the boards run.

A script that was written for one machine asks the boards after one changed import::

    from keras_concurrent.edge import Interpreter

    interpreter = Interpreter(model_path="bundle")

The cluster file is ``cluster.toml`` beside the bundle, or what ``KERAS_CONCURRENT_CLUSTER`` names;
keys lie in ``keys`` beside it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.client.connect import connect
from keras_concurrent.edge.manifest import WHOLE
from keras_concurrent.errors import ClusterError
from keras_concurrent.interpreter import Array

CLUSTER = "KERAS_CONCURRENT_CLUSTER"
SIGNATURE = "serving_default"


class Interpreter:
    """A bundle's model, run by the boards.

    Args:
        model_path: the bundle's folder.
        model_content: refused: boards run what was deployed to them.
        experimental_delegates: refused: boards have no accelerators of this kind.
        num_threads: of no consequence; each board computes with all its cores.
        client: of boards that are ready; by default the cluster file says where they are.

    Raises:
        ValueError: no bundle's folder, or one of what is refused.
        BundleError: the folder is no bundle, or the boards have another one.
        ClusterError: there is no cluster file.
        BoardError: boards are not ready.
    """

    def __init__(
        self,
        model_path: str | Path | None = None,
        model_content: bytes | None = None,
        experimental_delegates: Sequence[object] | None = None,
        num_threads: int | None = None,
        *,
        client: Client | None = None,
    ) -> None:
        if model_path is None or model_content is not None:
            raise ValueError(
                "model_path must be the folder of a bundle, which `keras-concurrent export` makes "
                "of a .tflite: boards run what was deployed to them, not the bytes of a file"
            )
        if experimental_delegates:
            raise ValueError("experimental_delegates must be empty: the boards choose how they run")
        bundle = Bundle(model_path)
        self._manifest = bundle.manifest
        whole = self._manifest.segments[WHOLE]  # the file's own order
        self._names = (*whole.inputs, *whole.outputs)
        self._inputs = len(whole.inputs)
        self._values: dict[int, Array] = {}
        if client is None:
            client = _connected(bundle)
            self._end = weakref.finalize(self, client.close)
            threading.Thread(target=_end_with_script, args=(self._end,)).start()
        self._client = client

    def close(self) -> None:
        """Leave the boards at once; otherwise that is done when nobody has the interpreter."""
        end = getattr(self, "_end", None)
        if end is not None:
            end()

    # ------------------------------------------------------------- tensors

    def allocate_tensors(self) -> None:
        """Nothing: every board has allocated its own."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """The inputs, as LiteRT describes them."""
        return [self._details(index) for index in range(self._inputs)]

    def get_output_details(self) -> list[dict[str, Any]]:
        """The outputs, as LiteRT describes them, in the order of the .tflite."""
        return [self._details(index) for index in range(self._inputs, len(self._names))]

    def get_tensor_details(self) -> list[dict[str, Any]]:
        """Inputs and outputs: what is between them lies on the boards."""
        return [self._details(index) for index in range(len(self._names))]

    def set_tensor(self, tensor_index: int, value: Array) -> None:
        """Give an input's value, which is copied.

        Raises:
            ValueError: no input, or a wrong shape or type; says what was expected.
        """
        name, spec = self._input(tensor_index)
        given = np.asarray(value)
        if given.dtype != np.dtype(spec.dtype) or given.shape != spec.shape:
            raise ValueError(
                f"Cannot set tensor: input {tensor_index}, {name!r}, must be {spec.dtype} of shape "
                f"{spec.shape}, got {given.dtype} of shape {given.shape}"
            )
        self._values[tensor_index] = given.copy()

    def get_tensor(self, tensor_index: int) -> Array:
        """A copy of a tensor's value.

        Raises:
            ValueError: no tensor, or it has no value yet.
        """
        return self._value(tensor_index).copy()

    def tensor(self, tensor_index: int) -> Callable[[], Array]:
        """What gives the value itself: an input's may be written to, an output's is the latest."""
        if self._is_input(tensor_index) and tensor_index not in self._values:
            spec = self._manifest.tensors[self._names[tensor_index]]
            self._values[tensor_index] = np.zeros(spec.shape, spec.dtype)
        return lambda: self._value(tensor_index)

    def resize_tensor_input(
        self, input_index: int, tensor_size: Sequence[int], strict: bool = False
    ) -> None:
        """Refused but for the shape that there is.

        Raises:
            ValueError: another shape.
        """
        name, spec = self._input(input_index)
        if tuple(int(size) for size in tensor_size) != spec.shape:
            raise ValueError(
                f"input {name!r} keeps its shape {spec.shape}, got {tuple(tensor_size)}: the model "
                "was cut for the boards with it; export it anew for another"
            )

    def reset_all_variables(self) -> None:
        """Nothing: what boards run keeps no variables."""

    # ------------------------------------------------------------- running

    def invoke(self) -> None:
        """Have the boards compute the outputs.

        Raises:
            ValueError: an input was not set.
            BoardError: a board failed, or the answer did not come in time.
        """
        inputs = {self._names[i]: self._value(i) for i in range(self._inputs)}
        answer = self._client.infer(inputs)
        for index in range(self._inputs, len(self._names)):
            self._values[index] = answer[self._names[index]]

    def get_signature_list(self) -> dict[str, dict[str, list[str]]]:
        """The one signature's names."""
        inputs, outputs = self._names[: self._inputs], self._names[self._inputs :]
        return {SIGNATURE: {"inputs": sorted(inputs), "outputs": sorted(outputs)}}

    def get_signature_runner(self, signature_key: str | None = None) -> SignatureRunner:
        """What takes inputs by name and gives outputs by name.

        Raises:
            ValueError: an unknown signature.
        """
        if signature_key not in (None, SIGNATURE):
            raise ValueError(f"signature_key must be {SIGNATURE!r}, got {signature_key!r}")
        return SignatureRunner(self)

    # ------------------------------------------------------------- inside

    def _is_input(self, index: int) -> bool:
        return 0 <= index < self._inputs

    def _input(self, index: int) -> tuple[str, Any]:
        if not self._is_input(index):
            raise ValueError(f"an input's index must be 0 to {self._inputs - 1}, got {index}")
        return self._names[index], self._manifest.tensors[self._names[index]]

    def _value(self, index: int) -> Array:
        if not 0 <= index < len(self._names):
            raise ValueError(
                f"a tensor's index must be 0 to {len(self._names) - 1}, got {index}: what is "
                "between inputs and outputs lies on the boards"
            )
        if index not in self._values:
            before = "set_tensor" if self._is_input(index) else "invoke"
            raise ValueError(
                f"tensor {index}, {self._names[index]!r}, has no value: {before} first"
            )
        return self._values[index]

    def _details(self, index: int) -> dict[str, Any]:
        name = self._names[index]
        spec = self._manifest.tensors[name]
        quantised = spec.scale is not None
        scales = [spec.scale] if quantised else []
        shape = np.array(spec.shape, np.int32)
        return {
            "name": name,
            "index": index,
            "shape": shape,
            "shape_signature": shape.copy(),
            "dtype": np.dtype(spec.dtype).type,
            "quantization": (spec.scale if quantised else 0.0, spec.zero_point),
            "quantization_parameters": {
                "scales": np.array(scales, np.float32),
                "zero_points": np.array([spec.zero_point] if quantised else [], np.int32),
                "quantized_dimension": 0,
            },
            "sparsity_parameters": {},
        }


class SignatureRunner:
    """Runs the model by the names of its inputs and outputs.

    Args:
        interpreter: whose model.
    """

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter

    def get_input_details(self) -> dict[str, dict[str, Any]]:
        """The inputs by name."""
        return {each["name"]: each for each in self._interpreter.get_input_details()}

    def get_output_details(self) -> dict[str, dict[str, Any]]:
        """The outputs by name."""
        return {each["name"]: each for each in self._interpreter.get_output_details()}

    def __call__(self, **inputs: Array) -> dict[str, Array]:
        """The outputs of inputs.

        Raises:
            ValueError: other inputs than the model's, a wrong shape or type.
            BoardError: a board failed, or the answer did not come in time.
        """
        wanted = self.get_input_details()
        if set(inputs) != set(wanted):
            raise ValueError(
                f"the inputs must be {', '.join(sorted(wanted))}, got {', '.join(sorted(inputs))}"
            )
        for name, value in inputs.items():
            self._interpreter.set_tensor(wanted[name]["index"], value)
        self._interpreter.invoke()
        return {
            name: self._interpreter.get_tensor(each["index"])
            for name, each in self.get_output_details().items()
        }


def _end_with_script(end: Callable[[], object]) -> None:
    """Leave the boards when the script has ended.

    No script of LiteRT's does it itself, and the connection's threads would keep the process.
    """
    threading.main_thread().join()
    end()


def _connected(bundle: Bundle) -> Client:
    named = os.environ.get(CLUSTER)
    path = Path(named) if named else bundle.path.resolve().parent / "cluster.toml"
    if not path.is_file():
        raise ClusterError(
            f"no cluster file at {path}: it says where the boards are; name it in {CLUSTER}"
        )
    keys = path.parent / "keys"
    return connect(bundle, Cluster.read(path), keys=keys if keys.is_dir() else None, ready="some")
