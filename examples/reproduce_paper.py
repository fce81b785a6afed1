"""Redraw the paper's figures from this package, the printed values beside ours.

python examples/reproduce_paper.py --samples 1000   # about 40 minutes on two cores
python examples/reproduce_paper.py --samples 50     # under two minutes

Writes one PNG a figure, results.csv and results.md into --out. Finished samples are kept in
--out/samples, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import paper_figures as draw
from paper_samples import (
    BOARDS,
    CHUNK,
    FAMILIES,
    LINKS,
    SCORED_UNITS,
    VARIANTS,
    Job,
    samples,
)  # fmt: skip
from rich.console import Console

from keras_concurrent.cli.console import progress_bars, table
from keras_concurrent.files import write_beside

# Read off the paper's plots, but FB's of Fig. 9 and Table IV, which are printed as numbers.
PRINTED_CS = {
    "DP": {4: 1.4, 6: 1.6, 8: 1.8, 10: 2.0},
    "ER": {4: 3.4, 6: 3.8, 8: 3.9, 10: 4.0},
    "BA": {4: 2.3, 6: 2.8, 8: 2.9, 10: 3.0},
    "WS": {4: 2.1, 6: 2.4, 8: 2.6, 10: 2.8},
    "FB, channels kept": {4: 11.8, 6: 13.4, 8: 13.6, 10: 15.0},
}
PRINTED_MB = {"DP": {4: 3.5, 10: 7.0}, "FB": {4: 20.0, 10: 20.0}}
PRINTED_TIME = {"DP": 0.17, "ER": 0.13, "BA": 0.12, "WS": 0.17}
PRINTED_BALANCE = {
    2: (0.97, 1.00, 1.00), 4: (0.78, 0.985, 1.00), 6: (0.64, 0.93, 0.98), 8: (0.56, 0.865, 0.94),
}  # fmt: skip
PRINTED_PARAMETERS = {
    "DP": (35.0, 26.7), "ER": (48.6, 46.0), "BA": (48.3, 45.6), "WS": (42.0, 36.4),
}  # fmt: skip
FIGURE_5A = "S-A S-B S-C A-D A-E D-F F-G E-G G-H H-T B-I I-T C-T"
CURVES = ("DP", "WS", "BA", "ER", "FB", "FB, channels kept", "lanes")
SHARE_OF_LARGE = 10  # one sample of 80 vertices, and one of a variant, for so many of 40

Samples = list[dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """One printed value beside ours.

    Args:
        figure: of the paper.
        what: is measured.
        printed: in the paper; ``None`` where it prints nothing.
        ours: from this run.
    """

    figure: str
    what: str
    printed: float | None
    ours: float

    def cells(self) -> tuple[str, str, str, str, str]:
        """As text: figure, what, printed, ours, ratio of ours to printed."""
        if self.printed is None:
            return self.figure, self.what, "", f"{self.ours:.3g}", ""
        ratio = self.ours / self.printed
        return self.figure, self.what, f"{self.printed:g}", f"{self.ours:.3g}", f"{ratio:.2f}"


COLUMNS = ("figure", "what", "printed", "ours", "ours/printed")


def concurrency_scores(drawn: Samples, units: int) -> list[float]:
    """CS of every sample of a family, U_c being the smallest tensor of all of them (Eq. 4)."""
    smallest = min(sample["smallest_bytes"] for sample in drawn)
    found = []
    for sample in drawn:
        split = sample["units"][str(units)]
        travelling = split["lambda_bytes"] / (smallest * units)
        found.append((split["delta_w"] * travelling**1.5 * split["eta"]) ** (1 / 3))
    return found


def mean_cs(drawn: Samples) -> dict[int, float]:
    """Mean CS by number of units."""
    return {
        n: float(np.mean(concurrency_scores(drawn, n)))
        for n in SCORED_UNITS
        if "eta" in drawn[0]["units"][str(n)]
    }


def mean_of(drawn: Samples, units: int, *path: str) -> float:
    """Mean of a figure of the samples' splits."""
    values = []
    for sample in drawn:
        value = sample["units"][str(units)]
        for key in path:
            value = value[key]
        values.append(value)
    return float(np.mean(values))


