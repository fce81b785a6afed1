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
@click.argument("images", type=existing, nargs=-1, required=True)
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
    bundle: Path, images: tuple[Path, ...], value_range: str | None, mean: str | None,
    deviation: str | None, resize: str | None, cluster: Path, local: bool, emulate: bool,
    keys: Path | None, pace: Path | None, deadline_s: float, as_json: bool,
) -> None:  # fmt: skip
    """Recognise images (.npy, .png, .jpg, ...), or all in a folder, on the boards.

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
    arrays, how = _read(image_files(images), manifest, said or Preprocessing())
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
        for path, array in arrays.items():
            asked_s = time.perf_counter()
            answers = client.infer(array, deadline_s=deadline_s)
            latency_s = time.perf_counter() - asked_s
            scores = scores_of(manifest, answers)
            if as_json:
                of = {"image": str(path), "latency_s": latency_s}
                click.echo(json.dumps({**of, "outputs": told(manifest, scores)}))
            else:
                click.echo(_line(path, manifest, scores, latency_s))


def _read(
    paths: list[Path], manifest: Manifest, said: Preprocessing
) -> tuple[dict[Path, Array], str | None]:
    """Images as the model takes them, and how pictures among them were made so.

    All are read before a board is asked, so that a wrong one is told of at once.
    """
    from keras_concurrent.edge.images import check_image, is_picture, misfit, read_image, settled

    name = manifest.inputs[0]
    spec = manifest.tensors[name]
    how = None
    if is_picture(spec) and any(path.suffix != ".npy" for path in paths):
        said = settled(said, spec)
        how = f"pictures: {said}, to {spec.shape[1]}x{spec.shape[2]}"
        warning = misfit(said, spec)
        if warning is not None:
            click.echo(warning, err=True)
    arrays = {}
    for path in paths:
        read = read_image(path, spec, said)
        try:
            arrays[path] = check_image(name, read, spec)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return arrays, how


def _line(path: Path, manifest: Manifest, scores: dict[str, Array], latency_s: float) -> str:
    """An image's classes, the best five of each output."""
    from keras_concurrent.edge.classes import best_of

    said = []
    for name, values in scores.items():
        best = ", ".join(map(str, best_of(manifest, name, values)))
        said.append(f"{name}: {best}" if len(scores) > 1 else best)
    return f"{path}: {'; '.join(said)} ({latency_s * 1e3:.1f} ms)"
