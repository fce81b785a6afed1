"""A file while its operators are split: tensors lie in parts, and whoever reads asks for a span.

A part is sliced where it was made and put together where it is read, so that no more travels than
is needed, and each reader's board gets it once.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_concurrent.tflite.draft import Draft, Step
from keras_concurrent.tflite.schema import schema, shape_of
from keras_concurrent.tflite.strips.constants import Constants
from keras_concurrent.tflite.strips.row_rules import is_image
from keras_concurrent.tflite.strips.work import ROW_AXIS, Rule, Span, Work

WHOLE = "whole"  # the home of what no strip alone computes

# The least versions of operators that take the types of `row_rules.TYPES`.
_CONCATENATION, _SLICE, _PAD = 2, 2, 2


@dataclass(frozen=True)
class Part:
    """Part of a tensor that a strip made.

    Args:
        index: of the tensor that holds it.
        span: what it holds.
        own: what others take from it; ``None`` where they take nothing.
        strip: whose it is.
    """

    index: int
    span: Span
    own: Span | None
    strip: int


class Builder:
    """Writes the operators of the file in strips.

    Args:
        draft: the file; its steps become those of the strips.
        constants: what is the same for every image.

    Attributes:
        bands: what the client sends in place of the model's inputs: the tensor that holds it, by
            input and span; the span is ``None`` for all of it.
    """

    def __init__(self, draft: Draft, constants: Constants) -> None:
        self._draft = draft
        self._inputs = draft.inputs
        self._constants = constants
        self.parts: dict[int, tuple[Part, ...]] = {}
        self.bands: dict[tuple[int, Span | None], int] = {}
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._made: dict[tuple[Any, ...], int] = {}
        draft.steps = []

    def _shape(self, index: int) -> tuple[int, ...]:
        """A tensor's shape; they are asked for again and again."""
        if index not in self._shapes:
            self._shapes[index] = shape_of(self._draft.tensors[index])
        return self._shapes[index]

    def take(self, index: int, span: Span | None, strip: int | None) -> int:
        """A tensor that holds a span of another, on a strip's board.

        Args:
            index: of the tensor that is read.
            span: which part; ``None`` for all of it.
            strip: who reads it; ``None`` for what no strip alone computes.
        """
        span = self._proper(index, span)
        if index in self._inputs:
            return self._band(index, span)
        if index not in self.parts:
            return index if span is None else self._sliced(index, (span,), WHOLE)
        key = ("take", index, span, strip)
        if key not in self._made:
            self._made[key] = self._joined(index, span, strip)
        return self._made[key]

    def _proper(self, index: int, span: Span | None) -> Span | None:
        """A span, if it is less than all of a tensor."""
        whole = span is not None and span.size == self._shape(index)[span.axis]
        return None if whole else span

    def _band(self, index: int, span: Span | None) -> int:
        if span is not None and not (span.axis == ROW_AXIS and is_image(self._shape(index))):
            return self._sliced(self._band(index, None), (span,), WHOLE)
        if (index, span) not in self.bands:
            band = index
            if span is not None:
                band = self._like(index, span, self._draft.tensors[index].name)
            self.bands[index, span] = band
        return self.bands[index, span]

    def _wanted(self, index: int, span: Span | None) -> tuple[Span, tuple[Span, ...]]:
        """What is read of a tensor along the axis of its parts, and across it."""
        axis = self.parts[index][0].span.axis
        if span is not None and span.axis == axis:
            return span, ()
        return Span(axis, 0, self._shape(index)[axis]), () if span is None else (span,)

    def _pieces(self, index: int, span: Span | None, strip: int | None) -> list[int]:
        """The reader's own part, and what it lacks of the others, cut where they were made."""
        parts = self.parts[index]
        wanted, across = self._wanted(index, span)
        axis = wanted.axis
        found: list[tuple[Span, Part]] = []
        missing = [(wanted.first, wanted.end)]
        mine = next((part for part in parts if part.strip == strip), None)
        if mine is not None:
            first, end = max(wanted.first, mine.span.first), min(wanted.end, mine.span.end)
            if first < end:
                found.append((Span(axis, first, end), mine))
                missing = [(wanted.first, first), (end, wanted.end)]
        for start, to in missing:
            for part in parts:
                if part.own is not None and part is not mine:
                    first, end = max(start, part.own.first), min(to, part.own.end)
                    if first < end:
                        found.append((Span(axis, first, end), part))
        found.sort(key=lambda each: each[0])
        if sum(held.size for held, _ in found) != wanted.size:
            name = self._draft.tensors[index].name
            raise RuntimeError(f"the strips of {name!r} lack some of {wanted}")  # a fault of ours
        return [
            self._sliced(
                part.index,
                (Span(axis, held.first - part.span.first, held.end - part.span.first), *across),
                str(part.strip),
            )
            for held, part in found
        ]

    def _joined(self, index: int, span: Span | None, strip: int | None) -> int:
        """Parts put together."""
        pieces = self._pieces(index, span, strip)
        if len(pieces) == 1:
            return pieces[0]
        wanted, across = self._wanted(index, span)
        home = WHOLE if strip is None else str(strip)
        name = self._draft.tensors[index].name
        shape = list(self._shape(index))
        for each in (wanted, *across):
            shape[each.axis] = each.size
        whole = span is None and strip is None  # then under the tensor's own name
        joined = index if whole else self._draft.add_tensor(index, f"{name}/joined", shape=shape)
        operator = self._draft.operator("CONCATENATION", _CONCATENATION, pieces, joined)
        operator.builtinOptionsType = schema.BuiltinOptions.ConcatenationOptions
        operator.builtinOptions = schema.ConcatenationOptionsT()
        operator.builtinOptions.axis = wanted.axis
        self._draft.steps.append(Step(operator, home))
        return joined

    def _sliced(self, index: int, cuts: Sequence[Span], home: str) -> int:
        """What is left of a tensor, cut where it was made; the tensor where nothing is cut off."""
        shape = self._shape(index)
        cuts = [cut for cut in cuts if cut.size < shape[cut.axis]]
        if not cuts:
            return index
        key = ("slice", index, *cuts)
        if key not in self._made:
            begin, left = [0] * len(shape), list(shape)
            for cut in cuts:
                begin[cut.axis], left[cut.axis] = cut.first, cut.size
            made = self._draft.add_tensor(
                index, f"{self._draft.tensors[index].name}/part", shape=left
            )
            reads = [index, *(self._constants.of(np.array(v, "int32")) for v in (begin, left))]
            operator = self._draft.operator("SLICE", _SLICE, reads, made)
            operator.builtinOptionsType = schema.BuiltinOptions.SliceOptions
            operator.builtinOptions = schema.SliceOptionsT()
            self._draft.steps.append(Step(operator, home))
            self._made[key] = made
        return self._made[key]

    def keep(self, step: Step) -> None:
        """An operator as it is, of whole tensors."""
        if step.board is not None:
            operator = copy.copy(step.operator)
            operator.inputs = [i if i < 0 else self.take(i, None, None) for i in operator.inputs]
            step = Step(operator, WHOLE)
        self._draft.steps.append(step)

    def split(self, step: Step, rule: Rule, ranges: Mapping[int, tuple[Span, Span | None]]) -> None:
        """An operator in strips.

        Args:
            step: the operator.
            rule: how it is split.
            ranges: by strip, what it computes of the outputs, and what others take of that.
        """
        parts: dict[int, list[Part]] = {index: [] for index in step.operator.outputs}
        works = {strip: rule.at(span.first, span.end) for strip, (span, _) in ranges.items()}
        for strip, work in works.items():  # what others wait for, before anyone goes on
            self._cut(step, work, strip)
        for strip, (span, own) in ranges.items():
            made = self._run(step, works[strip], strip, span)
            for index, part in zip(step.operator.outputs, made, strict=True):
                parts[index].append(Part(part, span, own, strip))
        self.parts.update((index, tuple(held)) for index, held in parts.items())

    def take_bands(self) -> dict[str, tuple[str, int, int]]:
        """Make the bands the model's inputs; the input, first row and end of each, by its name."""
        draft, taken, bands = self._draft, [], {}
        for index in draft.ordered_inputs:
            its = sorted(
                (span, band) for (i, span), band in self.bands.items() if i == index and span
            )
            if (index, None) in self.bands or not its:  # nobody reads it
                taken.append(index)
            for span, band in its:
                taken.append(band)
                names = draft.tensors[band].name, draft.tensors[index].name
                bands[names[0]] = (names[1], span.first, span.end)
        if bands:
            draft.take_inputs(taken)
        return bands

    def _run(self, step: Step, work: Work, strip: int, span: Span) -> list[int]:
        """One strip of an operator; the tensors that hold its span of the outputs.

        Args:
            step: the operator.
            work: how the strip is computed.
            strip: which one.
            span: of the outputs.
        """
        operator = copy.copy(step.operator)
        operator.inputs = [
            self._read(i, position, work, strip) for position, i in enumerate(operator.inputs)
        ]
        if any(work.pads):
            operator.inputs[0] = self._padded(operator.inputs[0], work.pads, strip)
        if work.options:
            operator.builtinOptions = copy.copy(operator.builtinOptions)
            for name, value in work.options.items():
                setattr(operator.builtinOptions, name, value)
        made = span.size if work.made is None else work.made
        outputs = list(step.operator.outputs)
        operator.outputs = [
            self._like(index, Span(span.axis, 0, made), self._draft.tensors[index].name, span)
            for index in outputs
        ]
        self._draft.steps.append(Step(operator, str(strip)))
        wanted = Span(span.axis, work.skip, work.skip + span.size)
        return [self._sliced(index, (wanted,), str(strip)) for index in operator.outputs]

    def _cut(self, step: Step, work: Work, strip: int) -> None:
        """Cut what one strip of an operator reads, where it was made."""
        for position, index in enumerate(step.operator.inputs):
            if index in self.parts and position not in work.constants:
                self._pieces(index, self._proper(index, work.reads[position]), strip)

    def _read(self, index: int, position: int, work: Work, strip: int) -> int:
        if position in work.constants:
            return self._constants.of(work.constants[position])
        if index < 0:
            return index
        span = work.reads[position]
        if self._constants.holds(index):
            return index if span is None else self._constants.part(index, span)
        return self.take(index, span, strip)

    def _padded(self, index: int, pads: tuple[int, int, int, int], strip: int) -> int:
        key = ("pad", index, pads, strip)
        if key not in self._made:
            above, below, before, behind = pads
            _, rows, columns, channels = self._shape(index)
            made = self._draft.add_tensor(
                index,
                f"{self._draft.tensors[index].name}/padded",
                shape=(1, above + rows + below, before + columns + behind, channels),
            )
            around = np.array([[0, 0], [above, below], [before, behind], [0, 0]], "int32")
            operator = self._draft.operator("PAD", _PAD, [index, self._constants.of(around)], made)
            operator.builtinOptionsType = schema.BuiltinOptions.PadOptions
            operator.builtinOptions = schema.PadOptionsT()
            self._draft.steps.append(Step(operator, str(strip)))
            self._made[key] = made
        return self._made[key]

    def _like(self, index: int, span: Span, name: str, named: Span | None = None) -> int:
        """A new tensor like another, as long as a span is."""
        shape = list(self._shape(index))
        shape[span.axis] = span.size
        named = named or span
        return self._draft.add_tensor(index, f"{name}/{named.first}_{named.end}", shape=shape)
