"""Any trained .tflite in strips, so that several boards work on one operator at a time, exactly.

Operators on large images are split by rows: a strip reads its own rows and those of its neighbours
that its window reaches over (the halo). Where images are small, heavy operators are split by output
channels. Whatever would not be equal bit for bit, or is not understood, stays whole. What comes out
is an ordinary .tflite of ordinary operators: planning, cutting and boards know nothing of strips.

::

    split = strips(TfliteFile.read("model.tflite"), shares=[1, 1, 1, 1])
    split.file  # takes bands of the image, gives the model's own outputs
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from keras_concurrent.bands import Band
from keras_concurrent.interpreter import Array
from keras_concurrent.tflite.draft import Draft
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.tflite.strips.builder import WHOLE, Builder
from keras_concurrent.tflite.strips.constants import Constants
from keras_concurrent.tflite.strips.decisions import Choice, Decided, Decision, decide
from keras_concurrent.tflite.strips.exchanges import exchanged
from keras_concurrent.tflite.strips.ranges import Ranges, made_by_rows


@dataclass(frozen=True)
class Strips:
    """A model in strips.

    Args:
        file: the rewritten model. Its outputs are the model's.
        bands: by its inputs' names, what part of which input of the model each takes; all of an
            input where it keeps that input's name.
        strip_of: the strip of each of its operators, by index; an operator that is missing is
            constant or of no strip alone.
        decisions: what became of each operator of the model that is not constant, in running order.
    """

    file: TfliteFile
    bands: Mapping[str, Band]
    strip_of: Mapping[int, int]
    decisions: tuple[Decision, ...]

    def banded(self, values: Mapping[str, Array]) -> list[Array]:
        """What the rewritten model takes for values of the model's inputs, in its order."""
        return [
            self.bands[name].of(values[self.bands[name].input])
            if name in self.bands
            else values[name]
            for name in self.file.inputs
        ]

    @property
    def split(self) -> tuple[Decision, ...]:
        """The operators that were split."""
        return tuple(each for each in self.decisions if each.axis is not None)

    @property
    def reasons(self) -> dict[str, int]:
        """Why operators stayed whole, and how many for each reason, the most frequent first."""
        whole = Counter(f"{each.kind}: {each.reason}" for each in self.decisions if each.reason)
        return dict(sorted(whole.items(), key=lambda item: (-item[1], item[0])))


def decided_for(file: TfliteFile, choice: Choice) -> tuple[Draft, Constants, list[Decided]]:
    """What becomes of each operator of a model that need not stay whole, nothing yet rewritten."""
    draft = Draft(file, {o.index: WHOLE for o in file.operators if not o.constant})
    constants = Constants(draft)
    return draft, constants, list(decide(draft, constants, choice))


def strips(
    file: TfliteFile,
    shares: Sequence[float],
    *,
    least_rows: int = 2,
    least_flops: float = math.inf,
    exchange_after: Container[int] = range(1, sys.maxsize),
) -> Strips:
    """Rewrite a model into strips.

    Args:
        file: the model. One that stays whole comes back as it is.
        shares: how much each strip gets, in any unit, such as the rates of the boards that are to
            compute them; strips that come to no row are left out.
        least_rows: operators whose outputs have fewer rows are not split by rows.
        least_flops: operators that are not split by rows are split by output channels if they have
            at least so many FLOPs and are convolutions, dense layers or reductions of an image; so
            is what follows them channel by channel. By default none is.
        exchange_after: after which windows, counted from the image, strips exchange rows, by
            default after each; see `keras_concurrent.tflite.strips.exchanges`.

    Raises:
        ValueError: no share above zero, or one below; fewer rows than 2 to split.
    """
    choice = Choice(tuple(shares), least_rows, least_flops)
    if file.whole_because is not None:
        return Strips(file, {}, {}, ())
    draft, constants, decided = decided_for(file, choice)
    builder = Builder(draft, constants)
    kept = exchanged(decided, exchange_after)
    ranges = Ranges(draft.outputs, made_by_rows(decided), kept)
    spans = [ranges.add(each) for each in reversed(decided)]
    for each in decided:
        found = spans.pop()
        if each.rule is None:
            builder.keep(each.step)
        else:
            builder.split(each.step, each.rule, found)
    for index in sorted(draft.outputs):
        builder.take(index, None, None)
    bands = builder.take_bands()
    rewritten, homes = draft.finish()
    return Strips(
        rewritten,
        {name: Band(*band) for name, band in bands.items()},
        {index: int(home) for index, home in homes.items() if home != WHOLE},
        tuple(each.decision for each in decided if each.decision is not None),
    )
