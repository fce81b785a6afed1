"""How fast this machine is, in the unit in which the boards are described.

The boards' rates in `keras_concurrent.cluster` come from published latencies of MobileNet v1, so
this machine runs the same convolutions: 1.14 GFLOP, random weights, one thread.
"""

from __future__ import annotations

import time

import numpy as np

from keras_concurrent.interpreter import Segment
from keras_concurrent.measured.convolutions import Writer

# Output channels and stride of MobileNet v1's thirteen separable convolutions.
_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
_IMAGE: tuple[int, ...] = (1, 224, 224, 3)


def measure_host(repeats: int = 20) -> float:
    """This machine's float32 rate on one core, in FLOPs a second.

    Args:
        repeats: runs, of which the least CPU time counts: anything above is noise.
    """
    content, work = _mobilenet()
    segment = Segment(content, name="the calibration network")
    image = np.random.default_rng(0).random(_IMAGE, dtype=np.float32)
    segment.run([image])
    durations = []
    for _ in range(repeats):
        start = time.thread_time()
        segment.run([image])
        durations.append(time.thread_time() - start)
    return work / min(durations)


def _mobilenet() -> tuple[bytes, int]:
    """MobileNet v1's convolutions as a .tflite, and their FLOPs."""
    writer = Writer()
    last, shape = writer.tensor("image", _IMAGE), _IMAGE
    graph_input, work = last, 0
    last, shape, work = writer.convolution(last, shape, 32, 3, 2)
    for filters, stride in _BLOCKS:
        last, shape, more = writer.depthwise(last, shape, stride)
        work += more
        last, shape, more = writer.convolution(last, shape, filters, 1, 1)
        work += more
    return writer.finish(graph_input, last), work
