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

import effort
import optimum
import textbook_schedulers
import usual_networks
from outcome import finish

from keras_concurrent.console import progress_bars


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a little of each")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    quick = options.quick
    with progress_bars() as progress:
        studies = (optimum.QUICK,) if quick else (optimum.SMALL, optimum.MIDDLE, optimum.LARGE)
        sections = [optimum.section(study, progress(study.title)) for study in studies]
        sections += textbook_schedulers.sections(progress("textbook"), quick=quick)
        sections.append(effort.merging(progress("segments"), quick=quick))
        sections.append(effort.planning())
        sections.append(usual_networks.section(progress("usual networks"), quick=quick))
    finish(*sections, as_json=options.json)


if __name__ == "__main__":
    main()
