"""The picture of a search: accuracy over predicted latency."""

from __future__ import annotations

import io
from collections.abc import Sequence

from keras_concurrent.errors import MissingExtraError
from keras_concurrent.search.limits import Limit
from keras_concurrent.search.results import Result, pareto

try:
    from matplotlib.figure import Figure

    from keras_concurrent.report.plots import INK, NEUTRAL, PALETTE
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("matplotlib", "report") from error


def draw_pareto(
    results: Sequence[Result],
    *,
    metric: str = "val_accuracy",
    limits: Sequence[Limit] = (),
    chosen: Result | None = None,
) -> bytes:
    """Every completed trial, the Pareto front, the latency limits and the chosen trial, as PNG.

    Args:
        results: trials, with ``metric`` and ``latency_s`` among their figures.
        metric: to be made large.
        limits: those on ``latency_s`` are drawn.
        chosen: a trial to point out.
    """
    shown = [
        r for r in results if r.status == "COMPLETED" and {metric, "latency_s"} <= set(r.figures)
    ]
    figure = Figure(figsize=(7, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    kinds = sorted({str(r.values.get("kind", "network")) for r in shown})
    for kind, colour in zip(kinds, PALETTE, strict=False):
        these = [r for r in shown if str(r.values.get("kind", "network")) == kind]
        axes.plot(*_points(these, metric), "o", color=colour, markersize=6, label=kind, zorder=3)
    best = pareto(shown, {metric: "max", "latency_s": "min"}) if shown else ()
    x, y = _points(best, metric)
    if shown:  # the last of the front is the best for all longer latencies
        x, y = [*x, max(r.figures["latency_s"] for r in shown) * 1e3], [*y, y[-1]]
    axes.step(x, y, where="post", color=INK, linewidth=1.2, label="Pareto front")
    for limit in limits:
        if limit.name == "latency_s":
            axes.axvline(limit.bound * 1e3, color=NEUTRAL, linestyle="--", linewidth=1)
            axes.annotate(
                f"limit {limit.bound * 1e3:g} ms", (limit.bound * 1e3, 0.02),
                xycoords=("data", "axes fraction"), rotation=90, ha="right", va="bottom",
                color=NEUTRAL, fontsize=8,
            )  # fmt: skip
    if chosen is not None and chosen in shown:
        axes.plot(
            *_points([chosen], metric),
            "o",
            markersize=13,
            fillstyle="none",
            color=INK,
            label="chosen",
            zorder=4,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.tick_params(which="both", labelsize=8)
    axes.set_xlabel("predicted latency, ms")
    axes.set_ylabel(metric.replace("_", " "))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    columns = len(kinds) + 2
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, fontsize=8, frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _points(results: Sequence[Result], metric: str) -> tuple[list[float], list[float]]:
    return (
        [r.figures["latency_s"] * 1e3 for r in results],
        [r.figures[metric] for r in results],
    )
