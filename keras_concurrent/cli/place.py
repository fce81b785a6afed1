"""Commands that place a network on boards: plan, explain; `export` has a file of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from keras_concurrent.cli.command import command
from keras_concurrent.cli.options import as_json, described, existing, new_path, options
from keras_concurrent.planning.chains import chains_as_tasks

if TYPE_CHECKING:
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.measured.boards import Timings
    from keras_concurrent.measured.operators import MeasuredCosts
    from keras_concurrent.planning.schedule import Plan
    from keras_concurrent.planning.taskgraph import TaskGraph
    from keras_concurrent.tflite.file import TfliteFile
    from keras_concurrent.wire.samples import Samples

on_boards = options(
    click.option("--cluster", type=existing, help="The cluster file; described boards without it."),
    described,
    click.option(
        "--profile/--flops",
        "measured",
        default=False,
        help="Plan with the operators' measured time on this machine, or with their FLOPs. What "
        "`keras-concurrent profile` measured on the boards goes before both.",
    ),
)
how_to_plan = options(
    click.option(
        "--evaluations", default=100_000, show_default=True, help="Of the search for a better plan."
    ),
    click.option("--budget", "budget_s", type=float, help="Seconds after which no search begins."),
    click.option(
        "--polish", "polish_s", type=float, help="Seconds for CP-SAT to go on from there."
    ),
    click.option("--seed", default=0, show_default=True, help="Of the search."),
    click.option(
        "--pin",
        "pinned",
        multiple=True,
        help="Keep an operator or vertex on a board, such as 12=pi4-2 or vertex_03=pi4-1.",
    ),
    click.option("--placement", type=existing, help="Take this placement file's plan instead."),
)


@command("keras-concurrent plan model.tflite --boards 4 --board pi4 --link 100mbit --out plan")
@click.argument("model", type=existing)
@on_boards
@how_to_plan
@click.option("--out", type=new_path, default=Path("plan"), show_default=True, help="Folder.")
@as_json
def plan(model: Path, out: Path, as_json: bool, **how: Any) -> None:
    """Say who computes what and when, and how long one image takes.

    Writes placement.toml, which can be changed by hand and given back with --placement,
    timeline.png and trace.json (for ui.perfetto.dev).
    """
    from rich.console import Console

    from keras_concurrent.cli.tables import plan_table
    from keras_concurrent.edge.bundle import digest
    from keras_concurrent.export.assemble import assemble
    from keras_concurrent.files import write_beside
    from keras_concurrent.planning.bounds import lower_bound_s
    from keras_concurrent.planning.placement_file import placement_toml
    from keras_concurrent.planning.segments import one_board
    from keras_concurrent.report.figures import plan_png
    from keras_concurrent.report.perfetto import trace_json
    from keras_concurrent.report.plots import colours_of
    from keras_concurrent.report.summary import summarise

    file, graph, where, *_ = read_model(model, **how)
    best = make_plan(file, graph, where, **how)
    alone = one_board(graph, where)
    manifest, _ = assemble(file, best, alone)
    summary = summarise(manifest, None)
    contents = {
        "placement.toml": placement_toml(best, digest(file.data)).encode(),
        "timeline.png": plan_png(summary, colours_of([work.board for work in summary.boards])),
        "trace.json": trace_json(manifest, summary.timelines, emulated=None).encode(),
    }
    if how["cluster"] is None:
        contents["cluster.toml"] = where.to_toml().encode()
    for name, content in contents.items():
        write_beside(out / name, content)
    bound_s = lower_bound_s(graph, where)
    figures = {
        "plan": str(out),
        "latency_s": best.latency_s,
        "one_board_latency_s": alone.latency_s,
        "lower_bound_s": bound_s,
        "boards_used": list(best.boards),
        "segments": len(best.graph.tasks),
        "wire_bytes": best.wire_bytes,
        "memory_bytes": best.memory_bytes,
    }
    if as_json:
        click.echo(json.dumps(figures))
        return
    click.echo(f"{summary.verdict}.")
    Console().print(plan_table(best, alone, bound_s, where))
    click.echo(f"{out}: {', '.join(contents)}")


@command("keras-concurrent explain model.tflite --boards 4 --board pi4 --link 100mbit")
@click.argument("model", type=existing)
@on_boards
@how_to_plan
@as_json
def explain(model: Path, as_json: bool, **how: Any) -> None:
    """Answer "why not faster": the critical path, who is busiest, and what would help."""
    from dataclasses import asdict

    from rich.console import Console

    from keras_concurrent.cli.tables import change_table, path_table
    from keras_concurrent.planning.bounds import lower_bound_s
    from keras_concurrent.planning.explain import explain as explained
    from keras_concurrent.planning.explain import what_if
    from keras_concurrent.planning.segments import one_board
    from keras_concurrent.report.summary import milliseconds

    file, graph, where, *_ = read_model(model, **how)
    best = make_plan(file, graph, where, **how)
    found = explained(best, where)
    alone_s, bound_s = one_board(graph, where).latency_s, lower_bound_s(graph, where)
    changed = what_if(
        where,
        lambda other: make_plan(file, graph, other, **{**how, "polish_s": None}).latency_s,
    )
    if as_json:
        known = {"one_board_latency_s": alone_s, "lower_bound_s": bound_s, "what_if": changed}
        click.echo(json.dumps({**asdict(found), **known}))
        return
    click.echo(
        f"{len(best.boards)} of {len(where.boards)} boards: {milliseconds(best.latency_s)}; one "
        f"board: {milliseconds(alone_s)}; no plan on these boards is below {milliseconds(bound_s)}."
    )
    console = Console()
    console.print(path_table(found, best))
    board, interface = found.busiest_board, found.busiest_interface
    click.echo(
        f"Busiest board: {board}, computing {found.busy[board]:.0%} of the time; boards in use are "
        f"idle {found.waiting:.0%} of it.\n"
        f"Busiest interface: {interface}, held {found.interface_busy[interface]:.0%} of the time."
    )
    console.print(change_table(best.latency_s, changed))


class Asked(NamedTuple):
    """A model on boards.

    Args:
        file: the model, in the precision that was asked for.
        graph: its tasks with their costs.
        cluster: the boards.
        samples: images to measure on.
        original: the model in float32, its images too; of a .tflite, what was given.
        timings: what the boards were measured to take for the file.
    """

    file: TfliteFile
    graph: TaskGraph
    cluster: Cluster
    samples: Samples | None
    original: TfliteFile
    timings: Timings | None


def read_model(
    model: Path,
    *,
    cluster: Path | None,
    boards: int,
    kind: str,
    link: str,
    measured: bool,
    precision: str = "float32",
    calibration: str | None = None,
    pixels: bool = False,
    **_: Any,
) -> Asked:
    """What a command's arguments name."""
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.tflite.file import TfliteFile
    from keras_concurrent.wire.pixels import take_pixels
    from keras_concurrent.wire.samples import Samples

    where = Cluster.read(cluster) if cluster else Cluster.of(kind, boards, link)
    samples = None
    if model.suffix == ".tflite":
        if precision != "float32":
            raise ValueError(f"--precision {precision} needs a .keras model, got {model}")
        file = original = TfliteFile.read(model)
        if calibration is not None:
            samples = Samples.load(calibration, file.tensors[file.inputs[0]].shape[1:])
    else:
        original, file, samples = _converted(model, precision, calibration)
    timings = _measured_on_boards(file, cluster)
    if pixels:
        file = take_pixels(file)  # the same operators, but for those that decode the image
    if file.whole_because is not None:
        click.echo(f"{model} stays whole because {file.whole_because}.", err=True)
    graph = tasks_of(file, where, measured, timings)
    return Asked(file, graph, where, samples, original, timings)


