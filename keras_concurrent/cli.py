"""The ``keras-concurrent`` command. Every command is a thin call of the library.

Heavy modules are imported inside the commands, so that ``--version`` and ``--help`` answer at once
and a board needs no TensorFlow.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from keras_concurrent._version import __version__

Function = Callable[..., Any]


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="The whole path from one command: keras-concurrent demo",
)
@click.version_option(__version__, prog_name="keras-concurrent")
def main() -> None:
    """Networks that several small boards compute together, so that one image is recognised sooner.

    Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def command(example: str) -> Callable[[Function], click.Command]:
    """A command of the group: one clear message for an error, a traceback only with ``--debug``.

    Args:
        example: a runnable line for the help.
    """

    def decorate(function: Function) -> click.Command:
        @functools.wraps(function)
        def guarded(*args: Any, debug: bool, **options: Any) -> None:
            try:
                function(*args, **options)
            except click.ClickException:
                raise
            except BaseException as error:
                if debug or isinstance(error, SystemExit):
                    raise
                status, message = _explained(error)
                click.echo(message, err=True)
                sys.exit(status)

        debug = click.option("--debug", is_flag=True, help="Show the traceback of an error.")
        epilog = f"Example:  {example}"
        return main.command(function.__name__.rstrip("_"), epilog=epilog)(debug(guarded))

    return decorate


def _explained(error: BaseException) -> tuple[int, str]:
    """Exit status and message of an error."""
    from keras_concurrent.errors import ConcurrentError

    if isinstance(error, KeyboardInterrupt):
        return 130, "Interrupted. Nothing half-written was left, no board runs on."
    if isinstance(error, ConcurrentError):
        return 1, f"Error: {error}"
    if isinstance(error, ValueError):
        return 2, f"Error: {error}"
    if isinstance(error, OSError):
        return 1, f"Error: {error.strerror}: {error.filename}"
    return 1, f"Unexpected error, see --debug: {type(error).__name__}: {error}"


def options(*decorators: Function) -> Function:
    """Several click options as one decorator, in the order written."""

    def decorate(function: Function) -> Function:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


existing = click.Path(exists=True, path_type=Path)
new_path = click.Path(path_type=Path)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
cluster_file = click.option(
    "--cluster", type=existing, required=True, help="The cluster file (TOML)."
)
described = options(
    click.option("--boards", default=4, show_default=True, help="How many boards to describe."),
    click.option("--board", "kind", default="pi4", show_default=True, help="Kind of board."),
    click.option("--link", default="1gbit", show_default=True, help="'1gbit', '100mbit', ..."),
)
staging_options = options(
    click.option("--input-shape", default="48x48x3", show_default=True, help="HxWxC."),
    click.option("--classes", default=10, show_default=True, help="Number of classes."),
    click.option(
        "--staging",
        type=click.Choice(["uniform", "greedy", "probabilistic", "merges"]),
        default="probabilistic",
        show_default=True,
    ),
    click.option("--filters", default=16, show_default=True, help="Channels of the first blocks."),
    click.option("--channel-cap", default=128, show_default=True, help="Most channels."),
    click.option(
        "--probability", default=0.5, show_default=True, help="Of halving, when probabilistic."
    ),
    click.option("--dense/--separable", default=False, help="Kind of convolution."),
)


@command("keras-concurrent generate --kind DP --vertices 40 --seed 3 --out network.json")
@click.option("--kind", default="DP", show_default=True, help="ER, BA, WS, DP, FB or chain.")
@click.option("--vertices", default=40, show_default=True, help="Without source and sink.")
@click.option("--seed", default=0, show_default=True, help="Of the graph and the staging.")
@click.option("--param", "parameters", multiple=True, help="Of the generator, such as p=0.4.")
@staging_options
@click.option("--out", type=new_path, help="File to write; standard output by default.")
def generate(
    kind: str, vertices: int, seed: int, parameters: tuple[str, ...], out: Path | None, **how: Any
) -> None:
    """Draw a random concurrent network and write its recipe as JSON."""
    from keras_concurrent import generators
    from keras_concurrent.files import write_beside

    graph = generators.generate(
        kind, vertices, seed=seed, **dict(_assignment(p) for p in parameters)
    )
    architecture = _staged(graph, seed, **how)
    text = architecture.to_json()
    if out is None:
        click.echo(text, nl=False)
        return
    write_beside(out, text.encode())
    mflop = sum(architecture.block_flops.values()) / 1e6
    click.echo(f"{kind}, {len(architecture.blocks)} vertices, {mflop:.1f} MFLOP -> {out}")


