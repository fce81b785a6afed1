"""The random networks behind the paper's figures: drawn, split and timed, once and for good.

Every finished chunk of samples is a file, so that an interrupted run goes on where it stopped and a
larger one adds to what is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import networkx as nx

from keras_concurrent import Cluster, TaskGraph, concurrency_score, generate, stage
from keras_concurrent.files import write_beside
from keras_concurrent.planning.schedule import decode, schedule
from keras_concurrent.planning.taskgraph import Task
from keras_concurrent.scoring.distribution import balance, distribute
from keras_concurrent.scoring.partition import Partition

CHUNK = 10
UNITS = (2, 4, 6, 8, 10)
SCORED_UNITS = (4, 6, 8, 10)
LINKS = ("1gbit", "100mbit")
BOARDS: dict[str, tuple[str, int | None]] = {
    "pi4": ("pi4", None),
    "pi4-1core": ("pi4", 1),
}
"""Kind and cores of the boards on which partitions may be timed."""

# 32x32 pixels and 78 channels in float32: 0.32 MB a tensor. With them DP's scattered and gathered
# bytes are those of Fig. 7; 78 is the first width of the prior work's small networks.
SHAPE = (32, 32, 3)
FILTERS = 78
CLASSES = 10
_UNIFORM: dict[str, Any] = {"staging": "uniform", "channel_cap": FILTERS}
_MERGES: dict[str, Any] = {"staging": "merges", "channel_cap": 10**9}


@dataclass(frozen=True)
class Family:
    """How the networks of one curve are made.

    Args:
        kind: of `generate`.
        parameters: of `generate`.
        staging: of `stage`.
    """

    kind: str
    parameters: dict[str, Any]
    staging: dict[str, Any]


FAMILIES = {
    "DP": Family("DP", {}, _UNIFORM),
    "WS": Family("WS", {}, _UNIFORM),
    "BA": Family("BA", {}, _UNIFORM),
    "ER": Family("ER", {}, _UNIFORM),
    "FB": Family("FB", {}, _MERGES),
    "FB, channels kept": Family("FB", {}, {**_MERGES, "growth": 1.0}),
    "lanes": Family("lanes", {}, _UNIFORM),
}
# What the paper leaves open, with other values.
VARIANTS = {
    "BA, m=3": Family("BA", {"m": 3}, _UNIFORM),
    "BA, m=2": Family("BA", {"m": 2}, _UNIFORM),
    "ER, p=0.1": Family("ER", {"p": 0.1}, _UNIFORM),
    "ER, p=0.15": Family("ER", {"p": 0.15}, _UNIFORM),
    "WS, p=0.5": Family("WS", {"p": 0.5}, _UNIFORM),
    "WS, k=2": Family("WS", {"k": 2}, _UNIFORM),
    "WS, p=1": Family("WS", {"p": 1.0}, _UNIFORM),
    "FB, growth 1.2": Family("FB", {}, {**_MERGES, "growth": 1.2}),
    "FB, growth 1.05": Family("FB", {}, {**_MERGES, "growth": 1.05}),
}
# Table IV: channels grow block by block.
TABLE_IV: dict[str, Any] = {"filters": 128, "channel_cap": 1024, "stem_filters": 128}
TABLE_IV_SHAPE, TABLE_IV_CLASSES = (224, 224, 3), 102


@dataclass(frozen=True)
class Job:
    """A chunk of samples of one family.

    Args:
        family: one of ``FAMILIES`` or ``VARIANTS``.
        vertices: N.
        first: seed of the first of ``CHUNK`` samples.
        scored: the n to score.
        timed: whether to time the partitions on described boards.
        board: on which, of ``BOARDS``.
    """

    family: str
    vertices: int
    first: int
    scored: tuple[int, ...] = SCORED_UNITS
    timed: bool = True
    board: str = "pi4"

    @property
    def recipe(self) -> Family:
        """How its networks are made."""
        return (FAMILIES | VARIANTS)[self.family]

    def path(self, folder: Path) -> Path:
        """Where its samples are kept; another recipe makes another name."""
        how = asdict(self.recipe)
        recipe = json.dumps(
            [how, self.scored, self.timed, SHAPE, FILTERS, LINKS, self.board, TABLE_IV, CHUNK]
        )
        mark = hashlib.sha256(recipe.encode()).hexdigest()[:8]
        name = re.sub(r"[^A-Za-z0-9.]+", "_", self.family)
        return folder / f"{name}-{self.vertices}-{self.first:05d}-{mark}.json"


def samples(
    jobs: list[Job], folder: Path, progress: Callable[[int, int], None]
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """All samples of all jobs, in order; those that are not there yet on all cores."""
    missing = [job for job in jobs if not job.path(folder).exists()]
    done = len(jobs) - len(missing)
    progress(done, len(jobs))
    if missing:
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            futures = [pool.submit(_run, job, folder) for job in missing]
            try:
                for finished in as_completed(futures):
                    finished.result()
                    done += 1
                    progress(done, len(jobs))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    for job in jobs:
        for sample in json.loads(job.path(folder).read_text(encoding="utf-8")):
            yield job, sample


def _run(job: Job, folder: Path) -> None:
    found = [_sample(job, seed) for seed in range(job.first, job.first + CHUNK)]
    write_beside(job.path(folder), json.dumps(found).encode())


def _sample(job: Job, seed: int) -> dict[str, Any]:
    family = job.recipe
    drawn = generate(family.kind, job.vertices, seed=seed, **family.parameters)
    architecture = stage(
        drawn, SHAPE, CLASSES, filters=FILTERS, stem_filters=FILTERS, head="merge", seed=seed,
        **family.staging,
    )  # fmt: skip
    graph = TaskGraph.from_architecture(architecture)
    result: dict[str, Any] = {
        "seed": seed,
        "edges": drawn.number_of_edges(),
        "smallest_bytes": min(graph.tensor_bytes.values()),
        "longest_path": nx.dag_longest_path_length(drawn) - 1,
        "flops": graph.flops,
        "units": {str(n): _split(graph, n, job) for n in UNITS},
    }
    if family.staging is _UNIFORM:
        result["parameters"] = {
            how: stage(
                drawn, TABLE_IV_SHAPE, TABLE_IV_CLASSES, staging=how, head="merge", seed=seed,
                **TABLE_IV,
            ).parameters
            for how in ("greedy", "probabilistic")
        }  # fmt: skip
    return result


def _split(graph: TaskGraph, units: int, job: Job) -> dict[str, Any]:
    """The score's terms, the paper's distribution, and what both cost in time on described boards.

    Lambda' and CS are left for later: their unit is the smallest tensor of a whole family.
    """
    whole = distribute(graph, units)
    vertices_on = [list(whole.unit_of.values()).count(unit) for unit in range(units)]
    result: dict[str, Any] = {"balance": balance(vertices_on)}
    if units not in job.scored:
        return result
    score = concurrency_score(graph, units, unit_bytes=1)
    result |= {
        "sweep": [[c.epsilon, c.eta, c.lambda_bytes, c.delta_w, c.used_units] for c in score.sweep],
        "eta": score.best.eta,
        "lambda_bytes": score.best.lambda_bytes,
        "delta_w": score.best.delta_w,
        "used_units": score.best.used_units,
        "distribution_bytes": whole.connectivity_bytes(graph),
    }
    if not job.timed:
        return result
    timed = _with_sink(graph)
    kind, cores = BOARDS[job.board]
    seconds = {}
    for link in LINKS:
        cluster = Cluster.of(kind, units, link, cores=cores)
        board = cluster.boards[0]
        seconds[link] = {
            "score": _seconds(timed, cluster, score.partition, graph),
            "distribution": _seconds(timed, cluster, whole, graph),
            "plan": schedule(timed, cluster).latency_s,
            "one": sum(graph.seconds_on(task, board) for task in graph.tasks),
        }
    return {**result, "seconds": seconds}


def _with_sink(graph: TaskGraph) -> TaskGraph:
    """The same with the sink as a task that costs nothing, and the image as what is scattered."""
    sink = Task("sink", 0, graph.outputs, ("answer",))
    sizes = {**graph.tensor_bytes, "answer": 4 * CLASSES}
    sizes["source"] = 4 * SHAPE[0] * SHAPE[1] * SHAPE[2]
    return replace(graph, tasks=(*graph.tasks, sink), tensor_bytes=sizes, outputs=("answer",))


def _seconds(
    timed: TaskGraph, cluster: Cluster, split: Partition, graph: TaskGraph
) -> dict[str, float]:
    """Latency of a partition, its busiest unit's work and its busiest interface's."""
    boards = [board.name for board in cluster.boards]
    assignment = {name: boards[unit] for name, unit in split.unit_of.items()}
    gathering = split.gathering_bytes(graph)
    assignment["sink"] = boards[gathering.index(min(gathering))]
    plan = decode(timed, cluster, assignment)
    computing = dict.fromkeys(boards, 0.0)
    for task in graph.tasks:
        board = cluster.board(assignment[task.name])
        computing[board.name] += graph.seconds_on(task, board)
    wires: dict[str, float] = {}
    for message in plan.messages:
        if message.sender in boards:
            held = message.sent_s - message.start_s
            wires[message.sender] = wires.get(message.sender, 0.0) + held
    return {
        "latency": plan.latency_s,
        "compute": max(computing.values()),
        "wire": max(wires.values(), default=0.0),
    }
