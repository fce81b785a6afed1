"""Wire formats under an accuracy budget: as few bytes as the validation images allow."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from keras_concurrent.errors import ClusterError
from keras_concurrent.interpreter import Array
from keras_concurrent.planning.schedule import Plan
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.wire.encoding import encode
from keras_concurrent.wire.format import BYTES, FLOAT16, FLOAT32, WireFormat
from keras_concurrent.wire.planner import WirePlan, WirePlanner
from keras_concurrent.wire.samples import Samples

BUDGET_POINTS = 0.1
_FINER = {"int8": FLOAT16, "float16": FLOAT32}
_HARM_IMAGES = 32  # of the validation images, to tell which format does most harm


@dataclass(frozen=True)
class Variant:
    """What a variant of a model, as it was or rewritten, costs and gives.

    Args:
        name: what the variant is called, such as ``"sent as int8"``.
        latency_s: predicted for one image; ``None`` where no board has the memory for it.
        wire_bytes: sum of the messages of one image; ``None`` where no board has the memory for it.
        largest_difference: between any output and the model's as it was, over the validation
            images; ``None`` where nothing was measured.
        accuracy: share of the validation images whose class is right, 0..1; ``None`` where nothing
            was measured.
    """

    name: str
    latency_s: float | None
    wire_bytes: int | None
    largest_difference: float | None = None
    accuracy: float | None = None

    @classmethod
    def of(
        cls, name: str, plan: Plan | None, gap: float | None = None, accuracy: float | None = None
    ) -> Variant:
        """With a plan's costs."""
        if plan is None:
            return cls(name, None, None, gap, accuracy)
        return cls(name, plan.latency_s, plan.wire_bytes, gap, accuracy)


class Budget:
    """The model as it was, and how much worse the rewritten one may be.

    Args:
        file: the model as it was.
        samples: images.
        points: percentage points of accuracy that may be lost.

    Raises:
        ValueError: a negative budget, or a model of several inputs or outputs.
    """

    def __init__(self, file: TfliteFile, samples: Samples, points: float = BUDGET_POINTS) -> None:
        if points < 0:
            raise ValueError(f"points must not be negative, got {points!r}")
        self._samples, self._points = samples, points
        self._reference = samples.answers(file)
        self.accuracy = samples.accuracy(self._reference, self._reference)

    def variant(self, name: str, file: TfliteFile, plan: Plan | None) -> Variant:
        """Measure a file; the plan, where there is one, tells its costs."""
        answers = self._samples.answers(file)
        return Variant.of(
            name,
            plan,
            float(np.abs(answers - self._reference).max()),
            self._samples.accuracy(answers, self._reference),
        )

    def _keeps(self, file: TfliteFile) -> bool:
        answers = self._samples.answers(file)
        lost = self.accuracy - self._samples.accuracy(answers, self._reference)
        return 100 * lost <= self._points + 1e-9

    def keep(self, planner: WirePlanner, planned: WirePlan) -> WirePlan:
        """Send those tensors more finely that do most harm, until the budget is kept.

        int8 becomes float16, and float16 becomes float32. Which tensors are how harmful is told by
        the difference that each alone makes; how many must be finer is found by halving.

        Args:
            planner: what made the plan.
            planned: the file and its plan, encoders included.

        Returns:
            The plan itself where it keeps the budget.
        """
        formats = dict(planned.formats)
        while not self._keeps(encode(planned.summed, planned.homes, formats)[0]):
            coarse = [name for name, sent in formats.items() if sent.dtype in _FINER]
            if not coarse:
                break  # the regrouped sums alone differ: by rounding
            harmful = sorted(coarse, key=lambda name: (-self._harm(planned, name, formats), name))
            least, most = 1, len(harmful)
            while least < most:
                middle = (least + most) // 2
                if self._keeps(
                    encode(planned.summed, planned.homes, _finer(formats, harmful[:middle]))[0]
                ):
                    most = middle
                else:
                    least = middle + 1
            formats = _finer(formats, harmful[:least])
        if formats == planned.formats:
            return planned
        return planner.encoded(planned.summed, planned.homes, formats)

    def _harm(self, planned: WirePlan, name: str, formats: Mapping[str, WireFormat]) -> float:
        """Root mean square of the difference that a tensor's format alone makes."""
        few = replace(
            self._samples, validation=self._samples.validation[:_HARM_IMAGES], labels=None
        )
        alone, _ = encode(planned.summed, planned.homes, {name: formats[name]})
        gap: Array = few.answers(alone) - self._reference[:_HARM_IMAGES]
        return float(np.sqrt(np.mean(gap**2)))


def _finer(formats: Mapping[str, WireFormat], names: list[str]) -> dict[str, WireFormat]:
    return {**formats, **{name: _FINER[formats[name].dtype] for name in names}}


def variants(
    planned: Mapping[str, tuple[TfliteFile, Plan | None]], budget: Budget | None
) -> list[Variant]:
    """What variants of a model cost and give.

    Args:
        planned: a file and its plan by the variant's name; no plan where no board has the memory.
        budget: measures differences and accuracy; without one, only costs are told.
    """
    return [
        Variant.of(name, plan) if budget is None else budget.variant(name, file, plan)
        for name, (file, plan) in planned.items()
    ]


def in_each_format(
    planner: WirePlanner, planned: WirePlan
) -> dict[str, tuple[TfliteFile, Plan | None]]:
    """A plan with all of its tensors in the same format, for each format: file and plan by name."""
    ways: dict[str, tuple[TfliteFile, Plan | None]] = {}
    for dtype in BYTES if planned.formats else ():
        other = replace(planner, sent_as=dtype)
        formats = other.formats(planned.summed, planned.homes)
        with suppress(ClusterError):  # heavier tensors may not fit where lighter ones do
            way = other.encoded(planned.summed, planned.homes, formats)
            ways[f"sent as {dtype}"] = way.file, way.plan
    return ways
