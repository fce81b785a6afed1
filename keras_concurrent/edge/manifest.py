"""The manifest of a bundle: tensors, segments, and who runs and sends what.

A placement says which board runs which segments, in which order, and which tensors it sends where,
in which order. Every bundle has two: ``"boards"``, the plan, and ``"one_board"``, what it has to
beat. Where one board is best the two are alike.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from keras_concurrent.bands import Band
from keras_concurrent.board import CLIENT
from keras_concurrent.edge.placement import Placement, Program, Send, placement_of
from keras_concurrent.edge.preprocessing import Preprocessing
from keras_concurrent.edge.printable import printable
from keras_concurrent.errors import BundleError
from keras_concurrent.interpreter import Array
from keras_concurrent.versioned import FileKind

MANIFEST = "manifest.json"
WHOLE = "model"
"""Name of the segment that is the uncut model."""
_FILE = FileKind(MANIFEST, 1, "export the model anew", BundleError)
PLACEMENTS = ("boards", "one_board")

DTYPES = (
    "float32", "float16", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "bool", "float64", "complex64", "complex128",
)  # fmt: skip
"""NumPy's names of the types that travel."""
CODES = ("int8", "uint8", "int16", "uint16")
"""Dtypes whose integers may stand for real values."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_TENSOR_BYTES = 1 << 28
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.tflite")


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that enters, leaves or crosses boards.

    Args:
        shape: with its batch of one.
        dtype: NumPy's name of its type.
        scale: of a model's input or output whose integers stand for real values: what one step
            is worth, ``value = scale * (code - zero_point)``. ``None`` where nothing is known of
            that, as in bundles of older versions.
        zero_point: the integer that stands for 0.
    """

    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int = 0

    @cached_property
    def bytes(self) -> int:
        """Size of its value."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def quantised(self, values: Array) -> Array:
        """Real values as the integers that stand for them, the nearest that there is.

        Raises:
            ValueError: a tensor without a scale.
        """
        if self.scale is None:
            raise ValueError(f"a tensor must have a scale to be quantised, got {self}")
        limits = np.iinfo(self.dtype)
        codes = np.rint(values / self.scale + self.zero_point)
        return np.clip(codes, limits.min, limits.max).astype(self.dtype)

    def dequantised(self, codes: Array) -> Array:
        """The real values that integers stand for, in float32; without a scale, what was given."""
        if self.scale is None:
            return codes
        return (self.scale * (codes.astype(np.float64) - self.zero_point)).astype(np.float32)


@dataclass(frozen=True)
class SegmentSpec:
    """A segment's file, and the tensors it reads and writes, in the file's order.

    Its ``flops``, of which int8 operators do ``int8_flops``, tell how its time on one board
    compares with that on another.
    """

    file: str
    sha256: str
    bytes: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    vertices: tuple[str, ...] = ()
    flops: int = 0
    int8_flops: int = 0


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says.

    Args:
        inputs: names of the model's inputs.
        outputs: names of the model's outputs.
        tensors: shape and dtype of every tensor that a segment reads or writes.
        segments: by name; ``WHOLE`` is the uncut model.
        placements: ``"boards"`` and ``"one_board"``.
        architecture: the network's recipe as JSON, where it has one.
        preprocessing: how a picture becomes what the model takes, where somebody said it.
        class_names: by class, where somebody gave them.
        bands: what the client cuts out of the inputs for segments that read no more, by the names
            of the tensors that hold it.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, TensorSpec]
    segments: Mapping[str, SegmentSpec]
    placements: Mapping[str, Placement]
    architecture: str | None = None
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] = ()
    bands: Mapping[str, Band] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of all that the client has: the inputs, and bands of them."""
        return (*self.inputs, *self.bands)

    def sent(self, tensor: str, inputs: Mapping[str, Array]) -> Array:
        """What the client sends as one of its `sources`, for values of the inputs."""
        band = self.bands.get(tensor)
        return inputs[tensor] if band is None else band.of(inputs[band.input])

    @cached_property
    def tensor_names(self) -> tuple[str, ...]:
        """Names of the tensors by their numbers, as which they travel."""
        return tuple(sorted(self.tensors))

    @cached_property
    def tensor_numbers(self) -> Mapping[str, int]:
        """Numbers of the tensors by their names."""
        return {name: number for number, name in enumerate(self.tensor_names)}

    def check(self) -> None:
        """Everything referred to exists, and every segment gets what it reads.

        Raises:
            BundleError: something does not.
        """
        for name in (*self.tensors, *self.segments):
            if printable(name) != name:  # it would reach boards as another
                raise BundleError(f"the name {name!r} has control characters")
        for name, spec in self.tensors.items():
            if not all(type(size) is int and size >= 0 for size in spec.shape):
                raise BundleError(f"tensor {name!r} must have whole sizes, got {spec.shape!r}")
            if spec.dtype not in DTYPES:
                raise BundleError(
                    f"tensor {name!r} must have one of the dtypes {', '.join(DTYPES)}, "
                    f"got {spec.dtype!r}"
                )
            _check_code(name, spec)
            if spec.bytes > _MOST_TENSOR_BYTES:
                raise BundleError(
                    f"tensor {name!r} must be at most {_MOST_TENSOR_BYTES} bytes, got {spec.bytes}"
                )
        for name, segment in self.segments.items():
            if not _FILE_NAME.fullmatch(segment.file):
                raise BundleError(f"segment {name!r} has the unsafe file name {segment.file!r}")
            if not _SHA256.fullmatch(segment.sha256):
                raise BundleError(f"segment {name!r} has no SHA-256 but {segment.sha256!r}")
            for tensor in (*segment.inputs, *segment.outputs):
                if tensor not in self.tensors:
                    raise BundleError(f"segment {name!r} names the unknown tensor {tensor!r}")
        for tensor in (*self.inputs, *self.outputs):
            if tensor not in self.tensors:
                raise BundleError(f"the model names the unknown tensor {tensor!r}")
        for name, band in self.bands.items():
            band.check(name, self.inputs, self.tensors)
        if not all(type(name) is str for name in self.class_names):
            raise BundleError(f"class_names must be texts, got {self.class_names!r}")
        if self.class_names and not any(self.is_of_classes(name) for name in self.outputs):
            raise BundleError(
                f"class_names must be as many as an output has values, got {len(self.class_names)}"
            )
        if set(self.placements) != set(PLACEMENTS):
            raise BundleError(
                f"placements must be {' and '.join(PLACEMENTS)}, got {', '.join(self.placements)}"
            )
        for name, placement in self.placements.items():
            self._check_placement(name, placement)

    def is_of_classes(self, output: str) -> bool:
        """Whether an output gives one score a class name."""
        return math.prod(self.tensors[output].shape) == len(self.class_names)

    def _check_placement(self, name: str, placement: Placement) -> None:
        delivered: dict[str, set[str]] = {board: set() for board in placement.programs}
        sent: set[Send] = set()
        everyone = {CLIENT: Program((), placement.client_sends), **placement.programs}
        for sender, program in everyone.items():
            written = set(self.sources) if sender == CLIENT else set()
            for segment in program.segments:
                if segment not in self.segments:
                    raise BundleError(f"placement {name!r} runs the unknown segment {segment!r}")
                written.update(self.segments[segment].outputs)
            delivered.setdefault(sender, set()).update(written)
            for send in program.sends:
                if send.tensor not in written:
                    raise BundleError(
                        f"placement {name!r}: {sender} sends {send.tensor!r}, which it never has"
                    )
                if send in sent:
                    raise BundleError(
                        f"placement {name!r}: {send.receiver} gets {send.tensor!r} more than once"
                    )
                sent.add(send)
                if send.receiver not in everyone:
                    raise BundleError(
                        f"placement {name!r}: {sender} sends to the unknown {send.receiver!r}"
                    )
                delivered.setdefault(send.receiver, set()).add(send.tensor)
        for board, program in placement.programs.items():
            for segment in program.segments:
                for tensor in self.segments[segment].inputs:
                    if tensor not in delivered[board]:
                        raise BundleError(
                            f"placement {name!r}: segment {segment!r} on {board} never gets "
                            f"{tensor!r}"
                        )
        for tensor in self.outputs:
            if tensor not in delivered[CLIENT]:
                raise BundleError(f"placement {name!r}: the client never gets {tensor!r}")

    def to_json(self) -> str:
        """The text of ``manifest.json``."""
        data = asdict(self)
        for key in ("preprocessing", "class_names", "bands"):
            if not data[key]:
                del data[key]
        for tensor in data["tensors"].values():
            if tensor["scale"] is None:
                del tensor["scale"], tensor["zero_point"]
        return _FILE.to_json(data)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            BundleError: no JSON, another schema version, missing or unknown keys.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{MANIFEST} is damaged: {error}") from error
        data = _FILE.content(data)
        try:
            manifest = cls(
                inputs=tuple(data.pop("inputs")),
                outputs=tuple(data.pop("outputs")),
                tensors={
                    name: TensorSpec(
                        tuple(t["shape"]), t["dtype"], t.get("scale"), t.get("zero_point", 0)
                    )
                    for name, t in data.pop("tensors").items()
                },
                segments={
                    name: SegmentSpec(**_tuples(segment, "inputs", "outputs", "vertices"))
                    for name, segment in data.pop("segments").items()
                },
                placements={
                    name: placement_of(placement)
                    for name, placement in data.pop("placements").items()
                },
                preprocessing=_preprocessing(data.pop("preprocessing", None)),
                class_names=tuple(data.pop("class_names", ())),
                bands={name: Band(**band) for name, band in data.pop("bands", {}).items()},
                **data,
            )
            manifest.check()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{MANIFEST} is not as expected: {error!r}") from error
        return manifest


def _check_code(name: str, spec: TensorSpec) -> None:
    if spec.scale is None:
        return
    if spec.dtype not in CODES:
        raise BundleError(
            f"tensor {name!r} must be {', '.join(CODES)} to have a scale, got {spec.dtype}"
        )
    if type(spec.scale) not in (int, float) or not (math.isfinite(spec.scale) and spec.scale > 0):
        raise BundleError(f"tensor {name!r} must have a scale above 0, got {spec.scale!r}")
    limits = np.iinfo(spec.dtype)
    if type(spec.zero_point) is not int or not limits.min <= spec.zero_point <= limits.max:
        raise BundleError(
            f"tensor {name!r} must have a zero point that {spec.dtype} holds, got "
            f"{spec.zero_point!r}"
        )


def _tuples(data: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: tuple(value) if key in keys else value for key, value in data.items()}


def _preprocessing(data: dict[str, Any] | None) -> Preprocessing | None:
    return None if data is None else Preprocessing(**_tuples(data, "mean", "deviation"))
