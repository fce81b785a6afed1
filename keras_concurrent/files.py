"""Writing files whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def write_beside(path: Path, content: bytes) -> None:
    """Write a file beside its place, then rename, so that a half-written one never shows.

    It is on the disk before it is renamed, so that a power cut leaves the old one or the new.

    Raises:
        OSError: the folder cannot be made or written.
    """
    with written_beside(path, content):
        pass


@contextlib.contextmanager
def written_beside(path: Path, content: bytes) -> Iterator[None]:
    """Write a file beside its place, and rename it when the block has ended well.

    A disk that is full says so before the block begins.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o644)
        yield
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Have a folder's renames on the disk, where the system can tell."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
