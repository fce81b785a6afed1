"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from keras_concurrent.cli.command import Function
from keras_concurrent.edge.preprocessing import RANGES, RESIZES, Preprocessing
from keras_concurrent.recipe import Recipe

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
    click.option(
        "--cores", type=int, help="That compute on each: all, or 1 to compare single threads."
    ),
)
"""Boards described rather than owned."""
of_pictures = options(
    click.option(
        "--range", "value_range", type=click.Choice([*RANGES]),
        help="Values of black and white. Without it 0..1, or what the model's integers stand for.",
    ),
    click.option("--mean", help="Taken from these: 0.5, or one a channel as in 0.4,0.5,0.6."),
    click.option("--deviation", help="What the difference is divided by; as --mean."),
    click.option(
        "--resize", type=click.Choice(RESIZES),
        help="All of a picture stretched to the model's size, or its middle, cropped. Without it "
        "stretch.",
    ),
)  # fmt: skip
"""How a picture becomes what a model takes; see `preprocessing_of`."""
input_shape = click.option(
    "--input-shape",
    "shapes",
    multiple=True,
    help="Sizes that the model leaves open: 1x224x224x3, or name=1x224x224x3 for each of several "
    "inputs. An open batch is one.",
)
"""Of all commands that read a model; see `input_shapes_of`."""
of_data = options(
    click.option(
        "--data", default="photos", show_default=True,
        help="photos, mnist, digits, cifar10, fashion-mnist or flowers102; or your own: a folder "
        "with a folder of pictures for each class, an .npz or a folder of IDX files.",
    ),
    click.option(
        "--resize", type=click.Choice(RESIZES), default="stretch", show_default=True,
        help="All of a folder's picture stretched to the size, or its middle, cropped.",
    ),
)  # fmt: skip
"""Images to train on."""
of_training = options(
    click.option("--batch-size", default=32, show_default=True, help="Images a step."),
    click.option(
        "--augmentation", default="none", show_default=True,
        help="Random changes of training images: some of flip,shift,zoom,rotate,brightness, or "
        "auto: shift, and flip where they are in colour.",
    ),
    click.option("--label-smoothing", default=0.0, show_default=True, help="Such as 0.1."),
    click.option("--weight-decay", default=0.0, show_default=True, help="Such as 0.004."),
    click.option(
        "--averaging", default=0.0, show_default=True,
        help="Average the weights over this share of the steps, such as 0.05.",
    ),
    click.option(
        "--patience", type=int, help="Stop after so many epochs without a better accuracy."
    ),
    click.option(
        "--class-weights", is_flag=True, help="Let rare classes count as much as frequent ones."
    ),
)  # fmt: skip
"""What a `keras_concurrent.recipe.Recipe` calls the same."""
keys_folder = click.option(
    "--keys",
    type=existing,
    help="Folder of `keras-concurrent keys`; by default 'keys' beside the cluster file.",
)


def preprocessing_of(
    value_range: str | None,
    mean: str | None,
    deviation: str | None,
    resize: str | None,
    kept: Preprocessing | None = None,
) -> Preprocessing | None:
    """What the options `of_pictures` say, each that was not given as it was kept.

    Returns:
        ``kept`` itself where none was given.
    """
    given = {
        "value_range": value_range,
        "mean": None if mean is None else _numbers("--mean", mean),
        "deviation": None if deviation is None else _numbers("--deviation", deviation),
        "resize": resize,
    }
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    return replace(kept or Preprocessing(), **changes) if changes else kept


def input_shapes_of(texts: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes by the inputs' names, ``""`` where a text has none.

    Raises:
        ValueError: a text that is no shape, or a name said twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        parts = sizes.split("x")
        if not all(part.isascii() and part.isdigit() for part in parts):
            raise ValueError(
                f"--input-shape must look like 1x224x224x3 or name=1x224x224x3, got {text!r}"
            )
        if name in shapes:
            raise ValueError(f"--input-shape must be said once for each input, got {text!r} too")
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(each) for each in text.split(","))
    except ValueError:
        raise ValueError(f"{option} must look like 0.5 or 0.4,0.5,0.6, got {text!r}") from None


def split_recipe(options: dict[str, Any]) -> tuple[Recipe, dict[str, Any]]:
    """The recipe that options say, and the options that are none of its."""
    names = {field.name for field in fields(Recipe)}
    said = {name: value for name, value in options.items() if name in names}
    others = {name: value for name, value in options.items() if name not in names}
    return Recipe(**said), others


def keys_folder_of(cluster: Path, keys: Path | None) -> Path | None:
    """The folder of keys that was named, or the one beside the cluster file if there is one."""
    beside = cluster.parent / "keys"
    return keys or (beside if beside.is_dir() else None)
