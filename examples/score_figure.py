"""The picture of `score_study`: how two scores order one setting, and all scores all settings."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from keras_concurrent.files import write_beside
from keras_concurrent.report.plots import INK, NEUTRAL, PALETTE

Points = Sequence[tuple[str, float, float]]
_COLOURS = (*PALETTE[:6], *PALETTE[7:])  # without the yellow, too pale for dots
_MARKERS = "osD^vP*X"
_GRID = "#e6e8eb"


def draw(
    path: Path, title: str, clouds: Mapping[str, Points], spreads: Mapping[str, Points]
) -> None:
    """Draw and write the PNG.

    Args:
        path: of the PNG.
        title: the setting of the clouds.
        clouds: by score: wiring, score and speed-up of every network in one setting.
        spreads: by score: link and the rank correlations with speed-up and latency of every group.
    """
    figure = Figure(figsize=(10, 6.4), layout="constrained", dpi=130)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.25, 1), hspace=0.04)
    _clouds(upper.subplots(1, len(clouds), sharey=True), title, clouds)
    _spreads(lower.subplots(1, 2, sharex=True, sharey=True), spreads)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_beside(path, content.getvalue())


def _clouds(row: Sequence[Axes], title: str, clouds: Mapping[str, Points]) -> None:
    wirings = list(dict.fromkeys(wiring for points in clouds.values() for wiring, _, _ in points))
    for axes, (score, points) in zip(row, clouds.items(), strict=True):
        for number, wiring in enumerate(wirings):
            of = [(x, y) for name, x, y in points if name == wiring]
            axes.scatter(*zip(*of, strict=True), s=34, color=_COLOURS[number], alpha=0.85,
                         marker=_MARKERS[number], linewidth=0, label=wiring)  # fmt: skip
        axes.set_xlabel(score)
        axes.grid(color=_GRID, linewidth=0.8)
    row[0].set_title(title, loc="left", fontsize=11, fontweight="bold")
    row[0].set_ylabel("best speed-up found,\ntimes one board")
    row[-1].legend(title="wiring", frameon=False, fontsize=9, loc="lower right", ncols=2)
    _finish(row)


def _spreads(row: Sequence[Axes], spreads: Mapping[str, Points]) -> None:
    links = list(dict.fromkeys(link for points in spreads.values() for link, _, _ in points))
    colour = dict(zip(links, PALETTE, strict=False))
    groups = len(next(iter(spreads.values())))
    for at, (axes, what) in enumerate(zip(row, ("speed-up", "latency"), strict=True), 1):
        for y, points in enumerate(spreads.values()):
            values = [point[at] for point in points]
            for number, link in enumerate(links):
                here = [point[at] for point in points if point[0] == link]
                height = y + 0.22 * (number - (len(links) - 1) / 2)
                axes.scatter(here, [height] * len(here), s=14, color=colour[link], alpha=0.6,
                             linewidth=0)  # fmt: skip
            mean = float(np.mean(values))
            axes.plot([mean, mean], [y - 0.4, y + 0.4], color=INK, linewidth=2)
            axes.text(1.03, y, f"{mean:.2f}", transform=axes.get_yaxis_transform(), va="center",
                      fontsize=10, fontweight="bold", color=INK)  # fmt: skip
        axes.set_xlabel(f"rank correlation with {what} (1: same order)")
        axes.set_xlim(right=1.02)
        axes.grid(axis="x", color=_GRID, linewidth=0.8)
    row[0].set_yticks(range(len(spreads)), list(spreads))
    row[0].set_ylim(len(spreads) - 0.45, -0.55)
    row[0].set_title(f"All {groups} groups", loc="left", fontsize=11, fontweight="bold")
    for axes in row:
        axes.tick_params(axis="y", length=0)
    keys = [Line2D([], [], marker="o", linestyle="", markersize=4, color=colour[link], label=link)
            for link in links]  # fmt: skip
    keys.append(Line2D([], [], color=INK, linewidth=2, label="mean"))
    row[-1].legend(handles=keys, frameon=False, fontsize=9, ncols=len(keys), borderaxespad=0,
                   loc="lower right", bbox_to_anchor=(1, 1.02), handletextpad=0.4)  # fmt: skip
    _finish(row)


def _finish(row: Sequence[Axes]) -> None:
    for axes in row:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(NEUTRAL)
        axes.set_axisbelow(True)
