"""How good plans are, and how long they take to make.

- Against plans that CP-SAT proves best or polishes: networks of up to 50 vertices on 2 to 8 boards,
  over fast and slow links, dense and separable.
- Against the textbook schedulers, simulated as our plans are, on 252 networks.
- Segments, planning time, and ten usual networks.

python benchmarks/placement.py           # all, about an hour; needs the extras `design`, `polish`
python benchmarks/placement.py --quick   # a little of each, within a minute
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import effort
import optimum
import textbook_schedulers
import usual_networks
from outcome import Section, finish_each

from keras_concurrent.cli.console import progress_bars


def sections(
    progress: Callable[[str], Callable[[int, int], None]], *, quick: bool
) -> Iterator[Section]:
    """All that is measured, the quickest first."""
    yield effort.planning()
    yield effort.merging(progress("segments"), quick=quick)
    yield usual_networks.section(progress("usual networks"), quick=quick)
    yield from textbook_schedulers.sections(progress("textbook"), quick=quick)
    studies = (optimum.QUICK,) if quick else (optimum.SMALL, optimum.MIDDLE, optimum.LARGE)
    for study in studies:
        yield optimum.section(study, progress(study.title))


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a little of each")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with progress_bars() as progress:
        finish_each(sections(progress, quick=options.quick), as_json=options.json)


if __name__ == "__main__":
    main()
