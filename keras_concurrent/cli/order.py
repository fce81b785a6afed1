"""Options that say which model is asked for on which boards, and the order that they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keras_concurrent.cli.options import described, existing, input_shape, input_shapes_of, options

if TYPE_CHECKING:
    from keras_concurrent.export.costs import Progress
    from keras_concurrent.export.order import Order
    from keras_concurrent.export.prepared import PreparedOrder

on_boards = options(
    click.option("--cluster", type=existing, help="The cluster file; described boards without it."),
    described,
    input_shape,
    click.option("--signature", help="Of a .tflite with several: the one that is to run."),
    click.option(
        "--profile/--flops",
        "measured_here",
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
    click.option(
        "--strips",
        default="auto",
        show_default=True,
        help="Into how many strips operators are split, so that boards share them, exactly: none, "
        "a number, or auto for what is predicted to be soonest.",
    ),
)


def ordered(
    model: Path, *, cluster: Path | None, boards: int, kind: str, link: str, cores: int | None,
    evaluations: int, seed: int, budget_s: float | None, polish_s: float | None,
    pinned: tuple[str, ...], strips: str, shapes: tuple[str, ...], **others: Any,
) -> Order:  # fmt: skip
    """The order that a command's options make.

    Args:
        model: the model's file.
        cluster: the cluster file; without it, boards are described.
        boards: how many to describe.
        kind: which kind of board to describe, such as ``"pi4"``.
        link: the network between these boards, such as ``"100mbit"``.
        cores: that compute on each of them; ``None`` for all.
        evaluations: how many plans to try, see `keras_concurrent.planning.effort.Effort`.
        seed: the search's seed, see `keras_concurrent.planning.effort.Effort`.
        budget_s: seconds after which no search begins.
        polish_s: seconds for CP-SAT to go on.
        pinned: texts such as ``"12=pi4-2"``.
        strips: ``"auto"``, ``"none"`` or a number.
        shapes: texts such as ``"1x224x224x3"`` or ``"image=1x224x224x3"``.
        others: options that an `keras_concurrent.export.order.Order` calls as the command does.

    Raises:
        ClusterError: a cluster file that cannot be read.
        ValueError: boards that cannot be described, a pin of another form, or see
            `keras_concurrent.export.order.Order`.
    """
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.export.order import Order
    from keras_concurrent.measured.boards import timings_beside
    from keras_concurrent.planning.effort import Effort

    if cores == 1 and cluster is None:
        click.echo("every board here is one core of a board, its others idle", err=True)
    return Order(
        model,
        Cluster.read(cluster) if cluster else Cluster.of(kind, boards, link, cores=cores),
        Effort(evaluations, seed, budget_s, polish_s),
        pins=_pins(pinned),
        input_shapes=input_shapes_of(shapes),
        strips=int(strips) if strips.isdecimal() else strips,
        timings=timings_beside(cluster) if cluster else None,
        **others,
    )


def prepared(order: Order, progress: Progress) -> PreparedOrder:
    """Prepare an order, and say what is not as the user may expect."""
    from keras_concurrent.export.order import prepare

    ready = prepare(order, progress)
    for remark in ready.remarks:
        click.echo(remark, err=True)
    return ready


def _pins(texts: tuple[str, ...]) -> dict[str, str]:
    """Board by operator or vertex."""
    pins: dict[str, str] = {}
    for text in texts:
        what, _, board = text.partition("=")
        if not what or not board:
            raise ValueError(f"--pin must look like 12=pi4-2 or vertex_03=pi4-1, got {text!r}")
        pins[what] = board
    return pins
