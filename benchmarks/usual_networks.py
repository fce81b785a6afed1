"""Ten networks of keras.applications on 2, 4 and 8 boards: usual networks hardly split.

Untrained, so nothing is downloaded. Each is converted, read, planned and cut as a user's would be.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from outcome import Section, Target

from keras_concurrent import Cluster, TaskGraph, TfliteFile
from keras_concurrent.export.cutting import cut
from keras_concurrent.planning.bounds import lower_bound_s
from keras_concurrent.planning.segments import one_board, plan_segments
from keras_concurrent.tensorflow_loading import load_tensorflow

NAMES = (
    "VGG16", "MobileNet", "MobileNetV2", "EfficientNetB0", "ResNet50", "DenseNet121", "Xception",
    "MobileNetV3Small", "InceptionV3", "NASNetMobile",
)  # fmt: skip
QUICK = ("MobileNet",)
SHAPE = (224, 224, 3)
BOARDS = (2, 4, 8)
TIMED = ("ResNet50", "NASNetMobile")
CHAINS = ("VGG16", "MobileNet", "MobileNetV2")


def converted(name: str, precision: str = "float32") -> bytes:
    """An untrained network of 224 pixels as a .tflite."""
    load_tensorflow()
    import keras

    from keras_concurrent.convert import to_tflite

    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None, input_shape=SHAPE)
    images = np.random.default_rng(0).random((2, *SHAPE), np.float32)
    how = {} if precision == "float32" else {"precision": precision, "images": images}
    content: bytes = to_tflite(model, **how)
    return content


def section(progress: Callable[[int, int], None], *, quick: bool) -> Section:
    """Predicted gain of each network on each number of boards, and how long it took to plan."""
    names = QUICK if quick else NAMES
    rows, figures, planned, cuts = [], {}, {}, {}
    for done, name in enumerate(names):
        progress(done, len(names))
        content = converted(name)
        begun = time.process_time()
        file = TfliteFile(content, name)
        graph = TaskGraph.from_tflite(file)
        read_s = time.process_time() - begun
        gains, segments = {}, 1
        for boards in BOARDS:
            cluster = Cluster.of("pi4", boards, "1gbit")
            begun = time.process_time()
            plan = plan_segments(graph, cluster)
            planned[name] = max(planned.get(name, 0.0), read_s + time.process_time() - begun)
            gains[boards] = one_board(graph, cluster).latency_s / plan.latency_s
            segments = len(plan.graph.tasks)
            bound = one_board(graph, cluster).latency_s / lower_bound_s(graph, cluster)
        if name in TIMED:
            begun = time.process_time()
            cut(file, plan)
            cuts[name] = time.process_time() - begun
        rows.append(
            (
                name,
                f"{len(graph.tasks)}",
                f"{graph.flops / 1e9:.2f}",
                *(f"{gains[boards]:.2f}x" for boards in BOARDS),
                f"{bound:.2f}x",
                f"{segments}",
                f"{planned[name]:.1f}",
            )
        )
        figures[name] = {"gain": gains, "planned_s": planned[name], "segments": segments}
    progress(len(names), len(names))
    targets = [
        *(
            Target(f"{name}: read and planned, s", 5.0, planned[name], at_least=False)
            for name in TIMED
            if name in planned
        ),
        *(Target(f"{name}: cut, s", 1.0, cuts[name], at_least=False) for name in cuts),
    ]
    return Section(
        "Usual networks at 224 pixels: gain over one Raspberry Pi 4, predicted, 1 Gbit",
        ("network", "operators", "GFLOP", *(f"{b} boards" for b in BOARDS), "at most", "segments",
         "planned in s"),
        rows,
        {"usual networks": figures},
        targets,
    )  # fmt: skip
