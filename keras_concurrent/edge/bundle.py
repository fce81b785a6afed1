"""The bundle: a folder that holds all a cluster needs to answer.

::

    bundle/
      manifest.json        schema version, tensors, segments with SHA-256, placements
      model.tflite         the uncut model: the reference, and what a single board runs
      segment_00.tflite    ...
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from keras_concurrent.edge.manifest import MANIFEST, PLACEMENTS, Manifest
from keras_concurrent.edge.placement import Placement
from keras_concurrent.errors import BundleError

MODEL = "model.tflite"


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


class Bundle:
    """A bundle on disk, its manifest read and checked.

    Args:
        path: the folder.

    Raises:
        BundleError: the folder, its manifest or a file named in it is missing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            text = (self.path / MANIFEST).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(f"{path} is not a bundle: cannot read {MANIFEST}: {error}") from error
        self.manifest = Manifest.from_json(text)
        self.sha256 = digest(text.encode())
        for name, segment in self.manifest.segments.items():
            if not (self.path / segment.file).is_file():
                raise BundleError(f"{path} lacks {segment.file}, the file of segment {name!r}")

    def content(self, segment: str) -> bytes:
        """A segment's file, checked against the manifest.

        Raises:
            BundleError: it cannot be read, was truncated or altered.
        """
        spec = self.manifest.segments[segment]
        try:
            content = (self.path / spec.file).read_bytes()
        except OSError as error:
            raise BundleError(f"cannot read {self.path / spec.file}: {error.strerror}") from error
        if len(content) != spec.bytes:
            raise BundleError(
                f"{self.path / spec.file} was truncated or altered: expected {spec.bytes} bytes, "
                f"got {len(content)}"
            )
        if digest(content) != spec.sha256:
            raise BundleError(
                f"{self.path / spec.file} was altered: expected SHA-256 {spec.sha256}, "
                f"got {digest(content)}"
            )
        return content

    def verify(self) -> None:
        """Check every file.

        Raises:
            BundleError: a file is missing, truncated or altered.
        """
        for segment in self.manifest.segments:
            self.content(segment)

    def placement(self, name: str) -> Placement:
        """A placement by name.

        Raises:
            ValueError: an unknown name.
        """
        if name not in PLACEMENTS:
            raise ValueError(f"placement must be one of {', '.join(PLACEMENTS)}, got {name!r}")
        return self.manifest.placements[name]

    @classmethod
    def write(cls, path: str | Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
        """Write a bundle beside its place, then rename: a half-written one never shows.

        Args:
            path: the folder; a bundle that is there is replaced.
            manifest: what it holds.
            files: content by file name.

        Raises:
            BundleError: the path is taken by something that is no bundle, or cannot be written.
        """
        manifest.check()
        path = Path(path)
        if path.exists() and not (path / MANIFEST).is_file():
            raise BundleError(f"{path} is there and is not a bundle; give another path")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        except OSError as error:
            raise BundleError(f"cannot write {path}: {error.strerror}") from error
        try:
            beside.chmod(0o755)
            for name, content in files.items():
                (beside / name).write_bytes(content)
            (beside / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
            if path.exists():
                old = beside.with_name(beside.name + "-old")
                path.rename(old)
                try:
                    beside.rename(path)
                except BaseException:
                    old.rename(path)
                    raise
                shutil.rmtree(old)
            else:
                beside.rename(path)
        except OSError as error:
            raise BundleError(f"cannot write {path}: {error.strerror}") from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return cls(path)
