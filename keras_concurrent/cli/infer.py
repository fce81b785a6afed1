"""The command that recognises images on the boards."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keras_concurrent.cli.boards import slowdown_of
from keras_concurrent.cli.command import command
from keras_concurrent.cli.options import (
    cluster_file,
    existing,
    keys_folder,
    keys_folder_of,
    local,
    of_pictures,
    pace_file,
    preprocessing_of,
)
from keras_concurrent.edge.preprocessing import Preprocessing

if TYPE_CHECKING:
    from keras_concurrent.edge.manifest import Manifest
    from keras_concurrent.interpreter import Array


@command("keras-concurrent infer bundle image.png --cluster cluster.toml --local")
@click.argument("bundle", type=existing)
@click.argument("images", type=existing, nargs=-1)
@click.option(
    "--input",
    "given",
    multiple=True,
    help="One file for each of a model's several inputs: name=file.",
)
@of_pictures
@cluster_file
@local
@keys_folder
@pace_file
@click.option(
    "--deadline", "deadline_s", default=10.0, show_default=True, help="Seconds for each answer."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object an image instead.")
def infer(
    bundle: Path, images: tuple[Path, ...], given: tuple[str, ...], value_range: str | None,
    mean: str | None, deviation: str | None, resize: str | None, cluster: Path, local: bool,
    emulate: bool, keys: Path | None, pace: Path | None, deadline_s: float, as_json: bool,
) -> None:  # fmt: skip
    """Recognise images (.npy, .png, .jpg, ...), or all in a folder, on the boards.

    A model of several inputs is asked once, with --input for each of them.

    How pictures become what the model takes is kept in the bundle; options change it.
    """
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.edge.bundle import Bundle
    from keras_concurrent.edge.classes import scores_of, told
    from keras_concurrent.edge.images import image_files
    from keras_concurrent.edge.testbed.local_boards import answering

    opened, where = Bundle(bundle), Cluster.read(cluster)
    manifest = opened.manifest
    said = preprocessing_of(value_range, mean, deviation, resize, manifest.preprocessing)
    if bool(images) == bool(given):
        raise ValueError("give images, or --input name=file for each of a model's several inputs")
    asked = [_of_inputs(given, manifest)] if given else _of_one(image_files(images), manifest)
    questions, how = _read(asked, manifest, said or Preprocessing())
    if how is None and said is not manifest.preprocessing:
        raise ValueError("--range, --mean, --deviation and --resize are for pictures, got arrays")
    if how is not None and not as_json:
        click.echo(how)
    slowdown = slowdown_of(where) if emulate else None
    own = keys_folder_of(cluster, keys)
    answered_by = answering(
        opened, where, local=local, slowdown=slowdown, keys=own, pace=pace, ready="some"
    )
    with answered_by as client:
        missing = [board for board in client.boards if board in client.absent]
        if missing:
            click.echo(f"without {', '.join(missing)}: see keras-concurrent doctor", err=True)
        for named, values in zip(asked, questions, strict=True):
            asked_s = time.perf_counter()
            answers = client.infer(values, deadline_s=deadline_s)
            latency_s = time.perf_counter() - asked_s
            scores = scores_of(manifest, answers)
            if as_json:
                of = {"image": _named(named), "latency_s": latency_s}
                click.echo(json.dumps({**of, "outputs": told(manifest, scores)}))
            else:
                click.echo(_line(named, manifest, scores, latency_s))


def _of_one(paths: list[Path], manifest: Manifest) -> list[dict[str, Path]]:
    """A question for each file, of a model of one input."""
    if len(manifest.inputs) != 1:
        raise ValueError(
            f"the model has the inputs {', '.join(manifest.inputs)}: give --input name=file for "
            "each of them"
        )
    return [{manifest.inputs[0]: path} for path in paths]


def _of_inputs(given: tuple[str, ...], manifest: Manifest) -> dict[str, Path]:
    """One question, a file by the name of each input."""
    paths: dict[str, Path] = {}
    for text in given:
        name, _, path = text.partition("=")
        while name not in manifest.inputs and "=" in path:  # a name may have one
            more, _, path = path.partition("=")
            name = f"{name}={more}"
        if not path or name in paths:
            raise ValueError(f"--input must be name=file, once for each input, got {text!r}")
        paths[name] = Path(path)
    if set(paths) != set(manifest.inputs):
        raise ValueError(
            f"--input must be given for {', '.join(manifest.inputs)}, got {', '.join(paths)}"
        )
    return {name: paths[name] for name in manifest.inputs}


def _read(
    asked: list[dict[str, Path]], manifest: Manifest, said: Preprocessing
) -> tuple[list[dict[str, Array]], str | None]:
    """Files as the model takes them, and how pictures among them were made so.

    All are read before a board is asked, so that a wrong one is told of at once.
    """
    from keras_concurrent.edge.images import check_image, is_picture, misfit, read_image, settled

    how = []
    for name in manifest.inputs:
        spec = manifest.tensors[name]
        if is_picture(spec) and any(each[name].suffix != ".npy" for each in asked):
            mine = settled(said, spec)
            how.append(f"pictures: {mine}, to {spec.shape[1]}x{spec.shape[2]}")
            warning = misfit(mine, spec)
            if warning is not None:
                click.echo(warning, err=True)
    questions: list[dict[str, Array]] = []
    for paths in asked:
        questions.append({})
        for name, path in paths.items():
            spec = manifest.tensors[name]
            try:
                questions[-1][name] = check_image(name, read_image(path, spec, said), spec)
            except ValueError as error:
                told = str(error)
                raise ValueError(told if str(path) in told else f"{path}: {told}") from error
    return questions, "\n".join(dict.fromkeys(how)) or None


def _named(paths: dict[str, Path]) -> str:
    """What a question was read from."""
    if len(paths) == 1:
        return str(next(iter(paths.values())))
    return ", ".join(f"{name}={path}" for name, path in paths.items())


def _line(
    paths: dict[str, Path], manifest: Manifest, scores: dict[str, Array], latency_s: float
) -> str:
    """An image's classes, the best five of each output."""
    from keras_concurrent.edge.classes import best_of

    said = []
    for name, values in scores.items():
        best = ", ".join(map(str, best_of(manifest, name, values)))
        said.append(f"{name}: {best}" if len(scores) > 1 else best)
    return f"{_named(paths)}: {'; '.join(said)} ({latency_s * 1e3:.1f} ms)"
