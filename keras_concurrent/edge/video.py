"""The pictures of a camera, a video file or a stream, the latest one whenever one is wanted.

Whoever recognises more slowly than a camera films would be later with every frame if they queued.
So a thread decodes them as they come, and only the newest is kept; a file's frames come when a
camera that filmed them would have given them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_concurrent.errors import MissingExtraError

_OPEN_S = 10.0  # how long a stream may take to open, and between two frames
_DEVICE = Path("/dev")


@dataclass(frozen=True)
class Frame:
    """One picture.

    Args:
        number: of the frame in the source, from 0 on, dropped ones counted.
        at_s: when it was filmed, in seconds after the source's first.
        taken: when it was there to be recognised, by `time.monotonic`.
        picture: a ``PIL.Image.Image`` in RGB.
    """

    number: int
    at_s: float
    taken: float
    picture: Any


class Video:
    """A context in which a source's frames can be taken.

    Args:
        source: a file, a camera such as ``/dev/video0``, or an address such as ``rtsp://...``.
        every: take each frame of a file, as fast as they are asked for; none is dropped.

    Raises:
        ValueError: there is no such source, it holds no video, or ``every`` frame of a source that
            does not wait.
        MissingExtraError: PyAV or Pillow is not installed.
    """

    def __init__(self, source: str, *, every: bool = False) -> None:
        try:
            import av
            import PIL.Image  # noqa: F401 - of which frames are made
        except ImportError as error:
            package = "Pillow" if error.name == "PIL" else "PyAV"
            raise MissingExtraError(package, "video") from error
        device = Path(source).is_relative_to(_DEVICE)
        self._source, self._every = source, every
        self._paced = not device and "://" not in source
        if every and not self._paced:
            raise ValueError(f"every frame can be had of a file alone, got {source!r}")
        self._failure = av.error.FFmpegError
        try:
            self._container = av.open(
                source, format="v4l2" if device else None, timeout=None if self._paced else _OPEN_S
            )
        except (av.error.FFmpegError, OSError) as error:
            raise ValueError(f"source {source!r} cannot be opened: {_said(error)}") from error
        if not self._container.streams.video:
            self._container.close()
            raise ValueError(f"source {source!r} holds no video")
        self._changed = threading.Condition()
        self._latest: Frame | None = None
        self._ended = False
        self._error: Exception | None = None
        self._next = 0
        self._thread: threading.Thread | None = None
        self._all = self._decoded() if every else None

    def __enter__(self) -> Video:
        if not self._every:
            self._thread = threading.Thread(target=self._follow, name="video", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_OPEN_S)
        self._container.close()

    def take(self, within_s: float | None = None) -> Frame | None:
        """The newest frame that was not taken yet, as soon as there is one.

        Args:
            within_s: how long to wait at most; by default as long as the source goes on.

        Returns:
            ``None`` where none came in time, or none will come, see `ended`.

        Raises:
            ValueError: the source broke off.
        """
        if self._all is not None:
            frame = next(self._all, None)
            self._ended = frame is None
            return frame
        with self._changed:
            self._changed.wait_for(lambda: self._latest is not None or self._ended, within_s)
            frame, self._latest = self._latest, None
            if frame is None and self._error is not None:
                raise self._error
            return frame

    @property
    def ended(self) -> bool:
        """Whether no frame will come any more."""
        with self._changed:
            return self._ended and self._latest is None

    def _follow(self) -> None:
        """Keep the newest frame, until the source or the context ends."""
        try:
            begun = time.monotonic()
            for frame in self._decoded():
                with self._changed:
                    wait_s = begun + frame.at_s - time.monotonic() if self._paced else 0.0
                    self._changed.wait_for(lambda: self._ended, max(0.0, wait_s))
                    if self._ended:
                        return
                    self._latest = Frame(frame.number, frame.at_s, time.monotonic(), frame.picture)
                    self._changed.notify_all()
        except ValueError as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _decoded(self) -> Iterator[Frame]:
        first: float | None = None
        try:
            for number, decoded in enumerate(self._container.decode(video=0)):
                at_s = decoded.time or 0.0
                first = at_s if first is None else first
                picture = decoded.to_image()  # type: ignore[no-untyped-call] # PyAV's are not
                yield Frame(number, at_s - first, time.monotonic(), picture)
        except (self._failure, OSError) as error:
            raise ValueError(f"source {self._source!r} broke off: {_said(error)}") from error


def _said(error: Exception) -> str:
    """FFmpeg's words, without the source that the sentence names already."""
    return getattr(error, "strerror", None) or str(error)
