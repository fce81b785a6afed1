"""Small real networks that several test modules cut and run."""

import contextlib
import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts this in the background ignores Ctrl-C for it and all that it starts;
    # tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if os.environ.get("CI"):  # the same examples in every run; a developer's runs look for new ones
    settings.register_profile("ci", derandomize=True)
    settings.load_profile("ci")


def pytest_sessionstart(session):
    """Compile the planner once, which takes a new clone a minute, in no single test's time."""
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.errors import MissingExtraError
    from keras_concurrent.planning.effort import Effort
    from keras_concurrent.planning.segments import plan_segments
    from keras_concurrent.planning.taskgraph import Task, TaskGraph

    tasks = (Task("a", 10**8, ("i",), ("x",)), Task("b", 10**8, ("x",), ("y",)))
    graph = TaskGraph(tasks, {"i": 10, "x": 10, "y": 10}, ("i",), ("y",))
    with contextlib.suppress(MissingExtraError):  # then what needs it says so itself
        plan_segments(graph, Cluster.of("pi4", 2), effort=Effort(10))


@pytest.fixture(scope="session")
def small_architecture():
    from keras_concurrent.networks.generators import generate
    from keras_concurrent.networks.staging import stage

    graph = generate("WS", 10, seed=5, k=4, p=0.5)
    return stage(graph, (16, 16, 3), 4, filters=4, channel_cap=16, seed=5)


@pytest.fixture(scope="session")
def small_file(small_architecture):
    """A generated network as a .tflite, with weights that the converter cannot fold away.

    They have both signs, so that a part of a sum may be below zero where the sum is not: behind a
    ReLU it counts where a part ends.
    """
    import numpy as np

    from keras_concurrent.convert import to_tflite
    from keras_concurrent.models import build_model
    from keras_concurrent.tflite.file import TfliteFile

    model = build_model(small_architecture)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "weight_" in weight.path:
            weight.assign(rng.choice([-1, 1]) * rng.uniform(0.5, 1.5))
    return TfliteFile(to_tflite(model))
