"""Rows of an image that the client sends in place of all of it, to boards that read no more."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Protocol

from keras_concurrent.errors import BundleError
from keras_concurrent.interpreter import Array


class _Tensor(Protocol):
    """What a manifest says of a tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """With its batch of one."""

    @property
    def dtype(self) -> str:
        """NumPy's name of its type."""


@dataclass(frozen=True)
class Band:
    """Rows of an input.

    Args:
        input: the model's input, of shape (1, rows, ...).
        first: the first row.
        end: the row behind the last.
    """

    input: str
    first: int
    end: int

    def of(self, value: Array) -> Array:
        """The band of an input's value."""
        return value[:, self.first : self.end]

    def check(self, name: str, inputs: Container[str], tensors: Mapping[str, _Tensor]) -> None:
        """The band lies in its input, and its tensor is as large.

        Args:
            name: of the tensor that holds it.
            inputs: the model's.
            tensors: all, by name.

        Raises:
            BundleError: it does not, or is not.
        """
        if name not in tensors or name in inputs:
            raise BundleError(f"the band {name!r} must be a tensor of its own")
        if self.input not in inputs:
            raise BundleError(f"the band {name!r} must be of an input, got {self.input!r}")
        rows, whole, spec = (self.first, self.end), tensors[self.input], tensors[name]
        if not all(type(row) is int for row in rows) or not (
            len(whole.shape) > 1 and 0 <= self.first < self.end <= whole.shape[1]
        ):
            raise BundleError(
                f"the band {name!r} must lie in the input's {whole.shape}, got rows {rows}"
            )
        shape = (whole.shape[0], self.end - self.first, *whole.shape[2:])
        if (spec.shape, spec.dtype) != (shape, whole.dtype):
            raise BundleError(
                f"the band {name!r} must be {whole.dtype} of shape {shape}, got {spec.dtype} of "
                f"shape {spec.shape}"
            )
