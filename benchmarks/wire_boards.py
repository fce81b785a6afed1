"""Networks on emulated boards, before and after sending less: latency, and accuracy."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from boards import Bench, Candidate, Row, emulated
from wire_networks import Size, draw, random_inputs

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.testbed.local_boards import LocalBoards, free_ports
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.interpreter import Array
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.segments import one_board, plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.wire.planner import WirePlan, WirePlanner, whole_blocks


def measured(
    kinds: Sequence[str], samples: int, size: Size, link: str, boards: int, images: int,
    evaluations: int,
) -> Iterator[tuple[Row, Row, Row, Row]]:  # fmt: skip
    """Int8 on one board; float32 between whole blocks by the best plan; the wire planner's.

    The last is the wire planner's in int8.

    All are planned by a Pi 4's published rates, and its boards compute by them. The converter
    shares a pool among all that read it, so already the yardstick pools on the sending board.
    """
    with tempfile.TemporaryDirectory() as name, emulated(link, boards) as testbed:
        bench = Bench(testbed, Path(name), images)
        there = bench.first(boards)
        for kind in kinds:
            for seed in range(samples):
                drawn = draw(kind, seed, size, int8=True)
                graph = TaskGraph.from_tflite(drawn.plain)
                plain = Candidate(
                    f"{kind} {seed}", size.pixels, drawn.architecture, drawn.plain,
                    whole_blocks(graph) or graph,
                )  # fmt: skip
                plan = plan_segments(plain.graph, there, effort=Effort(evaluations))
                before = bench.measured(plain, link, there, plan)
                lighter = []
                for file in (drawn.pixels, drawn.int8):
                    planned = WirePlanner(
                        file, there, images=random_inputs(file), effort=Effort(evaluations)
                    ).plan()
                    graph = TaskGraph.from_tflite(planned.file)
                    after = replace(plain, file=planned.file, graph=graph)
                    lighter.append(bench.measured(after, link, there, planned.plan))
                alone = replace(plain, file=drawn.int8, graph=TaskGraph.from_tflite(drawn.int8))
                whole = one_board(alone.graph, there)
                yield bench.measured(alone, link, there, whole), before, *lighter


def answers_of_boards(
    file: TfliteFile, planned: WirePlan, cluster: Cluster, images: Sequence[Array]
) -> Array:
    """A planned model's outputs for images, through board processes on loopback."""
    ports = free_ports(len(cluster.boards))
    endpoints = tuple(
        replace(board, endpoint=f"tcp/127.0.0.1:{port}")
        for board, port in zip(cluster.boards, ports, strict=True)
    )
    where = replace(cluster, boards=endpoints)
    with tempfile.TemporaryDirectory() as name:
        bundle = export_bundle(
            file, where, Path(name) / "bundle", plan=planned.plan, rewritten=planned.file
        )
        with LocalBoards(bundle, where) as running:
            given = [running.client.infer(image[np.newaxis]) for image in images]
    return np.concatenate([answer[file.outputs[0]] for answer in given])
