"""Networks on emulated boards, before and after sending less: latency, and accuracy."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from boards import DILATION, Bench, Candidate, Row
from wire_networks import Size, described, draw, random_inputs

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.testbed.dilation import dilated
from keras_concurrent.edge.testbed.local_boards import LocalBoards, free_ports, slowdown_for
from keras_concurrent.edge.testbed.testbed import Testbed
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.interpreter import Array
from keras_concurrent.measured.host import measure_host
from keras_concurrent.measured.operators import HostCosts
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

    All are planned with seconds measured on this machine: int8 segments are as much quicker than
    float32 ones as they are here. The converter shares a pool among all that read it, so already
    the yardstick pools on the sending board.
    """
    host = measure_host()
    cluster = dilated(described(link, boards), DILATION)
    with (
        tempfile.TemporaryDirectory() as name,
        Testbed(cluster, slowdown_for(cluster, host)) as testbed,
    ):
        bench = Bench(testbed, Path(name), host, images)
        for kind in kinds:
            for seed in range(samples):
                drawn = draw(kind, seed, size, int8=True)
                costs = HostCosts(drawn.pixels, host)
                graph = TaskGraph.from_tflite(drawn.plain)
                plain = Candidate(
                    f"{kind} {seed}", size.pixels, drawn.architecture, drawn.plain,
                    costs(drawn.plain, whole_blocks(graph) or graph), costs.call_s,
                )  # fmt: skip
                profiled = bench.profiled(plain)(boards)
                plan = plan_segments(plain.graph, profiled, effort=Effort(evaluations))
                before = bench.measured(plain, link, profiled, plan)
                lighter = []
                for file in (drawn.pixels, drawn.int8):
                    own = costs if file is drawn.pixels else HostCosts(file, host)
                    planned = WirePlanner(
                        file, profiled, images=random_inputs(file), costs=own,
                        effort=Effort(evaluations),
                    ).plan()  # fmt: skip
                    graph = own(planned.file, TaskGraph.from_tflite(planned.file))
                    after = replace(plain, file=planned.file, graph=graph)
                    lighter.append(bench.measured(after, link, profiled, planned.plan))
                int8 = TaskGraph.from_tflite(drawn.int8)
                alone = replace(plain, file=drawn.int8, graph=own(drawn.int8, int8))
                whole = one_board(alone.graph, profiled)
                yield bench.measured(alone, link, profiled, whole), before, *lighter


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