def _assignment(text: str) -> tuple[str, int | float]:
    name, _, value = text.partition("=")
    try:
        return name, int(value) if value.lstrip("-").isdigit() else float(value)
    except ValueError:
        raise ValueError(f"--param must look like p=0.4, got {text!r}") from None


def _staged(
    graph: Any, seed: int, *, input_shape: str, classes: int, staging: str, filters: int,
    channel_cap: int, probability: float, dense: bool,
) -> Any:  # fmt: skip
    from keras_concurrent.architecture import stage

    sides = input_shape.split("x")
    if len(sides) != 3 or not all(side.isdigit() for side in sides):
        raise ValueError(f"--input-shape must look like 48x48x3, got {input_shape!r}")
    height, width, channels = map(int, sides)
    return stage(
        graph,
        (height, width, channels),
        classes,
        staging=staging,
        filters=filters,
        channel_cap=channel_cap,
        probability=probability,
        separable=not dense,
        seed=seed,
    )


@command("keras-concurrent generate | keras-concurrent score - --units 4")
@click.argument("network", type=click.Path(allow_dash=True, path_type=Path))
@click.option("--units", default=4, show_default=True, help="How many boards.")
@as_json
def score(network: Path, units: int, as_json: bool) -> None:
    """Score how well a network splits over n units; lower is better.

    NETWORK is a recipe from `generate` ('-' for standard input) or a .tflite.
    """
    from dataclasses import asdict

    from rich.console import Console

    from keras_concurrent.architecture import Architecture
    from keras_concurrent.console import table
    from keras_concurrent.score import concurrency_score
    from keras_concurrent.taskgraph import TaskGraph
    from keras_concurrent.tflite_file import TfliteFile

    if network.suffix == ".tflite":
        graph = TaskGraph.from_tflite(TfliteFile.read(network))
    else:
        text = sys.stdin.read() if str(network) == "-" else network.read_text(encoding="utf-8")
        graph = TaskGraph.from_architecture(Architecture.from_json(text))
    result = concurrency_score(graph, units)
    if as_json:
        click.echo(json.dumps({**asdict(result), "flops": graph.flops}))
        return
    rows = [
        (
            ("* " if candidate == result.best else "  ") + f"{candidate.epsilon:g}",
            f"{candidate.concurrency_score:.3f}",
            f"{candidate.eta:.2f}",
            f"{candidate.lambda_bytes:,}",
            f"{candidate.lambda_normalised:.2f}",
            f"{candidate.delta_w:.3f}",
            f"{candidate.used_units}",
        )
        for candidate in result.sweep
    ]
    columns = ("epsilon", "CS", "eta", "Lambda, bytes", "Lambda'", "delta_w", "used units")
    Console().print(table(f"Concurrency score on {units} units (* best)", columns, rows))


@command("keras-concurrent train network.json --data photos --epochs 10 --out model.keras")
@click.argument("network", type=existing)
@click.option("--data", default="photos", show_default=True, help="photos, mnist or digits.")
@click.option("--epochs", default=10, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=new_path, default=Path("model.keras"), show_default=True)
@as_json
def train(network: Path, data: str, epochs: int, seed: int, out: Path, as_json: bool) -> None:
    """Train a network from `generate` on images that come inside packages."""
    from keras_concurrent import datasets
    from keras_concurrent.architecture import Architecture
    from keras_concurrent.console import load_tensorflow

    architecture = Architecture.from_json(network.read_text(encoding="utf-8"))
    size = architecture.input_shape[0] if data == "photos" else None
    dataset = datasets.load(data, size=size)
    shape = dataset.train_images.shape[1:]
    if shape != architecture.input_shape or len(dataset.class_names) != architecture.classes:
        raise ValueError(
            f"the network takes images {architecture.input_shape} of {architecture.classes} "
            f"classes; {data} has {shape} of {len(dataset.class_names)}"
        )
    load_tensorflow()
    import keras

    from keras_concurrent import training
    from keras_concurrent.models import build_model

    keras.utils.set_random_seed(seed)
    model = build_model(architecture)
    result = training.train(model, dataset, epochs=epochs, seed=seed)
    training.save_model(model, out)
    figures = {
        "test_accuracy": result.test_accuracy,
        "seconds": result.seconds,
        "model": str(out),
    }
    if as_json:
        click.echo(json.dumps(figures))
    else:
        click.echo(f"test accuracy {result.test_accuracy:.3f} in {result.seconds:.0f} s -> {out}")


