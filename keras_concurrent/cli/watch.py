"""The command that recognises what a camera films."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from keras_concurrent.cli.boards import slowdown_of
from keras_concurrent.cli.command import command
from keras_concurrent.cli.options import (
    cluster_file,
    existing,
    keys_folder,
    keys_folder_of,
    local,
    of_pictures,
    pace_file,
    preprocessing_of,
)
from keras_concurrent.edge.preprocessing import Preprocessing

if TYPE_CHECKING:
    from keras_concurrent.edge.client.client import Client
    from keras_concurrent.edge.manifest import Manifest
    from keras_concurrent.edge.video import Frame, Video

_LOOK_S = 0.005  # how often to look whether an image in flight is answered


class _Asked:
    """A frame on its way through the boards.

    Args:
        frame: what was asked.
        dropped: frames before it that were not.
        answer: the boards', or their error.
    """

    def __init__(self, frame: Frame, dropped: int, answer: Future[Any]) -> None:
        self.frame, self.dropped, self.answer = frame, dropped, answer
        self.latency_s = 0.0
        """From when the frame was there to its answer, once there is one."""
        self.ended = Event()
        answer.add_done_callback(self._end)

    def _end(self, _: Future[Any]) -> None:
        self.latency_s = time.monotonic() - self.frame.taken
        self.ended.set()


@command("keras-concurrent watch bundle --source /dev/video0 --cluster cluster.toml --local")
@click.argument("bundle", type=existing)
@click.option(
    "--source", required=True, help="A video file, a camera (/dev/video0) or rtsp://address."
)
@cluster_file
@local
@keys_folder
@pace_file
@of_pictures
@click.option(
    "--every-frame", is_flag=True,
    help="Recognise all frames of a file, however long it takes; otherwise it is shown at its own "
    "pace, and what the boards cannot keep up with is dropped.",
)  # fmt: skip
@click.option("--frames", type=click.IntRange(1), help="End after so many.")
@click.option(
    "--in-flight", type=click.IntRange(1), default=1, show_default=True,
    help="Frames that the boards work on at a time: more give more a second, each a little later.",
)  # fmt: skip
@click.option(
    "--deadline", "deadline_s", default=2.0, show_default=True, help="Seconds for each answer."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a frame instead.")
def watch(
    bundle: Path, source: str, cluster: Path, local: bool, emulate: bool, keys: Path | None,
    pace: Path | None, value_range: str | None, mean: str | None, deviation: str | None,
    resize: str | None, every_frame: bool, frames: int | None, in_flight: int, deadline_s: float,
    as_json: bool,
) -> None:  # fmt: skip
    """Recognise what a camera films, the newest frame whenever the boards are free.

    Frames that come meanwhile are dropped, not queued, so that an answer is of now. The time in an
    answer's line is from the frame to the answer. Ends with the source, or with Ctrl-C.
    """
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.edge.bundle import Bundle
    from keras_concurrent.edge.images import is_picture, misfit, settled
    from keras_concurrent.edge.testbed.local_boards import answering
    from keras_concurrent.edge.video import Video

    opened, where = Bundle(bundle), Cluster.read(cluster)
    manifest = opened.manifest
    spec = manifest.tensors[manifest.inputs[0]]
    if len(manifest.inputs) != 1 or not is_picture(spec):
        raise ValueError("watch needs a model whose one input is a picture")
    said = preprocessing_of(value_range, mean, deviation, resize, manifest.preprocessing)
    how = settled(said or Preprocessing(), spec)
    warning = misfit(how, spec)
    if warning is not None:
        click.echo(warning, err=True)
    film = Video(source, every=every_frame)  # which is not there is told of before a board starts
    if not as_json:
        click.echo(f"pictures: {how}, to {spec.shape[1]}x{spec.shape[2]}")
    slowdown = slowdown_of(where) if emulate else None
    own = keys_folder_of(cluster, keys)
    answered_by = answering(
        opened, where, local=local, slowdown=slowdown, keys=own, pace=pace, in_flight=in_flight,
        ready="some",
    )  # fmt: skip
    with answered_by as client, film as video:
        latencies: list[float] = []
        dropped, begun = 0, time.monotonic()
        try:
            for asked in _answered(client, video, manifest, how, deadline_s, in_flight, frames):
                dropped += asked.dropped
                if asked.answer.exception() is None:
                    latencies.append(asked.latency_s)
                click.echo(_told(manifest, asked, as_json=as_json))
        finally:  # also after Ctrl-C, as a camera is left
            click.echo(_summary(latencies, dropped, time.monotonic() - begun), err=True)


def _answered(
    client: Client, video: Video, manifest: Manifest, how: Preprocessing, deadline_s: float,
    in_flight: int, frames: int | None,
) -> Iterator[_Asked]:  # fmt: skip
    """Frames in their order, each as soon as its answer, or its error, is there."""
    from keras_concurrent.edge.images import picture_values

    spec = manifest.tensors[manifest.inputs[0]]
    waiting: deque[_Asked] = deque()
    asked, last = 0, -1
    while not video.ended and (frames is None or asked < frames):
        if len(waiting) == in_flight:  # a frame that waits for room would be an old one
            waiting[0].ended.wait()
        while waiting and waiting[0].ended.is_set():
            yield waiting.popleft()
        if len(waiting) == in_flight:
            continue
        frame = video.take(_LOOK_S if waiting else None)
        if frame is None:
            continue
        answer = client.submit(picture_values(frame.picture, spec, how), deadline_s=deadline_s)
        waiting.append(_Asked(frame, frame.number - last - 1, answer))
        asked, last = asked + 1, frame.number
    for each in waiting:
        each.ended.wait()
        yield each


def _told(manifest: Manifest, asked: _Asked, *, as_json: bool) -> str:
    """A frame's line."""
    from keras_concurrent.edge.classes import best_of, scores_of, told

    frame, error = asked.frame, asked.answer.exception()
    of = {"frame": frame.number, "at_s": round(frame.at_s, 6), "dropped": asked.dropped}
    if error is not None:
        if as_json:
            return json.dumps({**of, "error": str(error)})
        return f"frame {frame.number}, {frame.at_s:.2f} s: {error}"
    scores = scores_of(manifest, asked.answer.result())
    if as_json:
        outputs = told(manifest, scores)
        return json.dumps({**of, "latency_s": asked.latency_s, "outputs": outputs})
    best = "; ".join(
        ", ".join(map(str, best_of(manifest, name, values))) for name, values in scores.items()
    )
    return f"frame {frame.number}, {frame.at_s:.2f} s: {best} ({asked.latency_s * 1e3:.1f} ms)"


def _summary(latencies: list[float], dropped: int, seconds: float) -> str:
    """What came of it all."""
    if not latencies:
        return f"no frame answered, {dropped} dropped"
    ordered = sorted(latencies)
    median, p95 = (ordered[int(share * len(ordered))] * 1e3 for share in (0.5, 0.95))
    return (
        f"{len(ordered)} frames answered, {dropped} dropped, {len(ordered) / seconds:.1f} a second;"
        f" from frame to answer {median:.1f} ms (median), {p95:.1f} ms (95th percentile)"
    )
