"""The whole path on real images: generate, score, train, cut, run on several boards, report."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keras_concurrent import datasets
from keras_concurrent.board import Board
from keras_concurrent.cli.console import progress_bars, stderr
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.testbed.local_boards import free_ports, slowdown_for
from keras_concurrent.edge.watch.bench import Answers, compare, measure_bundle
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.files import write_beside
from keras_concurrent.measured.host import measure_host
from keras_concurrent.measured.operators import measure_tasks_on_host
from keras_concurrent.network import Network
from keras_concurrent.networks.architecture import Architecture
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.planning.chains import chains_as_tasks
from keras_concurrent.planning.segments import one_board
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.report.page import write_report
from keras_concurrent.report.summary import summarise
from keras_concurrent.scoring.concurrency import concurrency_score
from keras_concurrent.tensorflow_loading import load_tensorflow
from keras_concurrent.tflite.file import TfliteFile

CANDIDATES = 20
_LOOPBACK = Network(bandwidth_mbit_per_s=10_000, latency_ms=0.05)


@dataclass(frozen=True)
class Recipe:
    """How the demo makes a network for a data set, with dense convolutions.

    Its vertices lie in lanes, two for each board: a heavy one and a light one even out.

    Args:
        size: side of the images; ``None`` for the data set's own.
        images: how many to train on at most.
        vertices: how many the graphs have.
        filters: channels of the first blocks.
        channel_cap: most channels.
        probability: that a block halves the resolution.
        epochs: how many times to train on all images.
        max_flops: heavier candidates are passed over, for the sake of training time.
    """

    size: int | None
    images: int
    vertices: int
    filters: int
    channel_cap: int
    probability: float
    epochs: int
    max_flops: int


RECIPES = {
    "photos": Recipe(64, 2_000, 24, 28, 112, 0.8, 1, 800_000_000),
    "mnist": Recipe(None, 60_000, 24, 16, 64, 0.8, 3, 40_000_000),
    "digits": Recipe(None, 60_000, 16, 16, 64, 0.3, 10, 40_000_000),
}
_BATCH_SIZE = 32
_LEARNING_RATE = 6e-3
_TEST_IMAGES = 400  # sent through the boards, in random order as the data sets give them


def choose(recipe: Recipe, dataset: datasets.Dataset, units: int, seed: int) -> Architecture:
    """The best of several networks of lanes by concurrency score.

    Networks too heavy to train in the demo's time are passed over.
    """
    ranked = []
    for attempt in range(seed * CANDIDATES, (seed + 1) * CANDIDATES):
        architecture = stage(
            generate(
                "lanes", recipe.vertices, lanes=min(2 * units, recipe.vertices // 2), seed=attempt
            ),
            dataset.train_images.shape[1:],
            len(dataset.class_names),
            filters=recipe.filters,
            channel_cap=recipe.channel_cap,
            probability=recipe.probability,
            separable=False,
            seed=attempt,
        )
        graph = TaskGraph.from_architecture(architecture)
        best = concurrency_score(graph, units).best
        too_heavy = graph.flops > recipe.max_flops
        key = (too_heavy, best.concurrency_score, attempt)
        ranked.append((key, architecture))
    return min(ranked, key=lambda entry: entry[0])[1]


def describe(kind: str, boards: int, link: str, host_flops_per_s: float) -> Cluster:
    """The described boards of the demo; kind ``"none"`` is this machine over loopback."""
    ports = free_ports(boards)
    if kind != "none":
        return Cluster.of(kind, boards, link, ports)
    rate = round(host_flops_per_s / 1e9, 1)
    described = tuple(
        Board(f"local-{i}", rate, f"tcp/127.0.0.1:{port}") for i, port in enumerate(ports, start=1)
    )
    return Cluster(described, _LOOPBACK)


def run_demo(
    *, boards: int, kind: str, link: str, data: str, seed: int, out: Path
) -> dict[str, Any]:
    """Run the demo, print its tables, and leave its files in a folder.

    Args:
        boards: how many board processes.
        kind: which board to emulate, or ``"none"`` for this machine's own speed over loopback.
        link: the network between the emulated boards, see `keras_concurrent.cluster.parse_link`.
        data: name of a data set.
        seed: from it follow the candidates, the training and the data.
        out: folder for model.keras, bundle/, cluster.toml, report.html, report.png, trace.json.

    Returns:
        The figures, ready for JSON.
    """
    begun = time.monotonic()
    if data not in RECIPES:
        raise ValueError(f"data must be one of {', '.join(RECIPES)}, got {data!r}")
    recipe = RECIPES[data]
    host = measure_host()
    cluster = describe(kind, boards, link, host)
    slowdown = slowdown_for(cluster, host) if kind != "none" else None
    dataset = datasets.load(data, size=recipe.size, seed=seed)
    stderr.print(f"[bold]{data}[/]: {dataset.note}", highlight=False)

    architecture = choose(recipe, dataset, boards, seed)
    scored = concurrency_score(TaskGraph.from_architecture(architecture), boards)
    stderr.print(
        f"kept the best of {CANDIDATES} networks of lanes by score: seed "
        f"{architecture.recipe['seed']}, {len(architecture.blocks)} vertices, "
        f"{sum(architecture.block_flops.values()) / 1e6:.0f} MFLOP"
    )
    model, training_s = _train(architecture, dataset, recipe, seed, out)

    from keras_concurrent.convert import to_tflite

    images = dataset.test_images[:_TEST_IMAGES]
    file = TfliteFile(to_tflite(model))
    graph = chains_as_tasks(TaskGraph.from_tflite(file))
    with progress_bars() as progress:
        if slowdown is None:  # of this machine's cores nothing is published
            on_host = measure_tasks_on_host(file, graph, progress=progress("profiling"))
            graph = graph.timed(on_host.seconds, host)
            as_here = (replace(each, call_ms=on_host.call_s * 1e3) for each in cluster.boards)
            cluster = replace(cluster, boards=tuple(as_here))
        bundle = export_bundle(
            file,
            cluster,
            out / "bundle",
            graph=graph,
            architecture=architecture.to_json(),
            class_names=dataset.class_names,
        )
        write_beside(out / "cluster.toml", cluster.to_toml().encode())
        measurement, answers = measure_bundle(
            bundle,
            cluster,
            list(images),
            local=True,
            slowdown=slowdown,
            as_described=True,
            progress=progress,
        )

    keras_answers = [
        {bundle.manifest.outputs[0]: row[np.newaxis]} for row in model.predict(images, verbose=0)
    ]
    max_abs_diff, differ = compare(answers, keras_answers)
    measurement = replace(
        measurement,
        classes_differ=max(differ, measurement.classes_differ),
        accuracy={
            "boards": _accuracy(answers, dataset),
            "keras": _accuracy(keras_answers, dataset),
        },
    )
    write_beside(out / "measurement.json", measurement.to_json().encode())
    facts = {
        "data": f"{data}: {dataset.note}",
        "network": f"lanes, seed {architecture.recipe['seed']}, "
        f"{len(architecture.blocks)} vertices, {model.count_params():,} parameters, "
        f"{graph.flops / 1e6:.1f} MFLOP",
        "training": f"{recipe.epochs} epochs in {training_s:.0f} s",
        "link": f"{cluster.network.bandwidth_mbit_per_s:g} Mbit/s, "
        f"{cluster.network.latency_ms:g} ms",
    }
    pictures = write_report(out, bundle, measurement, score=scored, facts=facts)
    alone_s = bundle.placement("one_board").predicted_latency_s
    seconds = time.monotonic() - begun
    files = [out / "model.keras", bundle.path, out / "cluster.toml", *pictures]
    return {
        "data": data,
        "boards": boards,
        "boards_used": len(bundle.placement("boards").programs),
        **measurement.figures(bundle),
        "emulated": kind if slowdown else None,
        "link": link if slowdown else "loopback",
        "one_board_in_int8_s": _in_int8_s(file, cluster, alone_s) if slowdown else None,
        "score": asdict(scored.best),
        "max_abs_diff": max_abs_diff,
        "verdict": summarise(bundle.manifest, measurement).verdict,
        "speedup": measurement.runs["one_board"].median_s / measurement.runs["boards"].median_s,
        "training_s": training_s,
        "seconds": seconds,
        "files": [str(path) for path in files],
    }


def _in_int8_s(file: TfliteFile, cluster: Cluster, float32_s: float) -> float:
    """What one whole board would take for the same network in int8, by the ratio of its rates."""
    graph = file.tasks()
    in_int8 = graph.in_int8()
    assert in_int8 is not None  # it was converted in float32, and nothing of it is measured
    return float32_s * one_board(in_int8, cluster).latency_s / one_board(graph, cluster).latency_s


def _train(
    architecture: Architecture, dataset: datasets.Dataset, recipe: Recipe, seed: int, out: Path
) -> tuple[Any, float]:
    """The trained model, saved, and the seconds it took."""
    load_tensorflow()
    import keras

    from keras_concurrent import training
    from keras_concurrent.models import build_model

    keras.utils.set_random_seed(seed)
    model = build_model(architecture)
    count = recipe.images
    few = replace(
        dataset,
        train_images=dataset.train_images[:count], train_labels=dataset.train_labels[:count],
    )  # fmt: skip
    result = training.train(
        model,
        few,
        epochs=recipe.epochs,
        batch_size=_BATCH_SIZE,
        learning_rate=_LEARNING_RATE,
        seed=seed,
    )
    out.mkdir(parents=True, exist_ok=True)
    training.save_model(model, out / "model.keras")
    return model, result.seconds


def _accuracy(answers: Answers, dataset: datasets.Dataset) -> float:
    classes = [int(np.argmax(next(iter(answer.values())))) for answer in answers]
    return float(np.mean(np.array(classes) == dataset.test_labels[: len(classes)]))