def figure_5(out: Path) -> Iterator[Row]:
    """The four graphs whose eta the paper works out, on three units."""
    first = nx.DiGraph(edge.split("-") for edge in FIGURE_5A.split())
    grid = nx.DiGraph((f"{lane}{i}", f"{lane}{i + 1}") for lane in "abc" for i in range(4))
    widths = (3, 1, 3, 1, 3, 1, 3)
    pinched = nx.DiGraph(
        (f"{level}.{a}", f"{level + 1}.{b}")
        for level in range(6)
        for a in range(widths[level])
        for b in range(widths[level + 1])
    )
    chain = nx.DiGraph((str(i), str(i + 1)) for i in range(6))
    panels = []
    for name, graph, printed in (
        ("a", first, 2.0), ("b", grid, 1.0), ("c", pinched, 1.4), ("d", chain, 3.0),
    ):  # fmt: skip
        inner = graph.subgraph(v for v in graph if v not in "ST")
        eta = (nx.dag_longest_path_length(inner) + 1) / (len(inner) / 3)
        panels.append((f"{name}: eta {eta:.3g} on 3 units (printed {printed:g})", graph))
        yield Row("5", f"eta of graph {name}", printed, eta)
    draw.graphs(out / "fig05.png", panels)


def figure_7(out: Path, drawn: dict[str, Samples]) -> Iterator[Row]:
    """Bytes that the partitions of least CS move."""
    ours = {
        family: {n: mean_of(drawn[family], n, "lambda_bytes") / 1e6 for n in SCORED_UNITS}
        for family in CURVES
    }
    draw.curves(
        out / "fig07.png", [("Communication of the partition of least CS", ours, PRINTED_MB)],
        "MB an image", logarithmic=True,
    )  # fmt: skip
    for family, values in PRINTED_MB.items():
        for n, printed in values.items():
            yield Row("7", f"{family}, MB on {n} units", printed, ours[family][n])


def figure_8(out: Path, drawn: dict[str, Samples], board: str) -> Iterator[Row]:
    """Time of one image relative to FB's, under the partition of least CS and planned."""
    panels = []
    for link in LINKS:
        for how, path, title in (
            ("partitioned", ("seconds", link, "score", "latency"), "partition of least CS"),
            ("planned", ("seconds", link, "plan"), "scheduled"),
        ):
            baseline = {n: mean_of(drawn["FB"], n, *path) for n in SCORED_UNITS}
            ours = {
                family: {n: mean_of(drawn[family], n, *path) / baseline[n] for n in SCORED_UNITS}
                for family in ("DP", "WS", "BA", "ER", "lanes")
            }
            panels.append((f"{title}, {link}", ours, {}))
            for family, printed in PRINTED_TIME.items():
                what = f"{family}, time / FB's, {how}, 8 units, {link}"
                yield Row("8", what, printed, ours[family][8])
            quickest = max(SCORED_UNITS, key=lambda n: 1 / ours["DP"][n])
            what = f"DP faster than FB, {how}, at best ({quickest} units), {link}"
            yield Row("8", what, 6.5, 1 / ours["DP"][quickest])
    # With equal work a vertex and a free network, no placement gains more than this.
    paths = {f: np.mean([s["longest_path"] for s in drawn[f]]) for f in ("DP", "FB")}
    yield Row("8", "longest path of FB / of DP", None, float(paths["FB"] / paths["DP"]))
    draw.curves(
        out / "fig08.png", panels, "time of one image / FB's",
        note=f"boards: {board}; the paper prints 0.12-0.17, without boards and link",
    )  # fmt: skip


def figure_8_parts(out: Path, drawn: dict[str, Samples], board: str) -> Iterator[Row]:
    """What computes and what is sent on the busiest unit, for DP and FB."""
    groups = {}
    for family in ("DP", "FB"):
        groups[family] = {
            f"{part}, {n} units": mean_of(drawn[family], n, "seconds", "1gbit", "score", part) * 1e3
            for part in ("compute", "wire")
            for n in (4, 8)
        }
        for what, value in groups[family].items():
            yield Row("8", f"{family}, busiest unit: {what}, ms, 1gbit", None, value)
    draw.bars(
        out / "fig08_parts.png", "Work and sending of the busiest unit", groups, "ms an image",
        f"{board}, 1gbit, partition of least CS",
    )  # fmt: skip


