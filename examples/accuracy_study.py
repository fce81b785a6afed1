"""How accurate each family of networks becomes at an equal number of parameters.

Every generator of concurrent networks is trained beside staged wiring (FB), one chain, and a small
classic net (CifarNet), all with the same recipe. A seed draws the graph, the staging and the first
weights; the images and their split are the same for all. The paper's counterparts are Fig. 2 and
Tables V and VI.

python examples/accuracy_study.py            # photos and mnist, three seeds, about 40 minutes
python examples/accuracy_study.py --quick    # three families, tiny networks, under 2 minutes
python examples/accuracy_study.py --data cifar10    # the paper's recipe; needs network and GPU

Each training leaves one file in ``OUT/runs``, so that a study which was stopped goes on where it
was. The files carry their settings: with other settings everything is trained anew. ``OUT`` then
holds ``accuracy.csv`` (one line a training), ``accuracy.md`` (the table) and ``accuracy.png``.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import itertools
import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from keras_concurrent import datasets
from keras_concurrent.cli.console import progress_bars, stderr, table
from keras_concurrent.errors import ConcurrentError
from keras_concurrent.files import write_beside
from keras_concurrent.networks.architecture import Architecture
from keras_concurrent.networks.block_work import Shape
from keras_concurrent.networks.generators import defaults, generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.tensorflow_loading import load_tensorflow

FAMILIES = ("ER", "BA", "WS", "DP", "lanes", "FB", "chain", "CifarNet")
OURS = ("DP", "lanes")  # the paper's proposal and this project's: marked in the picture
TOLERANCE = 0.05  # of the number of parameters
SHOWN = 8.0  # points of accuracy that the picture shows below the best mean
CLOSE = 1.0  # points of accuracy behind the best family that still count as equal
COLUMNS = ("family", "parameters", "mean %", "best %", "spread", "gap to the best")


@dataclass(frozen=True)
class Phase:
    """Some epochs with one optimiser.

    Args:
        epochs: how many.
        learning_rate: of the optimiser.
        momentum: of SGD; ``None`` is Adam as `keras_concurrent.training.train` uses it, whose
            learning rate warms up and then falls.
    """

    epochs: int
    learning_rate: float
    momentum: float | None = None


@dataclass(frozen=True)
class Recipe:
    """How every family is made and trained for one data set.

    Args:
        size: side of the images in pixels; ``None`` for the data set's own.
        vertices: of the graphs.
        parameters: how many each network should have.
        growth: the channel cap over the first blocks' channels: 4 is two doublings.
        probability: that a block below the cap halves the resolution.
        separable: separable convolutions, or dense ones.
        batch_size: images a step.
        phases: of the training, in order.
    """

    size: int | None
    vertices: int
    parameters: int
    growth: int
    probability: float
    separable: bool
    batch_size: int
    phases: tuple[Phase, ...]


# The demo's recipe: dense convolutions train about twice as fast on a CPU, and Adam needs few
# epochs. The paper's recipe follows; its batch size, vertices and parameters are our choice:
# 145,000 is what the original CifarNet has.
_SHORT = Recipe(None, 24, 80_000, 4, 0.8, False, 64, (Phase(4, 6e-3),))
RECIPES = {
    "photos": _SHORT,
    "mnist": _SHORT,
    "cifar10": Recipe(None, 40, 145_000, 4, 0.5, True, 64, (Phase(100, 1e-3, 0.9),)),
    "flowers102": Recipe(
        224, 40, 4_000_000, 32, 0.5, True, 32, (Phase(100, 1e-3, 0.9), Phase(200, 5e-4, 0.95))
    ),
}
QUICK_FAMILIES = ("DP", "chain", "CifarNet")


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        data: name of the data set.
        family: one of ``FAMILIES``.
        seed: of the graph, its staging and the weights.
        parameters: of the network.
        filters: channels of its first blocks.
        channel_cap: its most channels.
        test_accuracy: share of the test images that are recognised, 0..1.
        train_accuracy: of the last epoch, while it trained.
        seconds: the training took.
    """

    data: str
    family: str
    seed: int
    parameters: int
    filters: int
    channel_cap: int
    test_accuracy: float
    train_accuracy: float
    seconds: float


