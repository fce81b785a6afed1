"""The command that writes a bundle: plan, send less, cut, and report before anyone deploys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_concurrent.cli.command import command
from keras_concurrent.cli.options import as_json, existing, new_path
from keras_concurrent.cli.place import (
    Asked,
    how_to_plan,
    make_plan,
    measured_costs,
    on_boards,
    pins_of,
    read_model,
    tasks_of,
)
from keras_concurrent.precision import PRECISIONS
from keras_concurrent.wire.format import WIRES

if TYPE_CHECKING:
    from keras_concurrent.measured.operators import MeasuredCosts
    from keras_concurrent.planning.schedule import Plan
    from keras_concurrent.planning.taskgraph import TaskGraph
    from keras_concurrent.tflite.file import TfliteFile
    from keras_concurrent.wire.budget import Budget, Choice


@command(
    "keras-concurrent export model.keras --boards 4 --link 100mbit --wire auto --calibration photos"
)
@click.argument("model", type=existing)
@on_boards
@how_to_plan
@click.option(
    "--wire",
    type=click.Choice(WIRES),
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
    help="Images to measure ranges and accuracy on: photos, mnist, digits, or an .npz file of "
    "'images' and 'labels'.",
)
@click.option(
    "--pixels",
    is_flag=True,
    help="Take images as bytes of 0..255 instead of float32 values of 0..1: a quarter to send.",
)
@click.option(
    "--lose", "lose_points", default=0.1, show_default=True, help="Most points of accuracy to lose."
)
@click.option("--out", type=new_path, default=Path("bundle"), show_default=True)
@as_json
def export(
    model: Path,
    out: Path,
    as_json: bool,
    wire: str | None,
    precision: str,
    calibration: str | None,
    pixels: bool,
    lose_points: float,
    **how: Any,
) -> None:
    """Plan a .keras or .tflite model on boards, cut it, and write the bundle.

    Without --cluster, the described boards are written to a cluster.toml beside the bundle.
    """
    from dataclasses import asdict

    from rich.console import Console

    from keras_concurrent.cli.tables import choice_table, load_table
    from keras_concurrent.export.assemble import export_bundle
    from keras_concurrent.files import write_beside
    from keras_concurrent.wire.budget import choices

    in_one_go = how["measured"] and wire is None
    asked = read_model(
        model, precision=precision, calibration=calibration, pixels=pixels,
        **{**how, "measured": in_one_go},
    )  # fmt: skip
    costs = None
    if how["measured"] and not in_one_go:  # of each operator, for the files that a search rewrites
        costs = measured_costs(asked.file)
        asked = asked._replace(graph=costs(asked.file, asked.graph))
    file, graph, where = asked.file, asked.graph, asked.cluster
    rewritten: TfliteFile | None = None
    ways: dict[str, tuple[TfliteFile, Plan | None]] = {}
    if wire is None:
        best = make_plan(file, graph, where, **how)
    else:
        rewritten, best, ways = _wired(asked, costs, wire, lose_points, **how)
    bundle = export_bundle(file, where, out, graph=graph, plan=best, rewritten=rewritten)
    found: list[Choice] = []
    if wire or asked.original is not file:
        ways = {
            "as it was": (asked.original, _plan_as_it_was(asked, costs, **how)),
            **ways,
            "chosen": (rewritten or file, best),
        }
        found = choices(ways, _measure(asked))
    if how["cluster"] is None:
        write_beside(out.parent / "cluster.toml", where.to_toml().encode())
    many, one = (bundle.placement(name) for name in ("boards", "one_board"))
    segments = bundle.manifest.segments
    board_bytes = {
        board: sum(segments[name].bytes for name in program.segments)
        for board, program in sorted(many.programs.items())
    }
    link_bytes: dict[str, int] = {}
    for message in best.messages:
        link = f"{message.sender} to {message.receiver}"
        link_bytes[link] = link_bytes.get(link, 0) + message.bytes
    figures = {
        "bundle": str(out),
        "segments": len(segments) - 1 or 1,
        "boards_used": sorted(many.programs),
        "predicted_latency_s": many.predicted_latency_s,
        "predicted_one_board_latency_s": one.predicted_latency_s,
        "board_bytes": board_bytes,
        "link_bytes": link_bytes,
        "choices": [asdict(choice) for choice in found],
    }
    if as_json:
        click.echo(json.dumps(figures))
        return
    console = Console()
    if found:
        console.print(choice_table(found))
        console.print(load_table(board_bytes, link_bytes))
    if len(many.programs) == 1:
        click.echo(f"{out}: one board is best, {one.predicted_latency_s * 1e3:.1f} ms predicted")
    else:
        click.echo(
            f"{out}: {figures['segments']} segments on {len(many.programs)} boards, predicted "
            f"{many.predicted_latency_s * 1e3:.1f} ms; "
            f"one board {one.predicted_latency_s * 1e3:.1f} ms"
        )


def _plan_as_it_was(
    asked: Asked,
    costs: MeasuredCosts | None,
    *,
    evaluations: int,
    budget_s: float | None,
    polish_s: float | None,
    seed: int,
    measured: bool,
    **_: Any,
) -> Plan | None:
    """The best plan of the float32 model, cut as it is; ``None`` where no board has the memory."""
    from keras_concurrent.errors import ClusterError
    from keras_concurrent.planning.effort import Effort
    from keras_concurrent.planning.segments import plan_segments

    original = asked.original
    graph = asked.graph
    if original is not asked.file:
        graph = tasks_of(original, asked.cluster, measured and costs is None, asked.timings)
        graph = graph if costs is None else costs(original, graph)
    try:
        return plan_segments(
            graph, asked.cluster, effort=Effort(evaluations, seed, budget_s, polish_s)
        )
    except ClusterError:
        return None


def _measure(asked: Asked) -> Budget | None:
    """Compares answers with the original model's; ``None`` where there is nothing to compare."""
    from keras_concurrent.wire.budget import Budget

    single = len(asked.file.inputs) == len(asked.file.outputs) == 1
    return Budget(asked.original, asked.samples) if asked.samples and single else None


