"""An operator as the rules of splitting see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras_concurrent.interpreter import Array
from keras_concurrent.tflite.draft import Draft, Step
from keras_concurrent.tflite.schema import shape_of, type_of


@dataclass(frozen=True)
class TensorView:
    """A tensor that an operator reads or writes.

    Args:
        shape: of it.
        dtype: NumPy's name of the type.
        varies: whether it depends on the model's inputs.
        value: its value, flat, where it is a small integer tensor that lies in the file; shapes,
            axes, paddings and the like are.
    """

    shape: tuple[int, ...]
    dtype: str
    varies: bool
    value: tuple[int, ...] | None = None


@dataclass(frozen=True)
class OperatorView:
    """An operator.

    Args:
        kind: the builtin's name, such as ``CONV_2D``.
        options: an object of the schema's Python classes.
        inputs: ``None`` for one that is left out.
        outputs: what it writes.
        flops: of one run.
    """

    kind: str
    options: Any
    inputs: tuple[TensorView | None, ...]
    outputs: tuple[TensorView, ...]
    flops: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its first output."""
        return self.outputs[0].shape

    def input(self, position: int) -> TensorView:
        """An input that is there.

        Raises:
            LookupError: it is left out.
        """
        found = self.inputs[position] if position < len(self.inputs) else None
        if found is None:
            raise LookupError(f"{self.kind} has no input {position}")
        return found

    def integers(self, position: int) -> tuple[int, ...]:
        """The integers that an input holds.

        Raises:
            LookupError: it is left out, or known only when the model runs.
        """
        value = self.input(position).value
        if value is None:
            raise LookupError(f"the input {position} of {self.kind} is known only when it runs")
        return value


_SMALL = 16  # values; no shape, axis or padding has more


def view_of(draft: Draft, step: Step, flops: int, varying: frozenset[int]) -> OperatorView:
    """What the rules need to know of an operator.

    Args:
        draft: the file.
        step: the operator.
        flops: of one run of it.
        varying: indices of the tensors that depend on the model's inputs.
    """

    def seen(index: int) -> TensorView:
        tensor = draft.tensors[index]
        shape, dtype = shape_of(tensor), type_of(tensor)
        small = dtype in ("int32", "int64") and sum(shape) <= _SMALL
        value: Array | None = draft.constant(index) if small else None
        known = None if value is None else tuple(int(v) for v in value)
        return TensorView(shape, dtype, index in varying, known)

    operator = step.operator
    return OperatorView(
        draft.kind(step),
        operator.builtinOptions,
        tuple(seen(i) if i >= 0 else None for i in operator.inputs),
        tuple(seen(i) for i in operator.outputs),
        flops,
    )