@dataclass(frozen=True)
class Summary:
    """One family on one data set; accuracies and their differences in percent (points).

    Args:
        family: one of ``FAMILIES``.
        parameters: the mean over the seeds.
        mean: of the test accuracies.
        best: of them.
        spread: their sample standard deviation; 0 for one seed.
        gap: how far the mean lies below the best family's; 0 for the best itself.
        gap_error: the standard error of ``gap``, from the spreads of both families.
    """

    family: str
    parameters: float
    mean: float
    best: float
    spread: float
    gap: float
    gap_error: float


def fit_channels(
    parameters_of: Callable[[int, int], int], target: int, growth: int
) -> tuple[int, int]:
    """The channels with which a network has the most nearly wanted number of parameters.

    Only caps above ``(growth - 1) * filters`` are tried, so that the channels can double equally
    often whatever is chosen.

    Args:
        parameters_of: the number of parameters by (filters, channel cap); grows with both.
        target: the wanted number.
        growth: the channel cap is at most so many times the filters; at least 2.

    Returns:
        Filters and channel cap.

    Raises:
        ValueError: nothing comes within ``TOLERANCE`` of the target.
    """
    tried = []
    for filters in itertools.count(1):
        caps = range((growth - 1) * filters + 1, growth * filters + 1)
        found = [parameters_of(filters, cap) for cap in caps]
        tried += [
            (abs(count - target), filters, cap) for cap, count in zip(caps, found, strict=True)
        ]
        if found[0] > target:
            break
    off, filters, cap = min(tried)  # a tie goes to the fewer filters, then to the fewer channels
    if off > TOLERANCE * target:
        raise ValueError(
            f"parameters must be a number that channels can come within {TOLERANCE:.0%} of, got "
            f"{target:,}; the nearest is {parameters_of(filters, cap):,} with filters={filters} "
            f"and channel_cap={cap}"
        )
    return filters, cap


def make_architecture(
    family: str, seed: int, recipe: Recipe, image_shape: Shape, classes: int
) -> Architecture:
    """A network of one of the generated families with the recipe's number of parameters.

    Raises:
        ValueError: that number cannot be reached.
    """
    graph = generate(family, recipe.vertices, seed=seed)

    def staged(filters: int, channel_cap: int) -> Architecture:
        return stage(
            graph,
            image_shape,
            classes,
            staging="merges" if family == "FB" else "probabilistic",
            filters=filters,
            channel_cap=channel_cap,
            probability=recipe.probability,
            separable=recipe.separable,
            seed=seed,
        )

    try:
        filters, channel_cap = fit_channels(
            lambda filters, cap: staged(filters, cap).parameters, recipe.parameters, recipe.growth
        )
    except ValueError as error:
        raise ValueError(f"{family}, seed {seed}: {error}") from error
    return staged(filters, channel_cap)


def cifarnet_parameters(image_shape: Shape, classes: int, filters: int, dense: int) -> int:
    """The number of parameters of `build_cifarnet`, moving averages included."""
    height, width, channels = image_shape
    total = 0
    for ins, outs in ((channels, filters), (filters, filters), (filters, dense)):
        total += 25 * ins * outs + 4 * outs  # no bias: the batch normalisation has one
        height, width = height // 2, width // 2
    return total + (height * width * dense + 1) * dense + (dense + 1) * classes


