"""The command that writes a bundle: plan, send less, cut, and report before anyone deploys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from keras_concurrent.cli.command import command
from keras_concurrent.cli.options import (
    as_json,
    existing,
    new_path,
    of_pictures,
    parsed,
    preprocessing_of,
)
from keras_concurrent.cli.order import how_to_plan, on_boards, ordered, prepared
from keras_concurrent.precision import PRECISIONS
from keras_concurrent.wire.format import SENT_AS


@command(
    "keras-concurrent export model.keras --boards 4 --link 100mbit --wire auto --calibration photos"
)
@click.argument("model", type=existing)
@on_boards
@how_to_plan
@click.option(
    "--wire",
    type=click.Choice(SENT_AS),
    help="Sums regrouped to send less, and tensors sent as float32, as float16, as int8 where "
    "their range is known, or what the accuracy allows. Without it the model is cut as it is.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="Of a .keras model's weights (float16, dynamic) or of all it computes (int8).",
)
@click.option(
    "--calibration",
    help="Images to measure ranges and accuracy on, as `train --data` takes them; an .npz file may "
    "leave out the labels.",
)
@click.option(
    "--pixels",
    is_flag=True,
    help="Take images as bytes of 0..255 instead of float32 values of 0..1: a quarter to send.",
)
@click.option(
    "--lose", "lose_points", default=0.1, show_default=True, help="Most points of accuracy to lose."
)
@of_pictures
@click.option(
    "--classes", type=existing, help="File of the classes' names, one a line, for `infer` to show."
)
@click.option("--out", type=new_path, default=Path("bundle"), show_default=True)
@as_json
def export(
    model: Path, out: Path, as_json: bool, value_range: str | None, mean: str | None,
    deviation: str | None, resize: str | None, classes: Path | None, **how: Any,
) -> None:  # fmt: skip
    """Plan a .keras or .tflite model on boards, cut it, and write the bundle.

    Without --cluster, the described boards are written to a cluster.toml beside the bundle.
    """
    from dataclasses import asdict

    from rich.console import Console

    from keras_concurrent.cli.console import progress_bars
    from keras_concurrent.cli.tables import load_table, variant_table
    from keras_concurrent.files import write_beside

    order = ordered(
        model,
        **how,
        preprocessing=preprocessing_of(value_range, mean, deviation, resize),
        class_names=() if classes is None else parsed(_names, classes),
    )
    with progress_bars() as progress:
        exported = prepared(order, progress).export(out)
    if how["cluster"] is None:
        write_beside(out.parent / "cluster.toml", order.cluster.to_toml().encode())
    bundle = exported.bundle
    many, one = (bundle.placement(name) for name in ("boards", "one_board"))
    figures = {
        "bundle": str(out),
        "segments": len(exported.plan.graph.tasks),
        "boards_used": sorted(many.programs),
        "predicted_latency_s": many.predicted_latency_s,
        "predicted_one_board_latency_s": one.predicted_latency_s,
        "board_bytes": exported.board_bytes,
        "link_bytes": exported.link_bytes,
        "strips": None if exported.strips is None else exported.strips.way.to_json(),
        "choices": [asdict(each) for each in exported.variants],
    }
    if as_json:
        click.echo(json.dumps(figures))
        return
    console = Console()
    if exported.variants:
        console.print(variant_table(exported.variants))
        console.print(load_table(exported.board_bytes, exported.link_bytes))
    if exported.strips is not None:
        click.echo(exported.strips.sentence)
    if len(many.programs) == 1:
        click.echo(f"{out}: one board is best, {one.predicted_latency_s * 1e3:.1f} ms predicted")
    else:
        click.echo(
            f"{out}: {figures['segments']} segments on {len(many.programs)} boards, predicted "
            f"{many.predicted_latency_s * 1e3:.1f} ms; "
            f"one board {one.predicted_latency_s * 1e3:.1f} ms"
        )


def _names(text: str) -> tuple[str, ...]:
    """Names, one a line."""
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise ValueError("a file of classes must hold one name a line, got none")
    return names
