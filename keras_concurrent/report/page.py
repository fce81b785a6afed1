"""The report of a bundle: a page, a picture, and a trace for Perfetto.

`keras_concurrent.report.summary` and `keras_concurrent.report.layout` compute what is shown;
`keras_concurrent.report.plots`, `keras_concurrent.report.figures` and
`keras_concurrent.report.perfetto` draw it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.errors import MissingExtraError
from keras_concurrent.files import write_beside
from keras_concurrent.report import figures
from keras_concurrent.report.layout import Drawing, draw_network
from keras_concurrent.report.perfetto import trace_json
from keras_concurrent.report.plots import colours_of
from keras_concurrent.report.summary import Summary, summarise
from keras_concurrent.report.words import milliseconds, short, size

try:
    import jinja2
    from markupsafe import Markup
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("jinja2", "report") from error

if TYPE_CHECKING:
    from keras_concurrent.edge.watch.bench import Measurement
    from keras_concurrent.scoring.concurrency import Score

_TEMPLATE = "report.html"


def write_report(
    folder: str | Path,
    bundle: Bundle,
    measurement: Measurement | None,
    *,
    score: Score | None = None,
    facts: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write ``report.html``, ``report.png`` and ``trace.json``.

    Args:
        folder: made where it is not there.
        bundle: its plan is drawn.
        measurement: what the same bundle took on boards; without it the report shows predictions.
        score: the network's concurrency score.
        facts: more lines to show, value by name.

    Returns:
        The files.

    Raises:
        ValueError: the measurement is of another bundle.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    manifest = bundle.manifest
    summary = summarise(manifest, measurement)
    drawing = draw_network(manifest)
    colours = colours_of([work.board for work in summary.boards])
    page = _page(bundle, measurement, summary, drawing, colours, score, facts or {})
    trace = trace_json(manifest, summary.timelines, emulated=summary.emulated)
    contents = {
        "report.html": page.encode(),
        "report.png": figures.report_png(summary, drawing, colours),
        "trace.json": trace.encode(),
    }
    for name, content in contents.items():
        write_beside(folder / name, content)
    return [folder / name for name in contents]


def latency_rows(summary: Summary) -> list[dict[str, str]]:
    """The table that compares one board with the plan; cells are texts."""
    one, many = summary.one, summary.many
    seconds = {
        "predicted": ("predicted", one.predicted_s, many.predicted_s),
        "median": ("measured, median", one.median_s, many.median_s),
        "p95": ("measured, 95th percentile", one.p95_s, many.p95_s),
    }
    rows = []
    for key, (title, alone, shared) in seconds.items():
        if alone is None and shared is None:
            continue
        gain = summary.speed_ups.get(key)
        rows.append(
            {
                "title": title,
                "one": "" if alone is None else milliseconds(alone),
                "many": "" if shared is None else milliseconds(shared),
                "speed_up": "" if gain is None else f"{gain:.2f}x",
                "strong": "yes" if key == ("median" if summary.measured else "predicted") else "",
            }
        )
    rows.append(_row("bytes on the wire", size(one.wire_bytes), size(many.wire_bytes)))
    for source in ("predicted", "measured"):
        lines = {t.placement: t for t in summary.timelines if t.source == source}
        if len(lines) == 2:
            alone_line, shared_line = lines["one_board"], lines["boards"]
            rows.append(
                _row(
                    f"boards computing at a time, {source}",
                    f"{alone_line.boards_at_once:.2f}",
                    f"{shared_line.boards_at_once:.2f}",
                )
            )
            rows.append(
                _row(
                    f"share of time when none computes, {source}",
                    f"{alone_line.quiet:.0%}",
                    f"{shared_line.quiet:.0%}",
                )
            )
    return rows


def _row(title: str, one: str, many: str) -> dict[str, str]:
    return {"title": title, "one": one, "many": many, "speed_up": "", "strong": ""}


def answer_rows(measurement: Measurement | None) -> list[tuple[str, str]]:
    """Accuracy by who answered, and whether the boards answer as the uncut model does."""
    if measurement is None:
        return []
    rows = [
        (f"accuracy, {who}", f"{share:.1%}") for who, share in (measurement.accuracy or {}).items()
    ]
    rows.append(
        (
            "largest difference, boards to uncut .tflite",
            f"{measurement.max_abs_diff_tflite:.3g}",
        )
    )
    rows.append(
        ("images whose class differs", f"{measurement.classes_differ} of {measurement.images}")
    )
    return rows


def score_rows(score: Score) -> list[tuple[str, str, str]]:
    """The concurrency score's terms: name, value, meaning."""
    best = score.best
    return [
        ("CS", f"{best.concurrency_score:.3g}", "all terms in one; 0 where nothing travels"),
        ("η", f"{best.eta:.3g}", "longest path against vertices a unit"),
        ("Λ", size(best.lambda_bytes), "bytes that travel between units"),
        ("δw", f"{best.delta_w:.3g}", "heaviest unit against the mean, 1 is even"),
        ("used units", f"{best.used_units} of {score.units}", "units that got any work"),
    ]


def _page(
    bundle: Bundle,
    measurement: Measurement | None,
    summary: Summary,
    drawing: Drawing,
    colours: Mapping[str, str],
    score: Score | None,
    facts: Mapping[str, str],
) -> str:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters.update(
        ms=milliseconds, percent=lambda share: f"{share:.0%}", short=short, size=size
    )
    source = (
        resources.files("keras_concurrent.report").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    )
    shared = summary.timelines_of("boards")
    # The pictures are our own SVG, whose texts ElementTree has escaped.
    return environment.from_string(source).render(
        summary=summary,
        measurement=measurement,
        latency_rows=latency_rows(summary),
        latency_svg=Markup(figures.latency_svg(summary)),
        shared=shared,
        drawing=drawing,
        colours=colours,
        answers=answer_rows(measurement),
        score=score,
        score_rows=score_rows(score) if score else [],
        facts=facts,
        network_svg=Markup(figures.network_svg(drawing, colours)),
        timelines_svg=[Markup(svg) for svg in figures.timelines_svg(shared, colours)],
        path=bundle.path,
        sha256=bundle.sha256,
    )