def build_cifarnet(image_shape: Shape, classes: int, filters: int, dense: int) -> Any:
    """The small classic net: three times a 5x5 convolution and a pooling, then two dense layers.

    The original has 32, 32 and 64 filters and 64 dense units. Its convolutions are followed by a
    batch normalisation here, which the original lacks, since all other families have one too.
    """
    import keras
    from keras import layers

    image = keras.Input(image_shape, name="image")
    x = image
    for outs in (filters, filters, dense):
        x = layers.Conv2D(outs, 5, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.MaxPooling2D()(layers.ReLU()(x))
    x = layers.Dense(dense, activation="relu")(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(classes, activation="softmax")(x), name="cifarnet")


def build(family: str, seed: int, recipe: Recipe, image_shape: Shape, classes: int) -> Any:
    """The Keras model of a family, its filters and its channel cap."""
    from keras_concurrent.models import build_model

    if family != "CifarNet":
        architecture = make_architecture(family, seed, recipe, image_shape, classes)
        chosen = architecture.recipe
        return build_model(architecture), chosen["filters"], chosen["channel_cap"]
    filters, dense = fit_channels(
        lambda filters, dense: cifarnet_parameters(image_shape, classes, filters, dense),
        recipe.parameters,
        growth=2,
    )
    return build_cifarnet(image_shape, classes, filters, dense), filters, dense


def shorten(phases: Sequence[Phase], epochs: int) -> tuple[Phase, ...]:
    """The first so many epochs of a training; the last phase grows where there are too few."""
    kept: list[Phase] = []
    left = epochs
    for phase in phases:
        if left:
            kept.append(replace(phase, epochs=min(phase.epochs, left)))
            left -= kept[-1].epochs
    kept[-1] = replace(kept[-1], epochs=kept[-1].epochs + left)
    return tuple(kept)


def train(model: Any, data: datasets.Dataset, recipe: Recipe, seed: int) -> tuple[float, float]:
    """Train a model phase by phase; its accuracy on the test images and on the training's."""
    import keras

    from keras_concurrent import training
    from keras_concurrent.datasets.scaling import values_of

    keras.utils.set_random_seed(seed)
    for phase in recipe.phases:
        if phase.momentum is None:
            done = training.train(
                model,
                data,
                epochs=phase.epochs,
                batch_size=recipe.batch_size,
                learning_rate=phase.learning_rate,
                seed=seed,
                progress=False,
            )
            accuracies = done.test_accuracy, done.history["accuracy"][-1]
        else:
            # A compiled step keeps its momentum, so that each phase needs an optimiser of its own.
            model.compile(
                optimizer=keras.optimizers.SGD(phase.learning_rate, phase.momentum),
                loss="sparse_categorical_crossentropy",
                metrics=["accuracy"],
            )
            fitted = model.fit(
                values_of(data.train_images),
                data.train_labels,
                batch_size=recipe.batch_size,
                epochs=phase.epochs,
                verbose=0,
            )
            _, tested = model.evaluate(
                values_of(data.test_images),
                data.test_labels,
                batch_size=recipe.batch_size,
                verbose=0,
            )
            accuracies = tested, fitted.history["accuracy"][-1]
    return float(accuracies[0]), float(accuracies[1])


def train_once(family: str, seed: int, recipe: Recipe, data: datasets.Dataset) -> Run:
    """Make and train one network."""
    import time

    import keras

    keras.utils.clear_session()  # or the graphs of all trainings would stay in memory
    keras.utils.set_random_seed(seed)
    model, filters, channel_cap = build(family, seed, recipe, data.image_shape, data.classes)
    begun = time.perf_counter()
    tested, trained = train(model, data, recipe, seed)
    seconds = time.perf_counter() - begun
    return Run(
        data.name,
        family,
        seed,
        model.count_params(),
        filters,
        channel_cap,
        tested,
        trained,
        round(seconds, 1),
    )


def settings_of(data: str, family: str, seed: int, recipe: Recipe) -> dict[str, Any]:
    """Everything that decides a training's result, as it stands in a run's file."""
    wiring = {} if family == "CifarNet" else defaults(family)
    settings = {"data": data, "family": family, "seed": seed, "wiring": wiring, **asdict(recipe)}
    return dict(json.loads(json.dumps(settings)))  # tuples become lists, as they are read back


def run_path(out: Path, settings: dict[str, Any]) -> Path:
    """Where a training's result lies; other settings give another name."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]
    return out / "runs" / "{data}-{family}-{seed}-{}.json".format(digest, **settings)


def study(
    data: Sequence[str],
    families: Sequence[str],
    seeds: Sequence[int],
    recipes: dict[str, Recipe],
    out: Path,
    trainer: Callable[[str, int, Recipe, datasets.Dataset], Run] = train_once,
) -> list[Run]:
    """Train what is not trained yet.

    Args:
        data: names of data sets.
        families: some of ``FAMILIES``.
        seeds: of each family.
        recipes: by data set.
        out: folder of the study.
        trainer: makes and trains one network.

    Returns:
        All runs, data set by data set and family by family.
    """
    # Seeds outside families: a study that is stopped early still compares all families.
    jobs = [(name, seed, family) for name in data for seed in seeds for family in families]
    runs = {}
    loaded: dict[str, datasets.Dataset] = {}
    with progress_bars() as progress:
        bar = progress("trainings")
        for done, job in enumerate(jobs):
            bar(done, len(jobs))
            name, seed, family = job
            settings = settings_of(name, family, seed, recipes[name])
            path = run_path(out, settings)
            if path.exists():
                kept = json.loads(path.read_text())
                if kept["settings"] != settings:
                    raise ConcurrentError(
                        f"{path} must hold a training with the settings {settings}, "
                        f"got {kept['settings']}"
                    )
                runs[job] = Run(**kept["run"])
                continue
            if name not in loaded:
                loaded = {name: datasets.load(name, size=recipes[name].size)}  # only one in memory
            run = runs[job] = trainer(family, seed, recipes[name], loaded[name])
            content = json.dumps({"settings": settings, "run": asdict(run)}, indent=1) + "\n"
            write_beside(path, content.encode())
            stderr.print(
                f"{done + 1}/{len(jobs)} {name} {family}, seed {seed}: {run.test_accuracy:.3f} "
                f"in {run.seconds:.0f} s",
                highlight=False,
            )
        bar(len(jobs), len(jobs))
    return [runs[name, seed, family] for name in data for family in families for seed in seeds]


def summarise(runs: Sequence[Run]) -> list[Summary]:
    """One line a family, in the order in which they come; the runs are of one data set."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.family, []).append(run)
    accuracies = {f: [100 * run.test_accuracy for run in of] for f, of in found.items()}
    means = {family: statistics.fmean(values) for family, values in accuracies.items()}
    spreads = {f: statistics.stdev(v) if len(v) > 1 else 0.0 for f, v in accuracies.items()}
    errors = {f: spreads[f] / math.sqrt(len(v)) for f, v in accuracies.items()}
    best = max(means, key=lambda family: means[family])
    return [
        Summary(
            family=family,
            parameters=statistics.fmean(run.parameters for run in of),
            mean=means[family],
            best=max(accuracies[family]),
            spread=spreads[family],
            gap=means[best] - means[family],
            gap_error=0.0 if family == best else math.hypot(errors[best], errors[family]),
        )
        for family, of in found.items()
    ]


def rows_of(summaries: Sequence[Summary]) -> list[tuple[str, ...]]:
    """The table's cells, one row a family, under ``COLUMNS``."""
    return [
        (
            s.family,
            f"{s.parameters:,.0f}",
            f"{s.mean:.2f}",
            f"{s.best:.2f}",
            f"{s.spread:.2f}",
            f"{s.gap:.2f} ± {s.gap_error:.2f}" if s.gap else "best",
        )
        for s in summaries
    ]


def by_data(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each data set, in order."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.data, []).append(run)
    return found


def to_csv(runs: Sequence[Run]) -> str:
    """One line a training."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(runs[0])), lineterminator="\n")
    writer.writeheader()
    for run in runs:
        writer.writerow(
            asdict(run)
            | {
                "test_accuracy": f"{run.test_accuracy:.4f}",
                "train_accuracy": f"{run.train_accuracy:.4f}",
            }
        )
    return text.getvalue()


def to_markdown(runs: Sequence[Run]) -> str:
    """One table a data set."""
    lines = []
    for name, of in by_data(runs).items():
        seeds = len({run.seed for run in of})
        lines += [f"**{name}**, {seeds} seed{'s' * (seeds > 1)} a family", ""]
        lines += ["| " + " | ".join(COLUMNS) + " |", "|---" + "|---:" * (len(COLUMNS) - 1) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows_of(summarise(of))] + [""]
    return "\n".join(lines)


def draw(runs: Sequence[Run], path: Path) -> None:
    """One panel a data set: a dot a seed, a bar at each family's mean.

    The strip behind them is what lies within ``CLOSE`` of the best mean. A family more than
    ``SHOWN`` behind is written, not drawn: it would press all others together.
    """
    from matplotlib.figure import Figure

    panels = by_data(runs)
    figure = Figure(figsize=(1.0 + 4.2 * len(panels), 4.0), layout="constrained", dpi=150)
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, of) in zip(row, panels.items(), strict=True):
        summaries = summarise(of)
        best = max(s.mean for s in summaries)
        axes.axvspan(best - CLOSE, best, color="#e8ebef", zorder=0, linewidth=0)
        off_scale = axes.get_yaxis_transform()  # x from 0 to 1 over the panel, y a family
        for y, s in enumerate(summaries):
            colour = "#0072B2" if s.family in OURS else "#6b717a"
            values = [100 * run.test_accuracy for run in of if run.family == s.family]
            if s.gap > SHOWN:
                axes.text(0.01, y, f"\u25c2 {s.mean:.1f}", transform=off_scale, va="center")
                continue
            axes.scatter(values, [y] * len(values), s=26, color=colour, alpha=0.55, linewidth=0)
            axes.plot([s.mean, s.mean], [y - 0.3, y + 0.3], color=colour, linewidth=2.5)
        size = statistics.fmean(run.parameters for run in of)
        axes.set_title(f"{name}, about {size / 1e3:,.0f}k parameters", loc="left", fontsize=11)
        axes.set_xlabel("test accuracy, %")
        axes.set_yticks(range(len(summaries)), [s.family for s in summaries])
        axes.set_ylim(len(summaries) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#dfe2e6", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
    for label in row[0].get_yticklabels():
        label.set_fontweight("bold" if label.get_text() in OURS else "normal")
    figure.supxlabel(
        "dot: one seed   bar: mean of the family   \u25c2: mean, off the scale   "
        f"grey strip: within {CLOSE:g} point of the best mean",
        fontsize=9,
        color="#22262b",
    )
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_beside(path, content.getvalue())


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print a table for each data set, and leave the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=RECIPES, default=["photos", "mnist"])
    parser.add_argument("--seeds", type=_at_least_one, help="of each family (3)")
    parser.add_argument("--epochs", type=_at_least_one, help="of each training (the recipe's)")
    parser.add_argument("--out", type=Path, default=Path("accuracy"), help="folder for the files")
    parser.add_argument("--quick", action="store_true", help="three families, tiny, 1 seed")
    options = parser.parse_args(arguments)
    recipes = {name: RECIPES[name] for name in options.data}
    if options.quick:
        recipes = {n: replace(r, vertices=10, parameters=30_000) for n, r in recipes.items()}
    epochs = options.epochs or (1 if options.quick else None)
    if epochs:
        recipes = {n: replace(r, phases=shorten(r.phases, epochs)) for n, r in recipes.items()}
    families = QUICK_FAMILIES if options.quick else FAMILIES
    seeds = range(options.seeds or (1 if options.quick else 3))
    load_tensorflow()
    try:
        runs = study(list(recipes), families, seeds, recipes, options.out)
    except (ConcurrentError, ValueError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")
    for name, of in by_data(runs).items():
        Console().print(table(f"Test accuracy on {name}", COLUMNS, rows_of(summarise(of))))
    write_beside(options.out / "accuracy.csv", to_csv(runs).encode())
    write_beside(options.out / "accuracy.md", to_markdown(runs).encode())
    draw(runs, options.out / "accuracy.png")
    print(*(options.out / f"accuracy.{kind}" for kind in ("csv", "md", "png")), sep="\n")


if __name__ == "__main__":
    main()
