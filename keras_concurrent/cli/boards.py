"""Commands that run a bundle and show how it went: board, bench, report, demo."""

from __future__ import annotations

import json
import logging
import signal
import threading
from pathlib import Path
from typing import Any

import click

from keras_concurrent.children import UNTIL_STDIN_CLOSES, end_with_parent
from keras_concurrent.cli.command import command
from keras_concurrent.cli.options import (
    as_json,
    cluster_file,
    existing,
    keys_folder,
    keys_folder_of,
    local,
    new_path,
    pace_file,
    parsed,
)


@command("keras-concurrent board --name pi4-1 --cluster cluster.toml --store bundles")
@click.option("--name", required=True, help="This board's name in the cluster file.")
@click.option("--bundle", type=existing, help="Run this bundle instead of one deployed to --store.")
@click.option("--store", type=new_path, help="Folder of the bundles that `deploy` brings.")
@cluster_file
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Of the interpreter; by default all cores.",
)
@click.option(
    "--slowdown",
    type=float,
    help="Emulate a board so many times slower than this machine.",
)
@click.option(
    "--as-described", is_flag=True,
    help="With --slowdown: take for a segment what the plan says, whatever this machine takes.",
)  # fmt: skip
@click.option(
    "--emulate-memory", is_flag=True, help="Take no more memory than the cluster file says."
)
@pace_file
@keys_folder
@click.option(UNTIL_STDIN_CLOSES, is_flag=True, help="End when standard input does.")
def board(
    name: str, bundle: Path | None, store: Path | None, cluster: Path, threads: int | None,
    slowdown: float | None, as_described: bool, emulate_memory: bool, pace: Path | None,
    keys: Path | None, until_stdin_closes: bool,
) -> None:  # fmt: skip
    """Run a board: compute this board's segments until stopped."""
    from keras_concurrent.edge.board.process import serve_board

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    if until_stdin_closes:
        end_with_parent(stopped.set)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    serve_board(
        name,
        bundle,
        cluster,
        stopped,
        threads=threads,
        slowdown=slowdown,
        pace=pace,
        keys=keys_folder_of(cluster, keys),
        store=store,
        emulate_memory=emulate_memory,
        as_described=as_described,
    )


def slowdown_of(cluster: Any) -> dict[str, float]:
    """How much slower than this machine each board is, by name."""
    from keras_concurrent.edge.testbed.local_boards import slowdown_for
    from keras_concurrent.measured.host import measure_host

    return slowdown_for(cluster, measure_host())


@command("keras-concurrent bench bundle --cluster cluster.toml --emulate --out measurement.json")
@click.argument("bundle", type=existing)
@cluster_file
@local
@keys_folder
@pace_file
@click.option("--images", default=50, show_default=True, help="Random images to send.")
@click.option("--out", type=new_path, help="File for `report`.")
@click.option("--trace", type=new_path, help="File for ui.perfetto.dev.")
@click.option(
    "--rebalance", is_flag=True, help="Share work anew if boards are slower than planned."
)
@as_json
def bench(
    bundle: Path, cluster: Path, local: bool, emulate: bool, keys: Path | None,
    pace: Path | None, images: int, out: Path | None, trace: Path | None,
    rebalance: bool, as_json: bool,
) -> None:  # fmt: skip
    """Measure one board and n boards, and compare their answers with the uncut model's."""
    from rich.console import Console

    from keras_concurrent.cli.console import progress_bars, table
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.edge.bundle import Bundle
    from keras_concurrent.edge.watch.bench import measure_bundle, random_images
    from keras_concurrent.edge.watch.shares import shares
    from keras_concurrent.files import write_beside

    if images < 1:
        raise ValueError(f"--images must be at least 1, got {images}")
    if rebalance and (out is not None or trace is not None):
        raise ValueError("--out and --trace show the bundle's plan, from which --rebalance departs")
    opened, where = Bundle(bundle), Cluster.read(cluster)
    with progress_bars() as progress:
        measurement, _ = measure_bundle(
            opened,
            where,
            random_images(opened, images),
            local=local,
            slowdown=slowdown_of(where) if emulate else None,
            keys=keys_folder_of(cluster, keys),
            pace=pace,
            rebalance=rebalance,
            progress=progress,
        )
    if out is not None:
        write_beside(out, measurement.to_json().encode())
    if trace is not None:
        from keras_concurrent.report.perfetto import trace_json
        from keras_concurrent.report.summary import summarise

        summary = summarise(opened.manifest, measurement)
        text = trace_json(opened.manifest, summary.timelines, emulated=summary.emulated)
        write_beside(trace, text.encode())
    if as_json:
        click.echo(json.dumps(measurement.figures(opened)))
        return
    rows = [
        (
            name,
            f"{opened.placement(name).predicted_latency_s * 1e3:.2f}",
            f"{run.median_s * 1e3:.2f}",
            f"{run.p95_s * 1e3:.2f}",
            f"{run.p99_s * 1e3:.2f}",
            f"{run.throughput_per_s:.1f}",
        )
        for name, run in measurement.runs.items()
    ]
    emulated = " (emulated boards)" if measurement.emulated else ""
    columns = ("placement", "predicted ms", "median ms", "p95 ms", "p99 ms", "images/s")
    Console().print(table(f"Latency of one image, throughput of 4{emulated}", columns, rows))
    placement, run = opened.placement("boards"), measurement.runs["boards"]
    planned = shares(placement.predicted, placement.predicted_latency_s)
    measured = shares(run.events, run.median_s)
    Console().print(
        table(
            "Each board, predicted / measured, ms",
            ("board", "compute", "wire", "waiting"),
            [
                (
                    board,
                    *(
                        f"{getattr(planned[board], part) * 1e3:.2f} / "
                        f"{getattr(measured[board], part) * 1e3:.2f}"
                        for part in ("compute_s", "wire_s", "waiting_s")
                    ),
                )
                for board in measured
                if board in planned  # after a rebalance another may have work
            ],
        )
    )
    for board, times in (measurement.slow or {}).items():
        what = (
            "the work was shared anew" if rebalance else "--rebalance, or profile and export anew"
        )
        click.echo(f"{board} takes {times:.1f} times as long as planned: {what}")
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
    from keras_concurrent.edge.bundle import Bundle
    from keras_concurrent.edge.watch.bench import Measurement
    from keras_concurrent.report.page import write_report

    measured = parsed(Measurement.from_json, measurement) if measurement else None
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
    from keras_concurrent.cli.demo import run_demo
    from keras_concurrent.cli.demo_figures import print_figures

    figures = run_demo(boards=boards, kind=kind, link=link, data=data, seed=seed, out=out)
    if as_json:
        click.echo(json.dumps(figures))
    else:
        print_figures(figures)
