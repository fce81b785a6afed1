"""What every benchmark ends with: tables or one JSON object, and the exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from rich.console import Console

from keras_concurrent.cli.console import table


@dataclass(frozen=True)
class Target:
    """A figure that must be reached.

    Args:
        name: what is measured, with its unit.
        target: the bound.
        value: what was measured.
        at_least: whether the bound is a lower one.
    """

    name: str
    target: float
    value: float
    at_least: bool = True

    @property
    def reached(self) -> bool:
        """Whether the value keeps to the bound."""
        return bool(self.value >= self.target if self.at_least else self.value <= self.target)


@dataclass(frozen=True)
class Section:
    """A table of a benchmark, the figures behind it, and what they must reach."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Mapping[str, Any]
    targets: Sequence[Target] = ()


def finish(*sections: Section, as_json: bool) -> NoReturn:
    """Print what was found and exit: 1 when a target is missed."""
    finish_each(sections, as_json=as_json)


def finish_each(found: Iterable[Section], *, as_json: bool) -> NoReturn:
    """The same for sections that take long: each table is printed as soon as it is there."""
    console = Console(width=110)
    sections = []
    for section in found:
        sections.append(section)
        if not as_json:
            console.print(table(section.title, section.columns, section.rows))
    targets = [target for section in sections for target in section.targets]
    if as_json:
        stated = [
            {key: value for key, value in asdict(t).items() if key != "at_least"}
            | {"reached": t.reached}
            for t in targets
        ]
        figures = {name: value for s in sections for name, value in s.figures.items()}
        print(json.dumps({"figures": figures, "targets": stated}))
    else:
        for t in targets:
            bound = "at least" if t.at_least else "at most"
            state = "reached" if t.reached else "MISSED"
            console.print(f"{t.name}: {t.value:.4g}, {bound} {t.target:g}: {state}", soft_wrap=True)
    sys.exit(0 if all(t.reached for t in targets) else 1)
