"""Commands that make a network: generate, score, train."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from keras_concurrent.cli.command import command
from keras_concurrent.cli.options import (
    as_json,
    existing,
    input_shape,
    input_shapes_of,
    new_path,
    of_data,
    of_training,
    options,
    parsed,
    split_recipe,
)

staging_options = options(
    click.option("--input-shape", default="48x48x3", show_default=True, help="HxWxC."),
    click.option("--classes", default=10, show_default=True, help="Number of classes."),
    click.option(
        "--staging",
        type=click.Choice(["uniform", "greedy", "probabilistic", "merges", "balanced"]),
        default="probabilistic",
        show_default=True,
    ),
    click.option("--filters", default=16, show_default=True, help="Channels of the first blocks."),
    click.option("--channel-cap", default=128, show_default=True, help="Most channels."),
    click.option(
        "--probability", default=0.5, show_default=True, help="Of halving, when probabilistic."
    ),
    click.option("--dense/--separable", default=False, help="Convolutions of the paper's block."),
    click.option(
        "--block",
        type=click.Choice(["paper", "plain", "residual", "separable", "inverted"]),
        default="paper",
        show_default=True,
        help="What every vertex is: the paper's block, or usual convolutions.",
    ),
    click.option("--depth", default=1, show_default=True, help="Convolutions a vertex; paper: 1."),
    click.option("--stem-filters", type=int, help="Of a convolution before all; without it none."),
    click.option("--stem-strides", default=1, show_default=True, help="2 halves in the stem."),
)


@command("keras-concurrent generate --kind DP --vertices 40 --seed 3 --out network.json")
@click.option(
    "--kind", default="DP", show_default=True, help="ER, BA, WS, DP, FB, lanes, chain, branches."
)
@click.option("--vertices", default=40, show_default=True, help="Without source and sink.")
@click.option("--seed", default=0, show_default=True, help="Of the graph and the staging.")
@click.option("--param", "parameters", multiple=True, help="Of the generator, such as p=0.4.")
@staging_options
@click.option("--out", type=new_path, help="File to write; standard output by default.")
def generate(
    kind: str, vertices: int, seed: int, parameters: tuple[str, ...], out: Path | None, **how: Any
) -> None:
    """Draw a random concurrent network and write its recipe as JSON."""
    from keras_concurrent.files import write_beside
    from keras_concurrent.networks import generators

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
    channel_cap: int, probability: float, dense: bool, **blocks: Any,
) -> Any:  # fmt: skip
    from keras_concurrent.networks.staging import stage

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
        **blocks,
    )


@command("keras-concurrent generate | keras-concurrent score - --units 4")
@click.argument("network", type=click.Path(allow_dash=True, path_type=Path))
@click.option("--units", default=4, show_default=True, help="How many boards.")
@input_shape
@as_json
def score(network: Path, units: int, shapes: tuple[str, ...], as_json: bool) -> None:
    """Score how well a network splits over n units; lower is better.

    NETWORK is a recipe from `generate` ('-' for standard input) or a .tflite.
    """
    from dataclasses import asdict

    from rich.console import Console

    from keras_concurrent.cli.console import table
    from keras_concurrent.export.model import TFLITE_SUFFIXES
    from keras_concurrent.networks.architecture import Architecture
    from keras_concurrent.planning.taskgraph import TaskGraph
    from keras_concurrent.scoring.concurrency import concurrency_score
    from keras_concurrent.tflite.file import TfliteFile

    if network.suffix.lower() in TFLITE_SUFFIXES:
        graph = TaskGraph.from_tflite(TfliteFile.read(network, input_shapes_of(shapes)))
    else:
        stdin = str(network) == "-"
        recipe = (
            Architecture.from_json(sys.stdin.read()) if stdin
            else parsed(Architecture.from_json, network)
        )  # fmt: skip
        graph = TaskGraph.from_architecture(recipe)
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


@command("keras-concurrent train network.json --data pictures --epochs 30 --out model.keras")
@click.argument("network", type=existing)
@of_data
@click.option("--epochs", default=10, show_default=True)
@click.option("--learning-rate", default=5e-3, show_default=True, help="The schedule's peak.")
@of_training
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=new_path, default=Path("model.keras"), show_default=True)
@click.option(
    "--resume", is_flag=True, help="Go on with a training of the same that was interrupted."
)
@as_json
def train(
    network: Path, data: str, resize: str, out: Path, resume: bool, as_json: bool, **how: Any
) -> None:
    """Train a network from `generate` on any images.

    While it trains, its state is kept beside the model; interrupted, it goes on with --resume.
    """
    from keras_concurrent import datasets
    from keras_concurrent.cli.console import progress_bars, progress_lines, stderr
    from keras_concurrent.networks.architecture import Architecture
    from keras_concurrent.tensorflow_loading import load_tensorflow

    def say(line: str) -> None:
        click.echo(line, err=True)

    if out.suffix != ".keras":
        raise ValueError(f"--out must end in .keras, got {out}")
    recipe, _ = split_recipe(how)
    architecture = parsed(Architecture.from_json, network)
    size: int | tuple[int, int] | None = None
    if data == "photos":
        size = architecture.input_shape[0]
    elif Path(data).is_dir():
        size = architecture.input_shape[:2]
    with progress_bars() as bars:
        progress = bars if stderr.is_terminal else progress_lines(say)
        dataset = datasets.load(data, size, resize=resize, progress=progress("pictures read"))
    if dataset.image_shape != architecture.input_shape or dataset.classes != architecture.classes:
        raise ValueError(
            f"the network takes images {architecture.input_shape} of {architecture.classes} "
            f"classes; {data} has {dataset.image_shape} of {dataset.classes}"
        )
    say(dataset.note)
    out.parent.mkdir(parents=True, exist_ok=True)  # not first when all is trained
    backup = out.with_name(f".{out.stem}-training.npz")
    if not resume:
        backup.unlink(missing_ok=True)
    load_tensorflow()
    import keras

    from keras_concurrent import training
    from keras_concurrent.models import build_model
    from keras_concurrent.training.progress import in_lines

    keras.utils.set_random_seed(recipe.seed)
    model = build_model(architecture)
    lines = [] if stderr.is_terminal else [in_lines(say)]
    result = training.train(model, dataset, recipe, callbacks=lines, backup=backup)
    training.save_model(model, out, dataset)
    figures = {
        "test_accuracy": result.test_accuracy,
        "seconds": result.seconds,
        "epochs": len(result.history["loss"]),
        "model": str(out),
    }
    if as_json:
        click.echo(json.dumps(figures))
    else:
        click.echo(f"test accuracy {result.test_accuracy:.3f} in {result.seconds:.0f} s -> {out}")
