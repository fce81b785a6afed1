"""What becomes of each operator: split by rows, by channels, or whole, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from keras_concurrent.tflite.draft import Draft, Step
from keras_concurrent.tflite.strips.channel_rules import HEAVY, UNIT, channel_rule
from keras_concurrent.tflite.strips.constants import Constants
from keras_concurrent.tflite.strips.row_rules import is_image, row_rule
from keras_concurrent.tflite.strips.view import OperatorView, view_of
from keras_concurrent.tflite.strips.work import CHANNELS, ROW_AXIS, ROWS, Rule, Span, spans

_FEWEST = 2  # strips of an operator that is split


@dataclass(frozen=True)
class Choice:
    """How a model is split.

    Args:
        shares: of the strips, one above zero.
        least_rows: of an output that is split by rows.
        least_flops: of an operator with which a split by channels begins; infinity for none.

    Raises:
        ValueError: no share above zero, or one below; fewer rows than 2.
    """

    shares: tuple[float, ...]
    least_rows: int = 2
    least_flops: float = math.inf

    def __post_init__(self) -> None:
        if not self.shares or min(self.shares) < 0 or not max(self.shares) > 0:
            raise ValueError(f"shares must be at least 0 and one above it, got {list(self.shares)}")
        if self.least_rows < 2:
            raise ValueError(f"least_rows must be at least 2, got {self.least_rows}")

    def spans(self, axis_name: str, size: int, axis: int) -> tuple[Span | None, ...]:
        """What each strip has of an axis."""
        return spans(size, self.shares, axis, 1 if axis_name == ROWS else UNIT)


@dataclass(frozen=True)
class Decision:
    """What became of an operator.

    Args:
        operator: its index in the model.
        kind: such as ``CONV_2D``.
        axis: ``"rows"``, ``"channels"``, or ``None`` where it stays whole.
        strips: into how many it was split; 1 where it stays whole.
        reason: why it stays whole, as the end of "it stays whole because ..."; empty for others.
    """

    operator: int
    kind: str
    axis: str | None
    strips: int = 1
    reason: str = ""


@dataclass(frozen=True)
class Decided:
    """An operator with its decision.

    Args:
        step: of the file as it was.
        decision: ``None`` for a constant operator.
        rule: how it is split; ``None`` where it is not.
        spans: what each strip has of its outputs' axis; none where it is not split.
        channels: of its first output, where it is split.
    """

    step: Step
    decision: Decision | None = None
    rule: Rule | None = None
    spans: tuple[Span | None, ...] = ()
    channels: int = 1

    @property
    def by_rows(self) -> bool:
        """Whether it is split by rows."""
        return self.decision is not None and self.decision.axis == ROWS


def decide(draft: Draft, constants: Constants, choice: Choice) -> Iterator[Decided]:
    """Decide for each operator, in running order.

    Args:
        draft: the file.
        constants: tells which of them can be cut.
        choice: how the model is to be split.
    """
    varying = frozenset(draft.inputs).union(
        *(step.operator.outputs for step in draft.steps if step.board is not None)
    )
    by_channels: set[int] = set()
    for index, step in enumerate(draft.steps):
        if step.board is None:
            yield Decided(step)
            continue
        view = view_of(draft, step, draft.file.operators[index].flops, varying)
        axis, rule = _chosen(view, choice, not by_channels.isdisjoint(step.operator.inputs))
        if isinstance(rule, Rule):
            rule = _with_constants(rule, view, step, constants)
        if isinstance(rule, str):
            yield Decided(step, Decision(index, view.kind, None, reason=rule))
            continue
        found = choice.spans(axis, view.shape[rule.axis], rule.axis)
        count = sum(span is not None for span in found)
        if count < _FEWEST:
            reason = f"one strip would have all of its {view.shape[rule.axis]} {axis}"
            yield Decided(step, Decision(index, view.kind, None, reason=reason))
            continue
        if axis == CHANNELS:
            by_channels.update(step.operator.outputs)
        yield Decided(step, Decision(index, view.kind, axis, count), rule, found, view.shape[-1])


def _chosen(view: OperatorView, choice: Choice, follows: bool) -> tuple[str, Rule | str]:
    """By rows where the image is large enough, else by channels where that was asked."""
    rule = row_rule(view)
    if is_image(view.shape) and view.shape[ROW_AXIS] < choice.least_rows:
        rule = f"its output has fewer rows than {choice.least_rows}"
    if isinstance(rule, Rule):
        return ROWS, rule
    begins = view.kind in HEAVY and view.flops >= choice.least_flops
    if begins or (follows and view.kind not in ("CONV_2D", "FULLY_CONNECTED")):
        return CHANNELS, channel_rule(view)
    return ROWS, rule


def _with_constants(rule: Rule, view: OperatorView, step: Step, constants: Constants) -> Rule | str:
    """The rule, if the constants of which each strip reads a part can be cut."""
    work = rule.at(0, view.shape[rule.axis])
    for index, span in zip(step.operator.inputs, work.reads, strict=True):
        if span is not None and constants.holds(index) and not constants.can_cut(index):
            return "a constant that it reads is packed in a way that cannot be cut"
    return rule