@command("keras-concurrent export model.keras --boards 4 --board pi4 --link 1gbit --out bundle")
@click.argument("model", type=existing)
@click.option("--cluster", type=existing, help="The cluster file; described boards without it.")
@described
@click.option(
    "--profile/--flops",
    "measured",
    default=False,
    help="Plan with the operators' measured time on this machine, or with their FLOPs.",
)
@click.option("--out", type=new_path, default=Path("bundle"), show_default=True)
@as_json
def export(
    model: Path, cluster: Path | None, boards: int, kind: str, link: str, measured: bool,
    out: Path, as_json: bool,
) -> None:  # fmt: skip
    """Plan a .keras or .tflite model on boards, cut it, and write the bundle.

    Without --cluster, the described boards are written to a cluster.toml beside the bundle.
    """
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.export import export_bundle
    from keras_concurrent.files import write_beside
    from keras_concurrent.taskgraph import TaskGraph
    from keras_concurrent.tflite_file import TfliteFile

    where = Cluster.read(cluster) if cluster else Cluster.of(kind, boards, link)
    if model.suffix == ".tflite":
        file = TfliteFile.read(model)
    else:
        file = TfliteFile(_converted(model), str(model))
    graph = TaskGraph.from_tflite(file).chains_merged()
    if measured:
        from keras_concurrent.calibration import measure_host
        from keras_concurrent.console import progress_bars
        from keras_concurrent.profile import profile_tasks

        with progress_bars() as progress:
            measured_s = profile_tasks(file, graph, progress=progress("profiling")).seconds
        graph = graph.timed(measured_s, measure_host())
    bundle = export_bundle(file, where, out, graph=graph)
    if cluster is None:
        write_beside(out.parent / "cluster.toml", where.to_toml().encode())
    many, one = (bundle.placement(name) for name in ("boards", "one_board"))
    figures = {
        "bundle": str(out),
        "segments": len(bundle.manifest.segments) - 1 or 1,
        "boards_used": sorted(many.programs),
        "predicted_latency_s": many.predicted_latency_s,
        "predicted_one_board_latency_s": one.predicted_latency_s,
    }
    if as_json:
        click.echo(json.dumps(figures))
    elif len(many.programs) == 1:
        click.echo(f"{out}: one board is best, {one.predicted_latency_s * 1e3:.1f} ms predicted")
    else:
        click.echo(
            f"{out}: {figures['segments']} segments on {len(many.programs)} boards, predicted "
            f"{many.predicted_latency_s * 1e3:.1f} ms; "
            f"one board {one.predicted_latency_s * 1e3:.1f} ms"
        )


def _converted(path: Path) -> bytes:
    from keras_concurrent.console import load_tensorflow

    load_tensorflow()
    import keras

    import keras_concurrent.layers  # noqa: F401 - registers the layers with Keras
    from keras_concurrent.convert import to_tflite

    content: bytes = to_tflite(keras.models.load_model(path))
    return content


@command("keras-concurrent board --name pi4-1 --bundle bundle --cluster cluster.toml")
@click.option("--name", required=True, help="This board's name in the cluster file.")
@click.option("--bundle", type=existing, required=True)
@cluster_file
@click.option("--placement", default="boards", show_default=True, help="boards or one_board.")
@click.option("--threads", default=1, show_default=True, help="Of the interpreter.")
@click.option(
    "--slowdown",
    type=float,
    help="Emulate a board so many times slower than this machine, and the cluster file's links.",
)
@click.option("--until-stdin-closes", is_flag=True, help="End when standard input does.")
def board(
    name: str, bundle: Path, cluster: Path, placement: str, threads: int, slowdown: float | None,
    until_stdin_closes: bool,
) -> None:  # fmt: skip
    """Run a board: compute this board's segments until stopped."""
    from keras_concurrent.board import serve_board

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    if until_stdin_closes:

        def wait_for_end() -> None:
            while os.read(0, 4096):  # not sys.stdin, whose lock would abort the interpreter's end
                pass
            stopped.set()

        threading.Thread(target=wait_for_end, daemon=True).start()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    serve_board(name, bundle, cluster, placement, stopped, threads=threads, slowdown=slowdown)


local = options(
    click.option("--local", is_flag=True, help="Start the boards here, and stop them afterwards."),
    click.option(
        "--emulate", is_flag=True, help="Like --local, slowed down to the cluster file's rates."
    ),
)


def _slowdown(cluster: Any) -> dict[str, float]:
    from keras_concurrent.calibration import measure_host
    from keras_concurrent.emulation import slowdown_for

    return slowdown_for(cluster, measure_host())