def figure_9(out: Path, drawn: dict[str, Samples]) -> Iterator[Row]:
    """Mean concurrency score by number of units."""
    ours = {family: mean_cs(drawn[family]) for family in CURVES}
    draw.curves(
        out / "fig09.png", [("Mean concurrency score, 40 vertices", ours, PRINTED_CS)],
        "CS, lower is better", logarithmic=True,
    )  # fmt: skip
    for family, values in PRINTED_CS.items():
        for n, printed in values.items():
            yield Row("9", f"{family}, mean CS on {n} units", printed, ours[family][n])
        growth = values[10] / values[4]
        yield Row("9", f"{family}, CS on 10 / on 4", growth, ours[family][10] / ours[family][4])
    for n in SCORED_UNITS:
        ratio = ours["FB, channels kept"][n] / ours["DP"][n]
        printed = PRINTED_CS["FB, channels kept"][n] / PRINTED_CS["DP"][n]
        yield Row("9", f"FB (channels kept) / DP on {n} units", printed, ratio)
    for n in SCORED_UNITS:
        yield Row("9", f"FB (channels doubled) on {n} units", None, ours["FB"][n])
        yield Row("9", f"lanes on {n} units", None, ours["lanes"][n])


def figure_10(out: Path, small: dict[str, Samples], large: dict[str, Samples]) -> None:
    """The score on twice as many vertices."""
    panels = [
        (f"{vertices} vertices", {family: mean_cs(drawn[family]) for family in drawn}, {})
        for vertices, drawn in ((40, {f: small[f] for f in large}), (80, large))
    ]
    draw.curves(out / "fig10.png", panels, "mean CS, lower is better", logarithmic=True)


def figure_11(out: Path, drawn: dict[str, Samples]) -> None:
    """The score's terms, sample by sample."""

    def term(name: str) -> dict[str, Sequence[float]]:
        return {f: [s["units"]["4"][name] for s in drawn[f]] for f in CURVES}

    megabytes = {f: [value / 1e6 for value in values] for f, values in term("lambda_bytes").items()}
    scores = {f: concurrency_scores(drawn[f], 4) for f in CURVES}
    draw.spreads(
        out / "fig11.png",
        [("eta", term("eta")), ("Lambda, MB", megabytes), ("delta_w", term("delta_w")),
         ("CS", scores)],
        "4 units, partition of least CS; boxes 25-75 %, whiskers 1-99 %",
    )  # fmt: skip


def figure_12(out: Path, drawn: dict[str, Samples]) -> Iterator[Row]:
    """Balance of the paper's own distribution of DP networks."""
    ours = {n: [s["units"][str(n)]["balance"] for s in drawn["DP"]] for n in PRINTED_BALANCE}
    draw.balance(out / "fig12.png", ours, PRINTED_BALANCE)
    for n, values in PRINTED_BALANCE.items():
        for percentile, printed in zip((1, 25, 50), values, strict=True):
            found = float(np.percentile(ours[n], percentile))
            yield Row("12", f"balance on {n} units, percentile {percentile}", printed, found)


def table_iv(out: Path, drawn: dict[str, Samples]) -> Iterator[Row]:
    """Parameters under greedy and probabilistic staging."""
    groups = {}
    for family, printed in PRINTED_PARAMETERS.items():
        groups[family] = {
            how: float(np.mean([s["parameters"][how] for s in drawn[family]])) / 1e6
            for how in ("greedy", "probabilistic")
        }
        for (how, ours), value in zip(groups[family].items(), printed, strict=True):
            yield Row("Table IV", f"{family}, million parameters, {how}", value, ours)
    draw.bars(
        out / "table_iv.png", "Parameters by staging", groups, "million parameters",
        "first filters 128, channel cap 1024: the paper prints neither",
    )  # fmt: skip


def figure_2(out: Path, accuracy: Path) -> None:
    """The accuracy study's picture, if `accuracy_study.py` has left one."""
    if accuracy.exists():
        write_beside(out / "fig02.png", accuracy.read_bytes())


def variants(drawn: dict[str, Samples]) -> Iterator[Row]:
    """Mean CS on 4 units with other values of what the paper leaves open."""
    for family in VARIANTS:
        base = family.split(",")[0]
        printed = PRINTED_CS["FB, channels kept" if base == "FB" else base][4]
        yield Row("9", f"{family}: mean CS on 4 units", printed, mean_cs(drawn[family])[4])