def _wired(
    asked: Asked,
    costs: MeasuredCosts | None,
    wire: str,
    lose_points: float,
    *,
    evaluations: int,
    budget_s: float | None,
    polish_s: float | None,
    seed: int,
    pinned: tuple[str, ...],
    placement: Path | None,
    **_: Any,
) -> tuple[TfliteFile, Plan, dict[str, tuple[TfliteFile, Plan | None]]]:
    """The rewritten file, its plan, and the same in each wire format."""
    from keras_concurrent.planning.effort import Effort
    from keras_concurrent.wire.budget import Budget, in_each_format
    from keras_concurrent.wire.planner import WirePlanner

    file, graph, where, samples = asked.file, asked.graph, asked.cluster, asked.samples
    if placement is not None:
        raise ValueError("--wire asks for a search, --placement for none: give one of them")
    pins = {
        tensor: board
        for task, board in pins_of(pinned, graph).items()
        for tensor in graph.by_name[task].outputs
    }
    images = () if samples is None else samples.images(file)
    timings = asked.timings

    def as_measured(rewritten: TfliteFile, tasks: TaskGraph) -> TaskGraph:
        known = tasks if costs is None else costs(rewritten, tasks)
        return known if timings is None else timings.applied(rewritten, known, where)

    planner = WirePlanner(
        file, where, wire=wire, images=images, pins=pins,
        costs=as_measured if costs or timings else None,
        effort=Effort(evaluations, seed, budget_s, polish_s),
    )  # fmt: skip
    found = planner.plan()
    if samples is not None and wire == "auto":
        found = Budget(file, samples, lose_points).keep(planner, found)
    return found.file, found.plan, in_each_format(planner, found)