@command("keras-concurrent infer bundle image.png --cluster cluster.toml --local")
@click.argument("bundle", type=existing)
@click.argument("image", type=existing)
@cluster_file
@local
@click.option("--timeout", "timeout_s", default=10.0, show_default=True, help="Seconds.")
@as_json
def infer(
    bundle: Path, image: Path, cluster: Path, local: bool, emulate: bool, timeout_s: float,
    as_json: bool,
) -> None:  # fmt: skip
    """Recognise one image (.npy, .png, .jpg) on the boards."""
    import numpy as np

    from keras_concurrent.bundle import Bundle
    from keras_concurrent.client import check_image
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.files import read_image
    from keras_concurrent.local_boards import answering

    opened, where = Bundle(bundle), Cluster.read(cluster)
    name = opened.manifest.inputs[0]
    spec = opened.manifest.tensors[name]
    pixels = check_image(name, read_image(image, spec), spec)
    slowdown = _slowdown(where) if emulate else None
    with answering(opened, where, local=local, slowdown=slowdown) as client:
        answers = client.infer(pixels, timeout_s=timeout_s)
    for name, values in answers.items():
        flat = np.ravel(values)
        if as_json:
            click.echo(json.dumps({"output": name, "values": flat.tolist()}))
        else:
            best = int(np.argmax(flat))
            click.echo(f"{name}: class {best}, {float(flat[best]):.4g}")


@command("keras-concurrent bench bundle --cluster cluster.toml --emulate --out measurement.json")
@click.argument("bundle", type=existing)
@cluster_file
@local
@click.option("--images", default=50, show_default=True, help="Random images to send.")
@click.option("--out", type=new_path, help="File for `report`.")
@as_json
def bench(
    bundle: Path, cluster: Path, local: bool, emulate: bool, images: int, out: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure one board and n boards, and compare their answers with the uncut model's."""
    from rich.console import Console

    from keras_concurrent.bench import measure_bundle, random_images
    from keras_concurrent.bundle import Bundle
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.console import progress_bars, table
    from keras_concurrent.files import write_beside

    if images < 1:
        raise ValueError(f"--images must be at least 1, got {images}")
    opened, where = Bundle(bundle), Cluster.read(cluster)
    with progress_bars() as progress:
        measurement, _ = measure_bundle(
            opened,
            where,
            random_images(opened, images),
            local=local,
            slowdown=_slowdown(where) if emulate else None,
            progress=progress,
        )
    if out is not None:
        write_beside(out, measurement.to_json().encode())
    if as_json:
        click.echo(json.dumps(measurement.figures(opened)))
        return
    rows = [
        (
            name,
            f"{opened.placement(name).predicted_latency_s * 1e3:.2f}",
            f"{run.median_s * 1e3:.2f}",
            f"{run.p95_s * 1e3:.2f}",
        )
        for name, run in measurement.runs.items()
    ]
    emulated = " (emulated boards)" if measurement.emulated else ""
    columns = ("placement", "predicted ms", "median ms", "p95 ms")
    Console().print(table(f"Latency of one image{emulated}", columns, rows))
    click.echo(
        f"largest difference to the uncut model {measurement.max_abs_diff_tflite:g}, "
        f"{measurement.classes_differ} of {measurement.images} classes differ"
    )


@command("keras-concurrent report bundle --measurement measurement.json --out .")
@click.argument("bundle", type=existing)
@click.option("--measurement", type=existing, help="From `bench --out`; predictions without it.")
@click.option("--out", type=new_path, default=Path(), show_default=True, help="Folder.")
def report(bundle: Path, measurement: Path | None, out: Path) -> None:
    """Draw report.html, report.png and trace.json (for Perfetto)."""
    from keras_concurrent.bench import Measurement
    from keras_concurrent.bundle import Bundle
    from keras_concurrent.report import write_report

    measured = (
        Measurement.from_json(measurement.read_text(encoding="utf-8")) if measurement else None
    )
    for path in write_report(out, Bundle(bundle), measured):
        click.echo(path)


@command("keras-concurrent demo --boards 4 --emulate pi4 --data photos --out demo")
@click.option("--boards", default=4, show_default=True, help="How many board processes.")
@click.option(
    "--emulate", "kind", default="pi4", show_default=True, help="Kind of board, or 'none'."
)
@click.option("--link", default="1gbit", show_default=True, help="'1gbit', '100mbit', ...")
@click.option("--data", default="photos", show_default=True, help="photos, mnist or digits.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=new_path, default=Path("demo"), show_default=True, help="Folder.")
@as_json
def demo(boards: int, kind: str, link: str, data: str, seed: int, out: Path, as_json: bool) -> None:
    """The whole path: generate, score, train, cut, run on several boards, report."""
    from keras_concurrent.demo import print_figures, run_demo

    figures = run_demo(boards=boards, kind=kind, link=link, data=data, seed=seed, out=out)
    if as_json:
        click.echo(json.dumps(figures))
    else:
        print_figures(figures)
