"""How much a search for a plan may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """How long to search for a plan, counted in plans that are tried and not in seconds.

    Args:
        evaluations: how many plans `keras_concurrent.planning.annealing` tries after the list
            schedules and packings, a new search every 1,000 a task; 20,000 take about 0.1 s for 50
            tasks. 0: none.
        seed: the first search's seed, and the polishing solver's; the next searches have the next.
        budget_s: seconds after which no further search begins. What is found then depends on the
            machine; without it, on the seed alone.
        polish_s: seconds for CP-SAT to go on from there, see `keras_concurrent.planning.polish`;
            ``None``: it does not.

    Raises:
        ValueError: a negative number, or 0 seconds to polish in.
    """

    evaluations: int = 100_000
    seed: int = 0
    budget_s: float | None = None
    polish_s: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("evaluations", self.evaluations), ("budget_s", self.budget_s or 0)):
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value!r}")
        if self.polish_s is not None and not self.polish_s > 0:
            raise ValueError(f"polish_s must be positive, got {self.polish_s!r}")


USUAL = Effort()
"""About half a second for 50 tasks."""

LISTS_ALONE = Effort(evaluations=0)
"""List schedules and packings alone, in milliseconds."""

SCREENING = Effort(evaluations=2_000)
"""Milliseconds: what thousands of candidates can be given each. With half of it 3 of 200
random candidates are told over 15 % more than the best plan found for them takes."""
