"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from keras_concurrent.cli.command import Function

Parsed = TypeVar("Parsed")


def options(*decorators: Function) -> Function:
    """Several click options as one decorator, in the order written."""

    def decorate(function: Function) -> Function:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def parsed(parse: Callable[[str], Parsed], path: Path) -> Parsed:
    """What a text file says.

    Args:
        parse: turns the text into what it says; raises ValueError.
        path: the file; named in the error.
    """
    try:
        return parse(path.read_text(encoding="utf-8"))
    except ValueError as error:  # one of them tells of bytes that are no text
        raise ValueError(f"{path}: {error}") from error


existing = click.Path(exists=True, path_type=Path)
new_path = click.Path(path_type=Path)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
cluster_file = click.option(
    "--cluster", type=existing, required=True, envvar="KERAS_CONCURRENT_CLUSTER", show_envvar=True,
    help="The cluster file (TOML).",
)  # fmt: skip
pace_file = click.option(
    "--pace", type=existing, envvar="KERAS_CONCURRENT_PACE", show_envvar=True,
    help="Pace messages as the cluster file says, with this file of a testbed.",
)  # fmt: skip
local = options(
    click.option("--local", is_flag=True, help="Start the boards here, and stop them afterwards."),
    click.option(
        "--emulate", is_flag=True, help="Like --local, slowed down to the cluster file's rates."
    ),
)
described = options(
    click.option("--boards", default=4, show_default=True, help="How many boards to describe."),
    click.option("--board", "kind", default="pi4", show_default=True, help="Kind of board."),
    click.option("--link", default="1gbit", show_default=True, help="'1gbit', '54mbit-wifi', ..."),
)
"""Boards described rather than owned."""
keys_folder = click.option(
    "--keys",
    type=existing,
    help="Folder of `keras-concurrent keys`; by default 'keys' beside the cluster file.",
)


def keys_folder_of(cluster: Path, keys: Path | None) -> Path | None:
    """The folder of keys that was named, or the one beside the cluster file if there is one."""
    beside = cluster.parent / "keys"
    return keys or (beside if beside.is_dir() else None)
