"""Boards so slow, on wires so narrow, that lighter tensors count; and what they must answer."""

import numpy as np
from costless import costless
from pieces import check_pieces, image_for

from keras_concurrent.board import Board
from keras_concurrent.interpreter import Segment
from keras_concurrent.network import Network
from keras_concurrent.planning.taskgraph import TaskGraph


def cluster_of(boards, gflops_per_s, mbit, latency_ms=0.0):
    return costless(
        tuple(
            Board(f"b{i}", gflops_per_s, f"tcp/127.0.0.1:{7000 + i}", call_ms=0.0)
            for i in range(boards)
        ),
        Network(mbit, latency_ms),
    )


SLOW = cluster_of(3, 0.02, 10)


def check_answers(planned, file, tolerance, images=3):
    """The pieces add up to the rewritten file, bit for bit, and that answers nearly as before."""
    check_pieces(
        planned.file,
        [
            [
                t.name
                for t in TaskGraph.from_tflite(planned.file).tasks
                if set(t.operators) <= set(segment.operators)
            ]
            for segment in planned.plan.graph.tasks
        ],
    )
    worst = 0.0
    for seed in range(images):
        values = list(image_for(file, seed).values())
        given, wanted = (Segment(f.data).run(values) for f in (planned.file, file))
        worst = max(
            worst, *(float(np.abs(a - b).max()) for a, b in zip(given, wanted, strict=True))
        )
    assert worst <= tolerance
    return worst