def tasks_of(
    file: TfliteFile, where: Cluster, measured: bool, timings: Timings | None
) -> TaskGraph:
    """A file's tasks: as measured on the boards, or on this machine, or from their FLOPs."""
    from keras_concurrent.planning.taskgraph import TaskGraph

    graph = TaskGraph.from_tflite(file)
    if measured:
        graph = _measured_on_host(file, chains_as_tasks(graph))
    return graph if timings is None else timings.applied(file, graph, where)


def _measured_on_boards(file: TfliteFile, cluster: Path | None) -> Timings | None:
    """What `profile` wrote beside the cluster file, if it is of this model."""
    from keras_concurrent.edge.bundle import digest
    from keras_concurrent.measured.boards import Timings, timings_path

    if cluster is None or not timings_path(cluster).is_file():
        return None
    timings = Timings.read(timings_path(cluster))
    if timings.model_sha256 == digest(file.data):
        return timings
    click.echo(
        f"{timings_path(cluster)} is of another model: boards count by their rates", err=True
    )
    return None


def _measured_on_host(file: TfliteFile, graph: TaskGraph) -> TaskGraph:
    """The tasks with the seconds that this machine takes for them."""
    from keras_concurrent.cli.console import progress_bars
    from keras_concurrent.measured.host import measure_host
    from keras_concurrent.measured.operators import profile_tasks

    with progress_bars() as progress:
        measured_s = profile_tasks(file, graph, progress=progress("profiling")).seconds
    return graph.timed(measured_s, measure_host())


