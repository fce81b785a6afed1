"""The command that searches for the most accurate network within a latency."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from keras_concurrent.children import UNTIL_STDIN_CLOSES, end_with_parent
from keras_concurrent.cli.command import command
from keras_concurrent.cli.options import (
    as_json,
    described,
    existing,
    new_path,
    of_data,
    of_training,
    options,
    split_recipe,
)

asked = options(
    of_data,
    click.option("--size", type=int, help="Side of an image in pixels, where it can be chosen."),
    click.option("--images", type=int, help="Use at most so many training images."),
    click.option("--cluster", type=existing, help="The cluster file; described boards without."),
    described,
    click.option("--latency-ms", type=float, help="The longest predicted latency, in ms."),
    click.option("--limit", "limits", multiple=True, help="Such as 'parameters <= 200000'."),
    click.option(
        "--tuner",
        type=click.Choice(["random", "hyperband", "bayesian", "grid", "optuna"]),
        default="random",
        show_default=True,
        help="What proposes candidates after those of the screening.",
    ),
    click.option("--trials", default=20, show_default=True, help="Networks to train."),
    click.option("--epochs", default=5, show_default=True, help="Of each."),
    click.option(
        "--final-epochs", default=20, show_default=True,
        help="Before an export the best is trained anew for so long on all images; 0: it is not.",
    ),
    of_training,
    click.option("--samples", default=10_000, show_default=True, help="To screen first; 0: none."),
    click.option("--kinds", help="Generators, such as DP,lanes."),
    click.option("--vertices", help="Sizes of the graphs, such as 8,12,16."),
    click.option("--filters", help="Channels of the first blocks, such as 8,16."),
    click.option("--channel-caps", help="Most channels, such as 32,64."),
    click.option("--stagings", help="How resolutions fall, such as probabilistic,balanced."),
    click.option("--convolutions", help="separable, dense or both, of the paper's block."),
    click.option("--blocks", help="What a vertex is, such as paper,plain,separable."),
    click.option("--depths", help="Convolutions a vertex of other blocks, such as 1,2."),
    click.option("--seed", default=0, show_default=True),
)  # fmt: skip


@command("keras-concurrent search --data pictures --boards 4 --latency-ms 30 --export bundle")
@asked
@click.option("--out", type=new_path, default=Path("search"), show_default=True, help="Folder.")
@click.option("--resume", type=existing, help="Go on with the search in this folder.")
@click.option("--export", "bundle", type=new_path, help="Write the best as a bundle here.")
@click.option("--local-workers", type=int, help="Train in so many processes of this machine.")
@click.option("--chief", help="Hand out the trials at this address, such as 127.0.0.1:8642.")
@click.option("--worker", help="Train for the chief at this address.")
@click.option("--name", default="worker-0", show_default=True, help="Of a worker, one each.")
@click.option(UNTIL_STDIN_CLOSES, is_flag=True, hidden=True)
@as_json
def search(
    out: Path, resume: Path | None, bundle: Path | None, local_workers: int | None,
    chief: str | None, worker: str | None, name: str, until_stdin_closes: bool, as_json: bool,
    **how: Any,
) -> None:  # fmt: skip
    """Search for the most accurate network that keeps a latency.

    Screens thousands of candidates, trains the most promising, and writes a leaderboard, a picture
    and what the parameters matter into a folder. An exported bundle whose own plan misses the
    latency is written all the same, and the command says so and fails. Killed and started again
    with --resume, it goes on within the training that ran. Other machines take part with `--resume
    FOLDER --worker HOST:PORT --name NAME`.
    """

    def say(line: str) -> None:
        click.echo(line, err=True)

    say(f"reading {how['data'] if resume is None else resume}")  # what follows loads for seconds
    from keras_concurrent.cli.console import progress_bars, progress_lines, stderr
    from keras_concurrent.edge.testbed.local_boards import free_ports
    from keras_concurrent.search.limits import missed
    from keras_concurrent.search.settings import Settings
    from keras_concurrent.search.workers import Role, supervise
    from keras_concurrent.tensorflow_loading import load_tensorflow

    if until_stdin_closes:
        end_with_parent()
    role = Role(chief, worker, name)
    if local_workers is not None and (chief or worker or local_workers < 1):
        raise ValueError("--local-workers must be at least 1, without --chief and --worker")
    if resume is not None:
        _refuse_given((*how, "out"))
        folder = resume
        settings = Settings.read(folder)
    else:
        settings, folder = _settings(**how), _new(out)

    with progress_bars() as bars:
        progress = bars if stderr.is_terminal else progress_lines(say)
        dataset = settings.loaded(progress("pictures read"))
        say(f"{dataset.note} {len(dataset.train_labels):,} images to learn from, "
            f"{len(dataset.test_labels):,} for the test")  # fmt: skip
        settings.searched()  # what is wrong with data or space is said before a folder is there
        if resume is None:
            settings.write(folder)
        load_tensorflow()
        from keras_concurrent.search.tuning.session import Session

        session = Session(folder, settings)
        if not worker:
            session.screen(progress("screened"))
    watch = session.watch(say)
    if local_workers:
        supervise(folder, local_workers, free_ports(1)[0], watch.look)
    elif worker:
        session.search(role)
        return
    else:
        with watch.looking():
            session.search(role)
    best = session.finish()
    figures: dict[str, Any] = {"folder": str(folder), "trials": len(session.results)}
    if best is None:
        raise click.ClickException(f"no trial was completed, see {folder / 'leaderboard.csv'}")
    figures |= {"best": best.trial, "values": dict(best.values), **best.figures}
    unkept: list[str] = []
    if bundle is not None:
        exported, figures["test_accuracy"] = session.export(best, bundle, say)
        come_to = {
            "latency_s": exported.placement("boards").predicted_latency_s,
            "one_board_latency_s": exported.placement("one_board").predicted_latency_s,
        }
        unkept = [
            f"{bundle} misses {limit}: {come_to[limit.name] * 1e3:.2f} ms, the search promised "
            f"{best.figures[limit.name] * 1e3:.2f} ms"
            for limit in missed(session.limits, come_to)
        ]
        figures["bundle"] = str(bundle)
        figures |= {f"bundle_{name}": seconds for name, seconds in come_to.items()}
        figures["missed"] = unkept
    if as_json:
        click.echo(json.dumps(figures))
    else:
        _tell(session, best, figures)
    for line in unkept:
        click.echo(line, err=True)
    if unkept:
        sys.exit(1)


def _tell(session: Any, best: Any, figures: dict[str, Any]) -> None:
    """What was found, and where."""
    click.echo(
        f"best of {figures['trials']}: trial {best.trial}, val_accuracy "
        f"{best.figures['val_accuracy']:.3f}, {best.figures['latency_s'] * 1e3:.1f} ms predicted "
        f"on {len(session.settings.cluster.boards)} boards, "
        f"{best.figures['one_board_latency_s'] * 1e3:.1f} ms on one"
    )
    for file in ("leaderboard.csv", "pareto.png", "importance.csv", "tensorboard"):
        click.echo(str(session.folder / file))
    if "bundle" in figures:
        click.echo(
            f"{figures['bundle']}: test accuracy {figures['test_accuracy']:.3f}, "
            f"{figures['bundle_latency_s'] * 1e3:.1f} ms predicted of its plan"
        )


def _refuse_given(names: Iterable[str]) -> None:
    """What a search is stays as it was begun; an option that is not followed must not be quiet."""
    context = click.get_current_context()
    given = [
        param.opts[0]
        for param in context.command.params
        if param.name in names
        and context.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise ValueError(f"a search goes on as it was asked for: leave out {', '.join(given)}")


def _new(out: Path) -> Path:
    if (out / "search.json").exists():
        raise ValueError(f"{out} holds a search: go on with --resume, or choose another --out")
    return out


def _settings(
    cluster: Path | None, boards: int, kind: str, link: str, cores: int | None,
    latency_ms: float | None, limits: tuple[str, ...], kinds: str | None, vertices: str | None,
    filters: str | None, channel_caps: str | None, stagings: str | None,
    convolutions: str | None, blocks: str | None, depths: str | None, **rest: Any,
) -> Any:  # fmt: skip
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.search.settings import Settings

    space: dict[str, Any] = {}
    for key, text in (
        ("kinds", kinds), ("stagings", stagings), ("convolutions", convolutions),
        ("blocks", blocks),
    ):  # fmt: skip
        if text:
            space[key] = text.split(",")
    for key, text in (
        ("vertices", vertices), ("filters", filters), ("channel_caps", channel_caps),
        ("depths", depths),
    ):  # fmt: skip
        if text:
            space[key] = [_whole(key, part) for part in text.split(",")]
    if latency_ms is not None:
        limits = (f"latency_s <= {latency_ms / 1e3:g}", *limits)
    recipe, rest = split_recipe(rest)
    return Settings(
        Cluster.read(cluster) if cluster else Cluster.of(kind, boards, link, cores=cores),
        limits=limits,
        space=space,
        recipe=recipe,
        seed=recipe.seed,
        **rest,
    )


def _whole(name: str, text: str) -> int:
    if not text.isdigit():
        raise ValueError(
            f"--{name.replace('_', '-')} must be whole numbers like 8,12, got {text!r}"
        )
    return int(text)
