"""The single pictures, each drawn on matplotlib axes: latency bars, network, timeline.

Each returns what to tell of its parts when they are pointed at, by the part's id.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from keras_concurrent.board import CLIENT
from keras_concurrent.errors import MissingExtraError
from keras_concurrent.report.layout import Drawing, Node
from keras_concurrent.report.summary import Summary, Timeline
from keras_concurrent.report.words import milliseconds, short, size

try:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.patches import FancyArrowPatch, Patch
    from matplotlib.path import Path as Outline
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("matplotlib", "report") from error

# Okabe and Ito's palette, told apart with any colour vision; four of Paul Tol's for more boards.
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#332288",
    "#882255", "#999933", "#44AA99", "#DDCCAA",
)  # fmt: skip
NEUTRAL = "#8a8f98"
INK = "#22262b"
_DASHES = (0, (3.2, 1.8))
_LETTERS_INSIDE = 3  # of a vertex; longer labels stand below it
_POINTS_AN_INCH = 72

Colours = Mapping[str, str]
Tips = dict[str, str]


def colours_of(boards: Sequence[str]) -> dict[str, str]:
    """A colour for every board, the client's beside them."""
    colours = {board: PALETTE[i % len(PALETTE)] for i, board in enumerate(boards)}
    return {**colours, CLIENT: NEUTRAL}


def draw_latency(axes: Axes, summary: Summary) -> Tips:
    """One board against the plan, predicted and measured."""
    rows: list[tuple[str, str, float, float | None]] = []
    for column in (summary.one, summary.many):
        rows.append((column.title, "predicted", column.predicted_s, None))
        if summary.measured and column.median_s is not None:
            rows.append(("", "measured median", column.median_s, column.p95_s))
    longest = max(max(value, p95 or 0.0) for _, _, value, p95 in rows)
    for y, (_, source, value, p95) in enumerate(rows):
        paler = summary.measured and source == "predicted"
        axes.barh(y, value, 0.72, color="#b9bec6" if paler else INK)
        text = f"{milliseconds(value)} {source}"
        if p95 is not None:
            axes.plot([value, p95], [y, y], color=NEUTRAL, linewidth=1.2)
            axes.plot([p95], [y], "|", color=NEUTRAL, markersize=8)
            text += f" (p95 {milliseconds(p95)})"
        axes.text(max(value, p95 or 0.0) + longest * 0.01, y, text, va="center")
    axes.set_xlim(0, longest * 1.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks([])
    axes.spines[["bottom"]].set_visible(False)
    step = 2 if summary.measured else 1
    middles = [(step - 1) / 2, step + (step - 1) / 2]
    axes.set_yticks(middles, [summary.one.title, summary.many.title])
    axes.tick_params(length=0)
    return {}


def draw_network(axes: Axes, drawing: Drawing, colours: Colours) -> Tips:
    """Vertices by depth, in the colour of the board that computes them."""
    axes.set_axis_off()
    axes.set_xlim(-0.35, drawing.depth + 0.35)
    axes.set_ylim(drawing.height - 0.5, -0.5)
    across = (drawing.depth + 0.7) / _size_in(axes)[0] / _POINTS_AN_INCH  # data units a point
    up = drawing.height / _size_in(axes)[1] / _POINTS_AN_INCH
    most = max((node.channels for node in drawing.nodes), default=0)
    widest = min(17.0, 0.92 / up, 0.5 / across)

    def width(node: Node) -> float:
        """Diameter in points; its square grows with the channels."""
        if not node.label:
            return widest * 0.8
        return widest * (0.55 + 0.45 * (node.channels / most) ** 0.5 if most else 1.0)

    by_name = {node.name: node for node in drawing.nodes}
    for arrow in sorted(drawing.arrows, key=lambda arrow: arrow.crosses):
        start, end = by_name[arrow.start], by_name[arrow.end]
        points = [(start.x + width(start) / 2 * across, start.y), *arrow.bends]
        points.append((end.x - (width(end) / 2 + 0.5) * across, end.y))
        end_of_net = not start.label or not end.label
        axes.add_patch(
            FancyArrowPatch(
                path=_curve(points),
                arrowstyle="-|>,head_length=2.6,head_width=1.3",
                linewidth=0.5 if end_of_net else 1.0,
                linestyle=_DASHES if arrow.crosses else "-",
                color=INK if arrow.crosses else "#a3a8b0",
                zorder=2 if arrow.crosses else 1,
                capstyle="butt",
            )
        )
    tips = {}
    for node in drawing.nodes:
        ends = not node.label
        colour = colours.get(node.board or "", "white")
        axes.plot(
            [node.x], [node.y], "s" if ends else "o", markersize=width(node), color=colour,
            markeredgecolor=INK if ends else "white" if node.board else NEUTRAL,
            markeredgewidth=0.6, zorder=3, gid=f"node {node.name}",
        )  # fmt: skip
        where = f"on {node.board}" if node.board else "in no segment"
        tips[f"node {node.name}"] = " · ".join(filter(None, (node.name, where, node.detail)))
        if ends or len(node.label) > _LETTERS_INSIDE:
            axes.annotate(
                node.label or node.name, (node.x, node.y), (0, -widest * 0.5 - 1),
                textcoords="offset points", ha="center", va="top", fontsize=8,
            )  # fmt: skip
        else:
            axes.text(
                node.x, node.y, node.label, ha="center", va="center_baseline",
                fontsize=min(7.5, width(node) * 0.5), color=_contrast(colour), zorder=4,
            )  # fmt: skip
    crossing = any(arrow.crosses for arrow in drawing.arrows)
    _legend(axes, drawing, colours, crossing=crossing, sized=bool(most))
    return tips


def _legend(axes: Axes, drawing: Drawing, colours: Colours, *, crossing: bool, sized: bool) -> None:
    boards = {node.board for node in drawing.nodes if node.label}
    handles: list[Any] = [
        Patch(color=colour, label=board) for board, colour in colours.items() if board in boards
    ]
    if crossing:
        handles.append(
            Line2D([], [], color=INK, linewidth=1, linestyle=_DASHES, label="from board to board")
        )
    if sized:
        handles.append(
            Line2D(
                [],
                [],
                color="white",
                markeredgecolor=NEUTRAL,
                marker="o",
                linestyle="",
                label="larger: more channels",
            )
        )
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02 / _size_in(axes)[1]),
        ncols=min(len(handles), 8), frameon=False, fontsize=8, handlelength=1.6,
        columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip


