"""Limits that a network must keep, written as a user would say them: ``latency_s <= 0.03``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from keras_concurrent.search.costs import DIRECTIONS

_FORM = re.compile(r"\s*(\w+)\s*(<=|>=)\s*(\S+)\s*")


@dataclass(frozen=True)
class Limit:
    """A bound on one cost.

    Args:
        name: which cost, a field of `keras_concurrent.search.costs.Costs`.
        at_most: whether the bound is an upper one.
        bound: in the cost's own unit; above 0.

    Raises:
        ValueError: an unknown cost, or a bound that is not above 0.
    """

    name: str
    at_most: bool
    bound: float

    def __post_init__(self) -> None:
        if self.name not in DIRECTIONS:
            raise ValueError(f"a limit is on one of {', '.join(DIRECTIONS)}, got {self.name!r}")
        if not 0 < self.bound < float("inf"):
            raise ValueError(f"a limit's bound must be above 0, got {self.bound!r}")

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read ``"latency_s <= 0.03"`` or ``"efficiency >= 0.5"``.

        Raises:
            ValueError: another form.
        """
        match = _FORM.fullmatch(text)
        try:
            if match:
                return cls(match[1], match[2] == "<=", float(match[3]))
        except ValueError as error:
            raise ValueError(f"{text!r} is no limit: {error}") from None
        raise ValueError(f"a limit must look like 'latency_s <= 0.03', got {text!r}")

    def __str__(self) -> str:
        return f"{self.name} {'<=' if self.at_most else '>='} {self.bound:g}"

    def excess(self, figures: Mapping[str, float]) -> float:
        """By what share of the bound it is missed; 0 where it is kept."""
        beyond = figures[self.name] - self.bound
        return max(0.0, beyond if self.at_most else -beyond) / self.bound


def limits_of(texts: Iterable[str | Limit]) -> tuple[Limit, ...]:
    """Limits from texts, or as they are."""
    return tuple(text if isinstance(text, Limit) else Limit.parse(text) for text in texts)


def missed(limits: Iterable[Limit], figures: Mapping[str, float]) -> tuple[Limit, ...]:
    """Those that figures miss; limits of which nothing is told here are none of them."""
    return tuple(limit for limit in limits if limit.name in figures and limit.excess(figures))


def excess(limits: Iterable[Limit], figures: Mapping[str, float]) -> float:
    """By what share of their bounds limits are missed together; 0 where all are kept."""
    return sum(limit.excess(figures) for limit in limits)
