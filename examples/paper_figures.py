"""The paper's figures, drawn from `paper_samples`: one function a figure, one PNG each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from keras_concurrent.report.plots import INK, NEUTRAL, PALETTE

COLOURS = {
    "DP": PALETTE[0], "WS": PALETTE[2], "BA": PALETTE[3], "ER": PALETTE[1], "FB": INK,
    "FB, channels kept": NEUTRAL, "lanes": PALETTE[5],
}  # fmt: skip

Curves = Mapping[str, Mapping[int, float]]


def _save(figure: plt.Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140)
    plt.close(figure)


def _clean(axes: Axes, title: str, ylabel: str = "", xlabel: str = "") -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.set_ylabel(ylabel)
    axes.set_xlabel(xlabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)


def curves(
    path: Path,
    panels: Sequence[tuple[str, Curves, Curves]],
    ylabel: str,
    *,
    logarithmic: bool = False,
    note: str = "",
) -> None:
    """Curves over the number of units, ours in lines and the printed values as crosses.

    Args:
        path: of the PNG.
        panels: title, our curves and the printed ones, by family and number of units.
        ylabel: of the first panel.
        logarithmic: whether the values span orders of magnitude.
        note: a line below the panels.
    """
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(4.8 * columns + 1.6, 3.8 * lines + 0.6), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for index, (axes, (title, ours, printed)) in enumerate(zip(grid.flat, panels, strict=True)):
        for family, values in ours.items():
            units = sorted(values)
            axes.plot(units, [values[n] for n in units], "o-", color=COLOURS[family], label=family)
        for family, values in printed.items():
            units = sorted(values)
            axes.plot(
                units, [values[n] for n in units], "x", color=COLOURS[family], markersize=9,
                markeredgewidth=2,
            )  # fmt: skip
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_locator(NullLocator())
        _clean(axes, title, "" if index % columns else ylabel, "units")
        axes.set_xticks(sorted({n for values in ours.values() for n in values}))
    handles, labels = grid.flat[0].get_legend_handles_labels()
    if any(printed for _, _, printed in panels):
        handles.append(plt.Line2D([], [], marker="x", color=INK, linestyle="", markersize=9))
        labels.append("printed in the paper")
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    if note:
        figure.supxlabel(note, fontsize=9, color=NEUTRAL)
    _save(figure, path)


def bars(
    path: Path, title: str, groups: Mapping[str, Mapping[str, float]], ylabel: str, note: str = ""
) -> None:
    """Groups of bars: by family, one bar a key."""
    figure, axes = plt.subplots(figsize=(8.2, 4.6), layout="constrained")
    keys = list(next(iter(groups.values())))
    width = 0.8 / len(keys)
    for position, key in enumerate(keys):
        x = np.arange(len(groups)) + (position - (len(keys) - 1) / 2) * width
        values = [group.get(key, np.nan) for group in groups.values()]
        drawn = axes.bar(x, values, width * 0.92, label=key, color=PALETTE[position])
        axes.bar_label(drawn, fmt="%.3g", fontsize=8, padding=1)
    axes.set_xticks(range(len(groups)), list(groups))
    _clean(axes, title, ylabel)
    axes.legend(frameon=False)
    if note:
        figure.supxlabel(note, fontsize=9, color=NEUTRAL)
    _save(figure, path)


def spreads(
    path: Path, panels: Sequence[tuple[str, Mapping[str, Sequence[float]]]], note: str = ""
) -> None:
    """How the samples of each family spread: boxes from 25 to 75 %, whiskers from 1 to 99 %."""
    figure, row = plt.subplots(
        1, len(panels), figsize=(4.4 * len(panels), 4.8), layout="constrained", squeeze=False
    )
    for axes, (title, families) in zip(row[0], panels, strict=True):
        boxes = axes.boxplot(
            list(families.values()), whis=(1, 99), showfliers=False, patch_artist=True, widths=0.6
        )
        for patch, family in zip(boxes["boxes"], families, strict=True):
            patch.set_facecolor(COLOURS[family])
            patch.set_alpha(0.5)
        for median in boxes["medians"]:
            median.set_color(INK)
            median.set_linewidth(2)
        axes.margins(y=0.08)
        names = [family.replace(", channels", "\nchannels") for family in families]
        axes.set_xticks(range(1, len(names) + 1), names, rotation=30, ha="right")
        _clean(axes, title)
    if note:
        figure.supxlabel(note, fontsize=9, color=NEUTRAL)
    _save(figure, path)


def balance(
    path: Path, ours: Mapping[int, Sequence[float]], printed: Mapping[int, Sequence[float]]
) -> None:
    """The balance entropy of the paper's distribution, with the printed percentiles."""
    figure, axes = plt.subplots(figsize=(8.2, 4.8), layout="constrained")
    units = list(ours)
    parts = axes.violinplot([list(ours[n]) for n in units], showextrema=False, widths=0.8)
    for body in parts["bodies"]:
        body.set_facecolor(COLOURS["DP"])
        body.set_alpha(0.3)
    for place, n in enumerate(units, start=1):
        found = np.percentile(ours[n], [1, 25, 50])
        axes.plot([place - 0.09] * 3, found, "o", color=COLOURS["DP"], label="ours")
        axes.plot(
            [place + 0.09] * 3, printed[n], "x", color=INK, markersize=8, markeredgewidth=2,
            label="printed in the paper",
        )  # fmt: skip
    axes.set_xticks(range(1, len(units) + 1), [f"{n} units" for n in units])
    _clean(axes, "Balance of DP's load: 1st, 25th and 50th percentile", "entropy, 1 is even")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[:2], labels[:2], frameon=False, loc="lower left")
    _save(figure, path)


def graphs(path: Path, panels: Sequence[tuple[str, nx.DiGraph]]) -> None:
    """Small graphs, layer by layer from left to right."""
    figure, row = plt.subplots(1, len(panels), figsize=(4 * len(panels), 3.6), layout="constrained")
    for axes, (title, graph) in zip(row, panels, strict=True):
        places = {
            node: (layer, (len(nodes) - 1) / 2 - rank)
            for layer, nodes in enumerate(nx.topological_generations(graph))
            for rank, node in enumerate(sorted(nodes))
        }
        longest = set(nx.dag_longest_path(graph))
        nx.draw_networkx(
            graph,
            places,
            ax=axes,
            node_color=[PALETTE[1] if node in longest else "#c9d6e2" for node in graph],
            node_size=300,
            font_size=8,
            edge_color=NEUTRAL,
        )
        axes.set_title(title, fontsize=11)
        axes.axis("off")
    figure.supxlabel("orange: a longest path", fontsize=9, color=NEUTRAL)
    _save(figure, path)