def _curve(points: Sequence[tuple[float, float]]) -> Outline:
    """Through all points, horizontal in each."""
    corners, codes = [points[0]], [Outline.MOVETO]
    for (x, y), (to_x, to_y) in itertools.pairwise(points):
        middle = (x + to_x) / 2
        corners += [(middle, y), (middle, to_y), (to_x, to_y)]
        codes += [Outline.CURVE4] * 3
    return Outline(corners, codes)


def draw_timeline(
    axes: Axes, timeline: Timeline, colours: Colours, limits: tuple[float, float]
) -> Tips:
    """One row a board: bars are segments, thin lines messages."""
    row = {board: y for y, board in enumerate((CLIENT, *timeline.boards))}
    axes.set_xlim(*limits)
    axes.set_ylim(len(row) - 0.5, -0.5)
    tips = {}
    for i, event in enumerate(timeline.events):
        start, end = event.start_s * 1e3, event.end_s * 1e3
        colour = colours.get(event.board, NEUTRAL)
        span = f"{start:.2f} to {end:.2f} ms"
        if event.kind == "run":
            axes.barh(
                row[event.board], end - start, 0.62, left=start, color=colour, edgecolor="white",
                linewidth=0.6, zorder=3, gid=f"event {i}",
            )  # fmt: skip
            tips[f"event {i}"] = f"{event.name} on {event.board} · {span}"
            room_in = (end - start) / (limits[1] - limits[0]) * _size_in(axes)[0]
            if len(short(event.name)) * 0.085 + 0.03 < room_in:
                axes.text(
                    (start + end) / 2, row[event.board], short(event.name), ha="center",
                    va="center_baseline", fontsize=7.5, color=_contrast(colour), zorder=4,
                )  # fmt: skip
        else:
            down = 1 if row[event.receiver] > row[event.board] else -1
            axes.plot(
                [start, end],
                [row[event.board] + 0.31 * down, row[event.receiver] - 0.31 * down],
                color=colour, linewidth=0.9, alpha=0.75, zorder=2, gid=f"event {i}",
                marker="v" if down > 0 else "^", markevery=[1], markersize=3, markeredgewidth=0,
            )  # fmt: skip
            tips[f"event {i}"] = (
                f"{event.name} · {size(event.bytes)} · {event.board} to {event.receiver} · {span}"
            )
    answered = timeline.latency_s * 1e3
    axes.axvline(answered, color=INK, linewidth=1.2, zorder=1)
    axes.text(
        answered + (limits[1] - limits[0]) * 0.006, 0, milliseconds(timeline.latency_s),
        fontweight="bold", va="center", ha="left",
    )  # fmt: skip
    axes.set_yticks(range(len(row)), list(row))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e8eaed", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["left"]].set_visible(False)
    axes.set_xlabel("ms after the image was sent", fontsize=8, labelpad=1)
    return tips


def _contrast(colour: str) -> str:
    """Black or white, whichever is easier to read on a colour."""
    if not colour.startswith("#"):
        return INK
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else INK


def _size_in(axes: Axes) -> tuple[float, float]:
    """Width and height in inches."""
    figure: Any = axes.figure
    width, height = figure.get_size_inches()
    box = axes.get_position()
    return float(box.width * width), float(box.height * height)
