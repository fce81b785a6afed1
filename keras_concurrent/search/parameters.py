"""Parameters of a search space: a choice, a whole number, a real one."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = "int | float | str"
When: TypeAlias = "tuple[str, str] | None"


@dataclass(frozen=True)
class Choice:
    """One of some values.

    Args:
        name: what the parameter is called among a candidate's values.
        values: the first is the default.
        when: name and value of another parameter, without which this one does not apply.
    """

    name: str
    values: tuple[Value, ...]
    when: When = None

    def draw(self, rng: random.Random) -> Value:
        """A value, all equally likely."""
        return rng.choice(self.values)


@dataclass(frozen=True)
class Whole:
    """A whole number.

    Args:
        name: what the parameter is called among a candidate's values.
        low: the smallest, and the default.
        high: the largest.
        when: name and value of another parameter, without which this one does not apply.
    """

    name: str
    low: int
    high: int
    when: When = None

    def draw(self, rng: random.Random) -> Value:
        """A value, all equally likely."""
        return rng.randint(self.low, self.high)


@dataclass(frozen=True)
class Real:
    """A positive number, of which equal ratios count alike; the default is the geometric mean.

    Args:
        name: what the parameter is called among a candidate's values.
        low: the smallest.
        high: the largest.
        when: name and value of another parameter, without which this one does not apply.
    """

    name: str
    low: float
    high: float
    when: When = None

    @property
    def default(self) -> float:
        """The geometric mean."""
        return math.sqrt(self.low * self.high)

    def draw(self, rng: random.Random) -> Value:
        """A value, all ratios equally likely."""
        return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))


Parameter: TypeAlias = "Choice | Whole | Real"
