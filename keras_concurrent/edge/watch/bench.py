"""Measured latency of a placement, and whether its answers equal the uncut model's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.images import check_image
from keras_concurrent.edge.manifest import PLACEMENTS, WHOLE
from keras_concurrent.edge.placement import Event
from keras_concurrent.edge.testbed.local_boards import answering
from keras_concurrent.interpreter import Array, Segment
from keras_concurrent.versioned import FileKind

_FILE = FileKind("a measurement", 1, "measure the bundle anew")
_WARM_UP_IMAGES = 3
_TRACED_IMAGES = 9
_ONE_BOARD_IMAGES = 60  # enough for a median; one slow board takes its time

Answers = list[dict[str, Array]]


@dataclass(frozen=True)
class Run:
    """A placement's measurement.

    Args:
        latencies_s: one an image, from sending it to having its answer.
        events: what happened to the image of median latency among those traced.
        throughput_per_s: images a second with several in flight; ``None`` where not measured.
    """

    latencies_s: tuple[float, ...]
    events: tuple[Event, ...]
    throughput_per_s: float | None = None

    @property
    def median_s(self) -> float:
        """Median latency."""
        return float(np.median(self.latencies_s))

    @property
    def p95_s(self) -> float:
        """95th percentile of the latency."""
        return float(np.percentile(self.latencies_s, 95))

    @property
    def p99_s(self) -> float:
        """99th percentile of the latency."""
        return float(np.percentile(self.latencies_s, 99))


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
        slow: boards that took longer than planned, and how many times.
    """

    runs: Mapping[str, Run]
    images: int
    max_abs_diff_tflite: float
    classes_differ: int
    emulated: Mapping[str, float] | None = None
    accuracy: Mapping[str, float] | None = None
    slow: Mapping[str, float] | None = None

    def figures(self, bundle: Bundle) -> dict[str, Any]:
        """The figures alone, for a program to read."""
        latencies = {
            name: {
                "predicted_s": bundle.placement(name).predicted_latency_s,
                "median_s": run.median_s,
                "p95_s": run.p95_s,
                "p99_s": run.p99_s,
                "throughput_per_s": run.throughput_per_s,
            }
            for name, run in self.runs.items()
        }
        rest = {key: value for key, value in asdict(self).items() if key != "runs"}
        return {"latency": latencies, **rest}

    def to_json(self) -> str:
        """A text that `from_json` understands."""
        return _FILE.to_json(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            data = _FILE.content(json.loads(text))
            runs = {
                name: Run(
                    tuple(run["latencies_s"]),
                    tuple(Event(**e) for e in run["events"]),
                    run.get("throughput_per_s"),
                )
                for name, run in data.pop("runs").items()
            }
            return cls(runs=runs, **data)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a measurement file: {error}") from error


def measure(
    client: Client,
    images: Sequence[Array],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Run, Answers]:
    """Send images one after another for the latency, then several at a time for the throughput.

    Args:
        client: asks boards that are ready.
        images: at least one.
        progress: told how many images are answered, and of how many.

    Returns:
        The measurement, and the answers.
    """
    for image in images[:_WARM_UP_IMAGES]:
        client.infer(image)
    latencies, answers = [], []
    for done, image in enumerate(images, start=1):
        start = time.monotonic()
        answers.append(client.infer(image))
        latencies.append(time.monotonic() - start)
        if progress:
            progress(done, len(images))
    traced: list[tuple[float, int, tuple[Event, ...]]] = []
    for image in images[:_TRACED_IMAGES]:
        start = time.monotonic()
        client.infer(image)
        traced.append((time.monotonic() - start, len(traced), client.timeline()))
    start = time.monotonic()
    for _ in client.stream(images):
        pass
    per_s = len(images) / (time.monotonic() - start)
    return Run(tuple(latencies), sorted(traced)[len(traced) // 2][2], per_s), answers


def measure_bundle(
    bundle: Bundle,
    cluster: Cluster,
    images: Sequence[Array],
    *,
    local: bool = False,
    slowdown: Mapping[str, float] | None = None,
    as_described: bool = False,
    keys: Path | None = None,
    pace: Path | None = None,
    rebalance: bool = False,
    progress: Callable[[str], Callable[[int, int], None]] = lambda title: lambda done, total: None,
) -> tuple[Measurement, Answers]:
    """Measure a bundle on n boards, and on one board.

    Args:
        bundle: what the boards run.
        cluster: where they listen.
        images: at least one.
        local: start the boards as processes of this machine, and stop them afterwards.
        slowdown: how many times slower each local board is emulated, by name; ``None`` as it is.
        as_described: with ``slowdown``, boards take for a segment what its plan and the cluster
            say, whatever this machine takes for it.
        keys: folder of keys, where the boards listen beyond loopback.
        pace: file of the emulated network in which the boards run already.
        rebalance: share the work anew if boards take longer than planned, and measure that.
        progress: given a title, gives what is told how many images are answered.

    Returns:
        The measurement, and the answers of the n boards.
    """
    runs: dict[str, Run] = {}
    answers: Answers = []
    slow: dict[str, float] = {}
    emulated = dict(slowdown) if slowdown is not None else {}
    for placement in PLACEMENTS:
        sent = images if placement == "boards" else images[:_ONE_BOARD_IMAGES]
        with answering(
            bundle,
            cluster,
            placement,
            local=local,
            slowdown=slowdown,
            as_described=as_described,
            keys=keys,
            pace=pace,
        ) as client:
            runs[placement], given = measure(client, sent, progress(placement))
            if placement == "boards":
                slow = client.slow_boards()
                if slow and rebalance:
                    client.rebalance(slow)
                    client.wait_prepared()
                    runs[placement], given = measure(client, sent, progress("rebalanced"))
            emulated.update(client.slowdowns)
        if placement == "boards":
            answers = given
    largest, differ = compare(answers, reference(bundle, images))
    return Measurement(
        runs, len(images), largest, differ, emulated or None, slow=slow or None
    ), answers


def reference(bundle: Bundle, images: Sequence[Array]) -> Answers:
    """The uncut model's answers, computed in this process."""
    manifest = bundle.manifest
    segment = Segment(bundle.content(WHOLE), name="the uncut model")
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
    """Largest absolute difference over all outputs, and images any of whose classes differs.

    Equal infinities, and NaN in the same places, are no difference; NaN in one alone is infinite.
    """
    largest, differ = 0.0, 0
    for mine, other in zip(ours, theirs, strict=True):
        same = True
        for name, value in mine.items():
            largest = max(largest, _largest_gap(value, other[name]))
            same = same and bool(np.argmax(value) == np.argmax(other[name]))
        differ += not same
    return largest, differ


def _largest_gap(mine: Array, other: Array) -> float:
    one, two = mine.astype(np.float64), other.astype(np.float64)
    gaps = np.abs(np.subtract(one, two, where=one != two, out=np.zeros_like(one)))
    gaps[np.isnan(one) & np.isnan(two)] = 0.0
    gaps[np.isnan(gaps)] = np.inf
    return float(gaps.max())


def random_images(bundle: Bundle, count: int, seed: int = 0) -> list[Array]:
    """Random images for a model of one input.

    Raises:
        ValueError: the model has several inputs.
    """
    manifest = bundle.manifest
    if len(manifest.inputs) != 1:
        raise ValueError(f"the model must have one input, got {', '.join(manifest.inputs)}")
    spec = manifest.tensors[manifest.inputs[0]]
    rng = np.random.default_rng(seed)
    if np.issubdtype(np.dtype(spec.dtype), np.floating):
        return [rng.random(spec.shape).astype(spec.dtype) for _ in range(count)]
    limits = np.iinfo(spec.dtype)
    return [
        rng.integers(limits.min, limits.max, spec.shape, np.dtype(spec.dtype), endpoint=True)
        for _ in range(count)
    ]
