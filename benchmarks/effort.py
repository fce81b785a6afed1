"""What merging tasks into segments costs and saves, and how long planning takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from instances import instances
from outcome import Section, Target

from keras_concurrent import Cluster, TaskGraph, generate, stage
from keras_concurrent.schedule import schedule
from keras_concurrent.segments import merge_segments

CALL_MS = 0.1
SEARCH = 20_000
_REPEATS = 7


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
        plan = schedule(graph, cluster, evaluations=SEARCH)
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
    network = stage(generate("ER", 64, seed=1), (32, 32, 3), 10, filters=32, seed=1)
    graph, cluster = TaskGraph.from_architecture(network), Cluster.of("pi4", 8, "1gbit")
    least_ms = {}
    for name, evaluations in (("portfolio", 0), (f"search, {SEARCH:,} evaluations", SEARCH)):
        schedule(graph, cluster, evaluations=evaluations)  # compiles, or loads what was compiled
        durations = []
        for _ in range(_REPEATS):
            begun = time.process_time()
            schedule(graph, cluster, evaluations=evaluations)
            durations.append(time.process_time() - begun)
        least_ms[name] = min(durations) * 1e3
    bounds = dict(zip(least_ms, (5.0, 100.0), strict=True))
    return Section(
        "Planning 64 tasks on 8 boards",
        ("", "ms"),
        [(name, f"{ms:.1f}") for name, ms in least_ms.items()],
        {"planning ms": least_ms},
        [Target(f"{name}, ms", bounds[name], ms, at_least=False) for name, ms in least_ms.items()],
    )
