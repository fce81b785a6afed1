"""The command group, and what all its commands share: how an error is told."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
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
            except (click.ClickException, BrokenPipeError):  # click ends quietly on the latter
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
    from keras_concurrent.extras import named

    if isinstance(error, ImportError):
        error = named(error)
    if isinstance(error, KeyboardInterrupt):
        return 130, "Interrupted. Nothing half-written was left, no board runs on."
    if isinstance(error, ConcurrentError):
        return 1, f"Error: {error}"
    if isinstance(error, ValueError):
        return 2, f"Error: {error}"
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename is not None else ""
        return 1, f"Error: {error.strerror or error}{where}"
    return 1, f"Unexpected error, see --debug: {type(error).__name__}: {error}"
