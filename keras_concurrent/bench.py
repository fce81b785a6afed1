"""Measured latency of a placement, and whether its answers equal the uncut model's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
import time

import numpy as np

from keras_concurrent.bundle import Bundle, Event
from keras_concurrent.client import Client, check_image
from keras_concurrent.interpreter import Array, Segment

SCHEMA_VERSION = 1
_WARM_UP_IMAGES = 3
_TRACED_IMAGES = 9


@dataclass(frozen=True)
class Run:
    """A placement's measurement.

    Args:
        latencies_s: one an image, from sending it to having its answer.
        events: what happened to the image of median latency among those traced.
    """

    latencies_s: tuple[float, ...]
    events: tuple[Event, ...]

    @property
    def median_s(self) -> float:
        """Median latency."""
        return float(np.median(self.latencies_s))

    @property
    def p95_s(self) -> float:
        """95th percentile of the latency."""
        return float(np.percentile(self.latencies_s, 95))


@dataclass(frozen=True)
class Measurement:
    """What was measured of a bundle; JSON both ways.

    Args:
        runs: by placement.
        images: how many were sent through the boards.
        max_abs_diff_tflite: largest absolute difference between the boards' answers and the uncut
            .tflite's.
        classes_differ: images whose class through the boards is not the uncut .tflite's.
        emulated: how many times each board was slowed down; ``None`` for boards as they are.
        accuracy: share of right answers by who answered, where labels are known.
    """

    runs: Mapping[str, Run]
    images: int
    max_abs_diff_tflite: float
    classes_differ: int
    emulated: Mapping[str, float] | None = None
    accuracy: Mapping[str, float] | None = None

    def to_json(self) -> str:
        """A text that `from_json` understands."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            if data.pop("schema_version", None) != SCHEMA_VERSION:
                raise ValueError(f"schema_version must be {SCHEMA_VERSION}")
            runs = {
                name: Run(tuple(run["latencies_s"]), tuple(Event(**e) for e in run["events"]))
                for name, run in data.pop("runs").items()
            }
            return cls(runs=runs, **data)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a measurement file: {error}") from error


def measure(
    client: Client,
    images: Sequence[Array],
    progress: Callable[[Iterable[Array]], Iterable[Array]] = lambda images: images,
) -> tuple[Run, list[dict[str, Array]]]:
    """Send images one after another.

    Args:
        client: of boards that are ready.
        images: at least one.
        progress: wraps the images, for a progress bar.

    Returns:
        The measurement, and the answers.
    """
    for image in images[:_WARM_UP_IMAGES]:
        client.infer(image)
    latencies, answers = [], []
    for image in progress(images):
        start = time.monotonic()
        answers.append(client.infer(image))
        latencies.append(time.monotonic() - start)
    traced = []
    for image in images[:_TRACED_IMAGES]:
        start = time.monotonic()
        client.infer(image)
        traced.append((time.monotonic() - start, len(traced), client.timeline()))
    return Run(tuple(latencies), sorted(traced)[len(traced) // 2][2]), answers


def reference(bundle: Bundle, images: Sequence[Array]) -> list[dict[str, Array]]:
    """The uncut model's answers, computed in this process."""
    manifest = bundle.manifest
    segment = Segment(bundle.content("model"), name="the uncut model")
    specs = [manifest.tensors[name] for name in manifest.inputs]
    answers = []
    for image in images:
        values = [
            check_image(name, image, spec)
            for name, spec in zip(manifest.inputs, specs, strict=True)
        ]
        answers.append(dict(zip(segment.output_names, segment.run(values), strict=True)))
    return answers


def compare(
    ours: Sequence[Mapping[str, Array]], theirs: Sequence[Mapping[str, Array]]
) -> tuple[float, int]:
    """Largest absolute difference over all outputs, and images whose class differs."""
    largest, differ = 0.0, 0
    for mine, other in zip(ours, theirs, strict=True):
        for name, value in mine.items():
            gap = np.abs(value.astype(np.float64) - other[name].astype(np.float64))
            largest = max(largest, float(gap.max()))
            differ += int(np.argmax(value) != np.argmax(other[name]))
    return largest, differ
