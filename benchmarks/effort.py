"""What merging tasks into segments costs and saves, and how long planning takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from instances import instances
from outcome import Section, Target

from keras_concurrent import Cluster, TaskGraph, generate, stage
from keras_concurrent.planning.annealing import search
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.portfolio import portfolio
from keras_concurrent.planning.problem import problem_of
from keras_concurrent.planning.schedule import schedule
from keras_concurrent.planning.segments import merge_segments

CALL_MS = 0.1
SEARCH = 20_000
_REPEATS = 7
KINDS = ("DP", "lanes", "WS", "ER")


def merging(progress: Callable[[int, int], None], *, quick: bool) -> Section:
    """How many segments are left of the tasks, and what their calls cost."""
    chosen = list(instances())[:: 42 if quick else 6]
    shares, losses = [], []
    for done, instance in enumerate(chosen):
        progress(done, len(chosen))
        graph, cluster = instance.graph(), instance.setting.cluster()
        cluster = replace(
            cluster, boards=tuple(replace(board, call_ms=CALL_MS) for board in cluster.boards)
        )
        plan = schedule(graph, cluster, effort=Effort(SEARCH))
        merged = merge_segments(plan, cluster)
        shares.append(len(merged.graph.tasks) / len(graph.tasks))
        losses.append(merged.latency_s / plan.latency_s)
    progress(len(chosen), len(chosen))
    mean_share, mean_loss = float(np.mean(shares)), float(np.mean(losses))
    return Section(
        f"Segments, at {CALL_MS:g} ms a call",
        ("networks", "segments a task", "latency over that without calls, mean", "worst"),
        [(f"{len(chosen)}", f"{mean_share:.2f}", f"{mean_loss:.4f}", f"{max(losses):.4f}")],
        {"segments": {"a task": shares, "loss": losses}},
        [
            Target("segments a task, mean", 0.65, mean_share, at_least=False),
            Target("latency over that without calls", 1.02, mean_loss, at_least=False),
        ],
    )


def planning() -> Section:
    """Milliseconds of one core for 64 tasks on 8 boards, once compiled: the least of some runs."""
    cluster = Cluster.of("pi4", 8, "1gbit")
    rows, figures, targets = [], {}, []
    for kind in KINDS:
        network = stage(generate(kind, 64, seed=1), (32, 32, 3), 10, filters=32, seed=1)
        graph = TaskGraph.from_architecture(network)
        problem = problem_of(graph, cluster)
        least_ms = []
        for evaluations in (0, SEARCH):
            durations = []
            for _ in range(_REPEATS):  # the first compiles, or loads what was compiled
                begun = time.process_time()
                state, other, _, _ = portfolio(problem, 8)
                if evaluations:
                    search(problem, (state, other), 8, Effort(evaluations))
                durations.append(time.process_time() - begun)
            least_ms.append(min(durations) * 1e3)
        rows.append((kind, f"{problem.reads.size}", *(f"{ms:.1f}" for ms in least_ms)))
        figures[kind] = least_ms
        targets += [
            Target(f"portfolio, {kind}, ms", 5.0, least_ms[0], at_least=False),
            Target(f"search, {kind}, ms", 100.0, least_ms[1], at_least=False),
        ]
    return Section(
        "Planning 64 tasks on 8 boards",
        ("kind", "tensors read", "portfolio ms", f"search ms ({SEARCH:,} evaluations)"),
        rows,
        {"planning ms": figures},
        targets,
    )