def claims(rows: Sequence[Row]) -> list[str]:
    """What the rows say about the paper's claims, a sentence each."""
    found = {row.what: row.ours for row in rows}
    sentences = []
    for n in SCORED_UNITS:
        dp, ws, ba, er, fb = (
            found[f"{f}, mean CS on {n} units"]
            for f in ("DP", "WS", "BA", "ER", "FB, channels kept")
        )
        holds = "holds" if dp < min(ws, ba) and max(ws, ba) < er < fb else "does NOT hold"
        sentences.append(f"Fig. 9, DP < WS, BA < ER < FB (channels kept) on {n} units: {holds}")
    gaps = [abs(row.ours - row.printed) for row in rows if row.figure == "12" and row.printed]
    sentences.append(f"Fig. 12, largest distance from the printed percentiles: {max(gaps):.3f}")
    parameters = {
        (family, how): found[f"{family}, million parameters, {how}"]
        for family in PRINTED_PARAMETERS
        for how in ("greedy", "probabilistic")
    }
    least = all(
        parameters["DP", how] == min(v for (_, h), v in parameters.items() if h == how)
        for how in ("greedy", "probabilistic")
    )
    fewer = all(
        parameters[f, "probabilistic"] < parameters[f, "greedy"] for f in PRINTED_PARAMETERS
    )
    sentences.append(f"Table IV, DP has the fewest parameters: {'holds' if least else 'FAILS'}")
    sentences.append(
        f"Table IV, probabilistic has fewer than greedy: {'holds' if fewer else 'FAILS'}"
    )
    return sentences


def jobs(count: int, board: str) -> list[Job]:
    """What has to be drawn for so many samples a family, and timed on a board."""
    few = max(CHUNK, count // SHARE_OF_LARGE)
    small = [Job(f, 40, first, board=board) for f in FAMILIES for first in range(0, count, CHUNK)]
    other = [
        Job(f, 40, first, scored=(4,), timed=False)
        for f in VARIANTS
        for first in range(0, few, CHUNK)
    ]
    large = [
        Job(f, 80, first, timed=False)
        for f in ("DP", "WS", "BA", "ER", "FB, channels kept")
        for first in range(0, few, CHUNK)
    ]
    return small + other + large


def main() -> None:
    """Draw, split, time, and show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=50, help="networks a family [50]")
    parser.add_argument("--out", type=Path, default=Path("paper"), help="folder [paper]")
    parser.add_argument("--board", choices=BOARDS, default="pi4", help="for Fig. 8 [pi4]")
    parser.add_argument(
        "--accuracy",
        type=Path,
        default=Path(__file__).parent.parent / "docs" / "accuracy.png",
        help="picture of accuracy_study.py, for Fig. 2",
    )
    options = parser.parse_args()
    if options.samples < 2:
        parser.error(f"--samples must be at least 2, got {options.samples}")
    drawn: dict[tuple[int, str], Samples] = defaultdict(list)
    with progress_bars() as progress:
        for job, sample in samples(
            jobs(options.samples, options.board),
            options.out / "samples",
            progress("samples, by ten"),
        ):
            if sample["seed"] < options.samples:
                drawn[job.vertices, job.family].append(sample)
    small = {family: found for (vertices, family), found in drawn.items() if vertices == 40}
    large = {family: found for (vertices, family), found in drawn.items() if vertices == 80}

    out = options.out
    figure_2(out, options.accuracy)
    rows = [
        *figure_5(out), *figure_7(out, small), *figure_8(out, small, options.board),
        *figure_8_parts(out, small, options.board), *figure_9(out, small), *variants(small),
        *figure_12(out, small), *table_iv(out, small),
    ]  # fmt: skip
    figure_10(out, small, large)
    figure_11(out, small)
    _write(out, rows, options.samples)


def _write(out: Path, rows: Sequence[Row], count: int) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(row.cells() for row in rows)
    write_beside(out / "results.csv", text.getvalue().encode())
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---|---:|---:|---:|"]
    lines += [f"| {' | '.join(row.cells())} |" for row in rows]
    lines += ["", *(f"- {sentence}" for sentence in claims(rows))]
    write_beside(out / "results.md", ("\n".join(lines) + "\n").encode())
    console = Console(width=110)
    console.print(table(f"{count} samples a family", COLUMNS, [row.cells() for row in rows]))
    for sentence in claims(rows):
        console.print(sentence, soft_wrap=True)
    console.print(f"{out}/results.csv, results.md and one PNG a figure", soft_wrap=True)


if __name__ == "__main__":
    main()
