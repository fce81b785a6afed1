"""Commands that look after a cluster: keys, deploy, profile, doctor, top, testbed."""

from __future__ import annotations

from pathlib import Path

import click

from keras_concurrent.cli.command import command
from keras_concurrent.cli.options import cluster_file, new_path


@command("keras-concurrent keys --cluster cluster.toml --out keys")
@cluster_file
@click.option("--out", type=new_path, default=Path("keys"), show_default=True, help="Folder.")
def keys(cluster: Path, out: Path) -> None:
    """Make an authority, and keys for each board and the client, for endpoints tls/..."""
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.keys import make_keys

    made = make_keys(Cluster.read(cluster), out)
    for folder in made:
        click.echo(f"{folder}: copy it to {folder.name}" if folder.name != "client" else folder)
    if not made:
        click.echo(f"{out} has keys for everyone already")
