"""The report's pictures put together: as SVG for the page, or all in one PNG."""

from __future__ import annotations

import functools
import io
import textwrap
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from keras_concurrent.errors import MissingExtraError
from keras_concurrent.report.layout import Drawing
from keras_concurrent.report.plots import (
    INK,
    Colours,
    Tips,
    draw_latency,
    draw_network,
    draw_timeline,
)
from keras_concurrent.report.summary import Summary, Timeline

try:
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("matplotlib", "report") from error

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": "#c5c9cf",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9.0,
    "svg.hashsalt": "keras_concurrent",  # the same input gives the same file
    "text.color": INK,
    "text.parse_math": False,  # names are names
    "xtick.color": INK,
    "ytick.color": INK,
}
_WIDTH_IN = 10.0
_LABELS_IN = 1.0  # left of the axes, for the rows' names
_MARGIN_IN = 0.2
_ABOVE_IN = 0.35  # of the axes, for a title
_TICKS_IN = 0.4
_ROW_IN = 0.30
_VERDICT_LETTERS = 76  # a line of 13 points bold
_DPI = 160
_SVG = "http://www.w3.org/2000/svg"


@dataclass(frozen=True)
class _Panel:
    """A picture: its title, the size of its axes, the room beside them, and how it is drawn."""

    title: str
    axes_in: float
    left_in: float
    below_in: float
    draw: Callable[[Axes], Tips]

    @property
    def height_in(self) -> float:
        return _ABOVE_IN + self.axes_in + self.below_in


def latency_svg(summary: Summary) -> str:
    """Bars of latency: one board against the plan."""
    return _svg(_latency_panel(summary))


def network_svg(drawing: Drawing, colours: Colours) -> str:
    """The network, coloured by board."""
    return _svg(_network_panel(drawing, colours))


def timelines_svg(timelines: Sequence[Timeline], colours: Colours) -> tuple[str, ...]:
    """Timelines of one placement on one time axis."""
    return tuple(_svg(panel) for panel in _timeline_panels(timelines, colours))


def report_png(summary: Summary, drawing: Drawing, colours: Colours) -> bytes:
    """All pictures as one."""
    panels = [
        _latency_panel(summary),
        _network_panel(drawing, colours),
        *_timeline_panels(summary.timelines_of("boards"), colours),
    ]
    return _png(summary, panels)


def plan_png(summary: Summary, colours: Colours) -> bytes:
    """Latency and predicted timeline of a plan."""
    lines = summary.timelines_of("boards")
    return _png(summary, [_latency_panel(summary), *_timeline_panels(lines, colours)])


def _png(summary: Summary, panels: Sequence[_Panel]) -> bytes:
    """Pictures below each other, under the verdict."""
    verdict = textwrap.wrap(summary.verdict, _VERDICT_LETTERS)
    head_in = 0.35 + 0.25 * len(verdict) + (0.45 if summary.emulated else 0.0)
    height_in = head_in + sum(panel.height_in for panel in panels)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=_DPI, facecolor="white")
        left = _MARGIN_IN / _WIDTH_IN
        figure.text(
            left, 1 - 0.2 / height_in, "\n".join(verdict), fontsize=13, fontweight="bold", va="top"
        )
        if summary.emulated:
            figure.text(
                left + 0.006, 1 - (head_in - 0.22) / height_in, summary.emulated, va="center",
                bbox={"facecolor": "#fff0c2", "edgecolor": "#b88700", "boxstyle": "round,pad=0.4"},
            )  # fmt: skip
        bottom_in = height_in - head_in
        for panel in panels:
            top = bottom_in - 0.25
            figure.text(left, top / height_in, panel.title, fontsize=10, fontweight="bold")
            bottom_in -= panel.height_in
            panel.draw(_axes(figure, panel, bottom_in))
        written = io.BytesIO()
        figure.savefig(written, format="png", metadata={"Software": None})
    return written.getvalue()


def _axes(figure: Figure, panel: _Panel, bottom_in: float) -> Axes:
    """Axes in a strip of the figure: above them room for a title, below for ticks."""
    height_in = float(figure.get_size_inches()[1])
    return figure.add_axes(
        (
            panel.left_in / _WIDTH_IN,
            (bottom_in + panel.below_in) / height_in,
            (_WIDTH_IN - panel.left_in - _MARGIN_IN) / _WIDTH_IN,
            panel.axes_in / height_in,
        )
    )


def _svg(panel: _Panel) -> str:
    """A picture as SVG, without its title, for the page has headings."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, panel.height_in - _ABOVE_IN + 0.1))
        tips = panel.draw(_axes(figure, panel, 0.0))
        written = io.StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", metadata=metadata, transparent=True)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(written.getvalue())
    for element in root.iter(f"{{{_SVG}}}g"):
        if (tip := tips.get(element.attrib.get("id", ""))) is not None:
            title = ElementTree.Element(f"{{{_SVG}}}title")
            title.text = tip
            element.insert(0, title)
            del element.attrib["id"]  # the page holds several pictures with the same segments
    root.attrib.update({"width": "100%", "role": "img"})
    del root.attrib["height"]
    return ElementTree.tostring(root, encoding="unicode")


def _latency_panel(summary: Summary) -> _Panel:
    rows = 4 if summary.measured else 2
    draw = functools.partial(draw_latency, summary=summary)
    return _Panel("Latency of one image", rows * _ROW_IN, _LABELS_IN, 0.15, draw)


def _network_panel(drawing: Drawing, colours: Colours) -> _Panel:
    axes_in = max(1.0, min(6.0, drawing.height * 0.26))
    draw = functools.partial(draw_network, drawing=drawing, colours=colours)
    title = "The network: which board computes what"
    return _Panel(title, axes_in, _MARGIN_IN, 0.4, draw)


def _timeline_panels(timelines: Sequence[Timeline], colours: Colours) -> list[_Panel]:
    limits = _time_limits(timelines)
    return [
        _Panel(
            "Predicted timeline" if t.source == "predicted" else "Measured timeline, one image",
            _ROW_IN * (len(t.boards) + 1),
            _LABELS_IN,
            _TICKS_IN,
            functools.partial(draw_timeline, timeline=t, colours=colours, limits=limits),
        )
        for t in timelines
    ]


def _time_limits(timelines: Sequence[Timeline]) -> tuple[float, float]:
    """From the first to the last moment of all, in milliseconds, with room for a label."""
    times = [0.0, *(t.latency_s for t in timelines)]
    times += [moment for t in timelines for e in t.events for moment in (e.start_s, e.end_s)]
    return min(times) * 1e3, max(times) * 1e3 * 1.09 or 1.0
