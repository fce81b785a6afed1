"""The command that answers over HTTP."""

from __future__ import annotations

from pathlib import Path

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

TOKEN = "KERAS_CONCURRENT_TOKEN"


@command("keras-concurrent serve bundle --cluster cluster.toml --local")
@click.argument("bundle", type=existing)
@cluster_file
@local
@keys_folder
@pace_file
@of_pictures
@click.option("--model", help="The model's name in addresses; by default the bundle's folder.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Interface to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True,
    help="0 for any that is free.",
)  # fmt: skip
@click.option(
    "--token-file", type=existing,
    help=f"File of a token that requests must bring; or it is in the environment as {TOKEN}.",
)  # fmt: skip
@click.option("--certificate", type=existing, help="Of this server, for TLS (PEM).")
@click.option("--private-key", type=existing, help="The certificate's key (PEM).")
@click.option(
    "--in-flight", type=click.IntRange(1), default=4, show_default=True,
    help="Images that the boards work on at a time.",
)  # fmt: skip
@click.option(
    "--waiting", type=click.IntRange(0), default=64, show_default=True,
    help="Images that may wait beside these; more are refused.",
)  # fmt: skip
@click.option(
    "--deadline", "deadline_s", default=10.0, show_default=True, help="Seconds for each answer."
)
def serve(
    bundle: Path, cluster: Path, local: bool, emulate: bool, keys: Path | None, pace: Path | None,
    value_range: str | None, mean: str | None, deviation: str | None, resize: str | None,
    model: str | None, host: str, port: int, token_file: Path | None, certificate: Path | None,
    private_key: Path | None, in_flight: int, waiting: int, deadline_s: float,
) -> None:  # fmt: skip
    """Answer over HTTP: Triton's, KServe's and TensorFlow Serving's clients, pictures, a page.

    Boards may come and go; those that are there do the others' work. docs/serving.md has examples.
    """
    import os

    from keras_concurrent.cluster import Cluster
    from keras_concurrent.edge.bundle import Bundle
    from keras_concurrent.edge.testbed.local_boards import answering
    from keras_concurrent.serve.access import Access, read_token
    from keras_concurrent.serve.app import application
    from keras_concurrent.serve.run import address, run, server
    from keras_concurrent.serve.service import Service
    from keras_concurrent.serve.watcher import Watcher

    opened, where = Bundle(bundle), Cluster.read(cluster)
    kept = opened.manifest.preprocessing
    said = preprocessing_of(value_range, mean, deviation, resize, kept)
    token = read_token(token_file) if token_file is not None else os.environ.get(TOKEN)
    access = Access(host, token, certificate, private_key)
    if access.warning is not None:
        click.echo(access.warning, err=True)
    name = model or bundle.resolve().name
    slowdown = slowdown_of(where) if emulate else None
    own = keys_folder_of(cluster, keys)
    answered_by = answering(
        opened, where, local=local, slowdown=slowdown, keys=own, pace=pace, in_flight=in_flight,
        ready="some",
    )  # fmt: skip
    with access.listen(port) as listening, answered_by as client:
        service = Service(
            client, opened, name, in_flight=in_flight, waiting=waiting, deadline_s=deadline_s
        )
        watcher = Watcher(service, where)
        at = address(access, listening)
        missing = [board for board in client.boards if board in client.absent]
        if missing:
            click.echo(f"without {', '.join(missing)}: see keras-concurrent doctor", err=True)

        def started() -> None:
            click.echo(f"serving {name!r} on {len(where.boards) - len(missing)} boards at {at}")

        made = server(application(service, watcher, said), service, access, started)
        try:
            run(made, listening)
        finally:
            watcher.close()
