"""Commands that look after a cluster: keys, deploy, profile, doctor, top, testbed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from keras_concurrent.cli.command import command
from keras_concurrent.cli.options import (
    as_json,
    cluster_file,
    existing,
    keys_folder,
    keys_folder_of,
    new_path,
    pace_file,
)


@command("keras-concurrent keys --cluster cluster.toml --out keys")
@cluster_file
@click.option("--out", type=new_path, default=Path("keys"), show_default=True, help="Folder.")
def keys(cluster: Path, out: Path) -> None:
    """Make an authority, and keys for each board and the client, for endpoints tls/..."""
    from keras_concurrent.board import CLIENT
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.edge.link.keys import make_keys

    made = make_keys(Cluster.read(cluster), out)
    for folder in made:
        click.echo(f"{folder}: copy it to {folder.name}" if folder.name != CLIENT else folder)
    if not made:
        click.echo(f"{out} has keys for everyone already")


@command("keras-concurrent deploy bundle --cluster cluster.toml")
@click.argument("bundle", type=existing)
@cluster_file
@keys_folder
@click.option("--roll-back", is_flag=True, help="Return to the bundle before the one in use.")
@click.option(
    "--at-once", is_flag=True, help="End other clients' images in errors; by default they finish."
)
@as_json
def deploy(
    bundle: Path, cluster: Path, keys: Path | None, roll_back: bool, at_once: bool, as_json: bool
) -> None:
    """Hand a bundle to the boards: each gets the files it lacks, then all switch.

    Other clients may be at work meanwhile. Images that they have on their way finish on the bundle
    before, within 10 s; what they ask for after that ends in an error that says to connect anew.
    """
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.edge.bundle import Bundle
    from keras_concurrent.edge.client.connect import connect
    from keras_concurrent.edge.client.deploy import deploy as deploy_to
    from keras_concurrent.edge.client.deploy import roll_back as roll_back_on
    from keras_concurrent.errors import BoardError

    opened, where = Bundle(bundle), Cluster.read(cluster)
    boards = [board.name for board in where.boards]
    with connect(opened, where, keys=keys_folder_of(cluster, keys), ready="none") as client:
        missing = set(boards) - set(client.reach(boards))
        client.questions.check_protocol(*boards)
        if missing:
            raise BoardError(f"{', '.join(sorted(missing))} cannot be reached; no board switched")
        if roll_back:
            roll_back_on(client.questions.ask, boards, finish=not at_once)
            done = []
        else:
            done = list(deploy_to(client.questions.ask, opened, boards, finish=not at_once))
    if as_json:
        click.echo(json.dumps([asdict(deployment) for deployment in done]))
    elif roll_back:
        click.echo(f"{', '.join(boards)}: the bundle before is in use again")
    for deployment in () if as_json else done:
        click.echo(
            f"{deployment.board}: {deployment.files} files, {deployment.bytes / 1e6:.1f} MB sent"
        )


@command(
    "keras-concurrent testbed --boards 4 --board pi4 --link 100mbit -- sh -c "
    "'keras-concurrent deploy bundle && keras-concurrent bench bundle'"
)
@click.option("--boards", default=4, show_default=True, help="How many.")
@click.option(
    "--board", "kind", default="pi4", show_default=True, help="zero2w, pi3, pi4, pi5 or n5105."
)
@click.option("--link", default="1gbit", show_default=True, help="'100mbit', '54mbit-wifi', ...")
@click.option("--cluster", type=existing, help="Emulate these boards instead, of any speeds.")
@click.option("--namespaces", is_flag=True, help="Kernel links (Linux, root) instead of pacing.")
@click.option(
    "--as-described", is_flag=True,
    help="Boards take for a segment what its plan says, not what this machine takes, slowed down.",
)  # fmt: skip
@click.option("--full-speed", is_flag=True, help="Do not slow the boards down.")
@click.argument("words", nargs=-1, required=True)
def testbed(
    boards: int, kind: str, link: str, cluster: Path | None, namespaces: bool,
    as_described: bool, full_speed: bool, words: tuple[str, ...],
) -> None:  # fmt: skip
    """Run a command beside emulated boards, which are there as long as it runs."""
    import signal
    import sys

    from keras_concurrent.cluster import Cluster
    from keras_concurrent.edge.testbed.local_boards import slowdown_for
    from keras_concurrent.edge.testbed.testbed import Testbed
    from keras_concurrent.measured.host import measure_host

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)  # or the namespaces would stay
    where = Cluster.read(cluster) if cluster else Cluster.of(kind, boards, link)
    slowdown = None if full_speed else slowdown_for(where, measure_host())
    with Testbed(where, slowdown, as_described=as_described, namespaces=namespaces) as running:
        status = running.run(words)
    if status:
        sys.exit(status)


@command("keras-concurrent profile bundle --cluster cluster.toml --out measured.toml")
@click.argument("bundle", type=existing)
@cluster_file
@keys_folder
@pace_file
@click.option("--out", type=new_path, help="Where to write; by default the cluster file itself.")
def profile(
    bundle: Path, cluster: Path, keys: Path | None, pace: Path | None, out: Path | None
) -> None:
    """Measure each segment on each board and each link, and write the cluster file anew.

    Each board computes the uncut model on one thread, on two, and on all cores and all but one;
    the quickest number becomes its `cores`.

    Beside it goes a file of the seconds that each segment takes on each board: `plan` and `export`
    of the same model with this cluster file use them.
    """
    from keras_concurrent.cli.console import progress_bars
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.edge.bundle import Bundle
    from keras_concurrent.edge.client.connect import connect
    from keras_concurrent.edge.watch.survey import profile_cluster
    from keras_concurrent.files import write_beside
    from keras_concurrent.measured.boards import BoardTimings, timings_path

    opened, where = Bundle(bundle), Cluster.read(cluster)
    with (
        connect(opened, where, keys=keys_folder_of(cluster, keys), pace=pace) as client,
        progress_bars() as progress,
    ):
        profiled = profile_cluster(client, opened, where, progress("profiling"))
    measured, out = profiled.cluster, out or cluster
    timings = BoardTimings.of(opened, profiled.seconds, measured)
    write_beside(timings_path(out), timings.to_json().encode())
    write_beside(out, measured.to_toml().encode())
    for before, after in zip(where.boards, measured.boards, strict=True):
        tried = profiled.threads.get(after.name)
        if tried is not None:
            click.echo(f"{after.name}: {tried}: cores = {tried.best}")
            if tried.in_use != tried.best:
                click.echo(
                    f"{after.name} computes with {tried.in_use} until {out} is copied to it and "
                    "its board program started anew"
                )
        seconds = sum(segment.seconds[after.name] for segment in timings.segments)
        click.echo(
            f"{after.name}: {after.gflops_per_s:.2f} GFLOP/s, was {before.gflops_per_s:.2f}; "
            f"all segments {seconds * 1e3:.2f} ms and {after.call_ms:.3f} ms a call"
        )
    for link in measured.links:
        click.echo(
            f"{link.between[0]} - {link.between[1]}: {link.bandwidth_mbit_per_s:.0f} Mbit/s, "
            f"{link.latency_ms:.2f} ms"
        )
    click.echo(f"{out}, {timings_path(out)}")


@command("keras-concurrent doctor bundle --cluster cluster.toml")
@click.argument("bundle", type=existing)
@cluster_file
@keys_folder
@pace_file
@as_json
def doctor(
    bundle: Path, cluster: Path, keys: Path | None, pace: Path | None, as_json: bool
) -> None:
    """Look at each board and each link in each direction, and say what to do about each fault."""
    import sys

    from keras_concurrent.cluster import Cluster
    from keras_concurrent.edge.bundle import Bundle
    from keras_concurrent.edge.client.connect import connect
    from keras_concurrent.edge.watch.survey import examine

    opened, where = Bundle(bundle), Cluster.read(cluster)
    with connect(
        opened, where, keys=keys_folder_of(cluster, keys), pace=pace, ready="none"
    ) as client:
        findings = examine(client, opened, where)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            mark = "FAULT" if finding.advice else "ok"
            click.echo(f"{mark:5}  {finding.about}: {finding.fact}")
            if finding.advice:
                click.echo(f"       {finding.advice}")
    if any(finding.advice for finding in findings):
        sys.exit(1)


@command("keras-concurrent top bundle --cluster cluster.toml")
@click.argument("bundle", type=existing)
@cluster_file
@keys_folder
@click.option("--every", default=1.0, show_default=True, help="Seconds.")
@click.option("--times", type=int, help="End after so many; without it, at Ctrl-C.")
def top(bundle: Path, cluster: Path, keys: Path | None, every: float, times: int | None) -> None:
    """Show what the boards do, as a table that is drawn anew."""
    from keras_concurrent.cli.top import watch
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.edge.bundle import Bundle
    from keras_concurrent.edge.client.connect import connect

    if not every > 0:
        raise ValueError(f"--every must be above 0, got {every:g}")
    opened, where = Bundle(bundle), Cluster.read(cluster)
    with connect(opened, where, keys=keys_folder_of(cluster, keys), ready="none") as client:
        watch(client, opened, where, every, times)