def measured_costs(file: TfliteFile) -> MeasuredCosts:
    """What the operators of a file, and of files rewritten from it, take on this machine."""
    from keras_concurrent.cli.console import progress_bars
    from keras_concurrent.measured.host import measure_host
    from keras_concurrent.measured.operators import MeasuredCosts

    with progress_bars() as progress:
        return MeasuredCosts(file, measure_host(), progress("profiling operators"))


def make_plan(
    file: TfliteFile,
    graph: TaskGraph,
    where: Cluster,
    *,
    evaluations: int,
    budget_s: float | None,
    polish_s: float | None,
    seed: int,
    pinned: tuple[str, ...],
    placement: Path | None,
    **_: Any,
) -> Plan:
    """The plan of a placement file, or the best that a search finds."""
    from keras_concurrent.edge.bundle import digest
    from keras_concurrent.planning.effort import Effort
    from keras_concurrent.planning.placement_file import read_placement
    from keras_concurrent.planning.segments import plan_segments

    pins = pins_of(pinned, graph)
    if placement is None:
        return plan_segments(
            graph, where, effort=Effort(evaluations, seed, budget_s, polish_s), pins=pins
        )
    if pins:
        raise ValueError("--pin asks for a search, --placement for none: give one of them")
    return read_placement(placement, graph, where, digest(file.data))


def pins_of(pinned: tuple[str, ...], graph: TaskGraph) -> dict[str, str]:
    """Board by task, from "12=pi4-2" and "vertex_03=pi4-1"."""
    pins = {}
    for text in pinned:
        what, _, board = text.partition("=")
        if not what or not board:
            raise ValueError(f"--pin must look like 12=pi4-2 or vertex_03=pi4-1, got {text!r}")
        found = [
            task.name
            for task in graph.tasks
            if what in (*task.vertices, *(str(operator) for operator in task.operators))
        ]
        if not found:
            raise ValueError(f"--pin must name an operator or a vertex of the model, got {what!r}")
        pins.update(dict.fromkeys(found, board))
    return pins


def _converted(
    path: Path, precision: str, calibration: str | None
) -> tuple[TfliteFile, TfliteFile, Samples | None]:
    """A Keras model as a .tflite, in float32 and as asked, and the images to calibrate it on."""
    import zipfile

    from keras_concurrent.cli.console import load_tensorflow

    if path.suffix != ".keras":
        raise ValueError(f"a model must be a .keras or a .tflite file, got {path}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is damaged: it holds no Keras model")
    load_tensorflow()
    import keras

    import keras_concurrent.layers  # noqa: F401 - registers the layers with Keras
    from keras_concurrent.convert import to_tflite
    from keras_concurrent.tflite.file import TfliteFile
    from keras_concurrent.wire.samples import Samples

    if precision == "int8" and calibration is None:
        raise ValueError("--precision int8 needs --calibration, such as --calibration photos")
    model = keras.models.load_model(path)
    samples = None if calibration is None else Samples.load(calibration, model.input_shape[1:])
    images = None if samples is None else samples.calibration
    original = TfliteFile(to_tflite(model), str(path))
    if precision == "float32":
        return original, original, samples
    lighter = to_tflite(model, precision=precision, images=images)
    return original, TfliteFile(lighter, str(path)), samples
