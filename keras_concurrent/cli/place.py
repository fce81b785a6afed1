"""Commands that place a network on boards: plan, explain; `export` has a file of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from keras_concurrent.cli.command import command
from keras_concurrent.cli.options import as_json, existing, new_path
from keras_concurrent.cli.order import how_to_plan, on_boards, ordered, prepared


@command("keras-concurrent plan model.tflite --boards 4 --board pi4 --link 100mbit --out plan")
@click.argument("model", type=existing)
@on_boards
@how_to_plan
@click.option("--out", type=new_path, default=Path("plan"), show_default=True, help="Folder.")
@as_json
def plan(model: Path, out: Path, as_json: bool, **how: Any) -> None:
    """Say who computes what and when, and how long one image takes.

    Writes placement.toml, which can be changed by hand and given back with --placement,
    timeline.png and trace.json (for ui.perfetto.dev). Where operators are split into strips there
    is no placement.toml: it is of the model's own operators.
    """
    from rich.console import Console

    from keras_concurrent.cli.console import progress_bars
    from keras_concurrent.cli.tables import plan_table
    from keras_concurrent.edge.bundle import digest
    from keras_concurrent.export.assemble import assemble
    from keras_concurrent.files import write_beside
    from keras_concurrent.planning.placement_file import placement_toml
    from keras_concurrent.planning.segments import one_board
    from keras_concurrent.report.figures import plan_png
    from keras_concurrent.report.perfetto import trace_json
    from keras_concurrent.report.plots import colours_of
    from keras_concurrent.report.summary import summarise
    from keras_concurrent.report.words import milliseconds

    order = ordered(model, **how)
    with progress_bars() as progress:
        ready = prepared(order, progress)
    file, graph, where = ready.model.file, ready.graph, order.cluster
    planned, alone = ready.plan(), one_board(graph, where)
    best, strips = planned.plan, planned.strips
    in_int8 = graph.in_int8()
    alone_in_int8 = None if in_int8 is None else one_board(in_int8, where)
    rewritten = None if strips is None else planned.file
    manifest, _ = assemble(
        file, best, alone, None, rewritten, strips.strips.bands if strips else None
    )
    summary = summarise(manifest, None)
    contents = {
        "timeline.png": plan_png(summary, colours_of([work.board for work in summary.boards])),
        "trace.json": trace_json(manifest, summary.timelines, emulated=None).encode(),
    }
    if strips is None:
        contents["placement.toml"] = placement_toml(best, digest(file.data)).encode()
    if how["cluster"] is None:
        contents["cluster.toml"] = where.to_toml().encode()
    for name, content in contents.items():
        write_beside(out / name, content)
    figures = {
        "plan": str(out),
        "latency_s": best.latency_s,
        "one_board_latency_s": alone.latency_s,
        "one_board_in_int8_latency_s": alone_in_int8.latency_s if alone_in_int8 else None,
        "lower_bound_s": planned.bound_s,
        "strips": None if strips is None else strips.way.to_json(),
        "boards_used": list(best.boards),
        "segments": len(best.graph.tasks),
        "wire_bytes": best.wire_bytes,
        "memory_bytes": best.memory_bytes,
    }
    if as_json:
        click.echo(json.dumps(figures))
        return
    beside = ""
    if alone_in_int8 is not None:  # what a user could do without more boards
        beside = f"; one board in int8 in {milliseconds(alone_in_int8.latency_s)}"
    click.echo(f"{summary.verdict}{beside}.")
    if strips is not None:
        click.echo(strips.sentence)
    Console().print(plan_table(best, alone, planned.bound_s, where, alone_in_int8))
    click.echo(f"{out}: {', '.join(contents)}")


@command("keras-concurrent explain model.tflite --boards 4 --board pi4 --link 100mbit")
@click.argument("model", type=existing)
@on_boards
@how_to_plan
@as_json
def explain(model: Path, as_json: bool, **how: Any) -> None:
    """Answer "why not faster": the critical path, who is busiest, and what would help."""
    from dataclasses import asdict, replace

    from rich.console import Console

    from keras_concurrent.cli.console import progress_bars
    from keras_concurrent.cli.tables import change_table, path_table
    from keras_concurrent.planning.explain import explain as explained
    from keras_concurrent.planning.explain import what_if
    from keras_concurrent.planning.segments import one_board
    from keras_concurrent.report.words import milliseconds

    order = ordered(model, **how)
    with progress_bars() as progress:
        ready = prepared(order, progress)
    graph, where = ready.graph, order.cluster
    planned = ready.plan()
    best, bound_s = planned.plan, planned.bound_s
    why = explained(best, where)
    alone_s = one_board(graph, where).latency_s
    unpolished = replace(order.effort, polish_s=None)
    changed = what_if(where, lambda other: ready.plan(other, unpolished).plan.latency_s)
    if as_json:
        known = {"one_board_latency_s": alone_s, "lower_bound_s": bound_s, "what_if": changed}
        click.echo(json.dumps({**asdict(why), **known}))
        return
    click.echo(
        f"{len(best.boards)} of {len(where.boards)} boards: {milliseconds(best.latency_s)}; one "
        f"board: {milliseconds(alone_s)}; no plan of these operators is below "
        f"{milliseconds(bound_s)}."
    )
    console = Console()
    console.print(path_table(why, best))
    board, interface = why.busiest_board, why.busiest_interface
    click.echo(
        f"Busiest board: {board}, computing {why.busy[board]:.0%} of the time; boards in use are "
        f"idle {why.waiting:.0%} of it.\n"
        f"Busiest interface: {interface}, held {why.interface_busy[interface]:.0%} of the time."
    )
    console.print(change_table(best.latency_s, changed))
