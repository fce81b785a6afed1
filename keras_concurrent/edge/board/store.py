"""The bundles that a board has been given, and which of them it runs.

::

    store/
      files/<sha-256>            segments, by content
      bundles/<sha-256>/         a bundle: its manifest, its segments linked to files/
      current                    SHA-256 of the bundle in use, in one line, and in the next that
                                 of the one before it, to roll back to

Both stand in one file, so that no end between two writes makes them the same. In stores of an
earlier version the second is in a file ``previous``.

A file is written beside its place and renamed, so the board finds whole ones whenever it starts.
Disks fail all the same: what is damaged is noticed by its digest, and deployed again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keras_concurrent.edge.bundle import Bundle, digest
from keras_concurrent.edge.manifest import MANIFEST, Manifest, SegmentSpec
from keras_concurrent.errors import BundleError
from keras_concurrent.files import sync_folder, write_beside, written_beside

_MOST_BUNDLE_BYTES = 1 << 31


class Store:
    """A folder of bundles.

    Args:
        folder: made where it is missing.

    Raises:
        BundleError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._offered: tuple[str, Manifest] | None = None
        try:
            for name in ("files", "bundles"):
                (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BundleError(f"cannot keep bundles in {folder}: {error.strerror}") from error
        self._tidy()

    def current(self) -> Bundle | None:
        """The bundle in use, checked; ``None`` before the first.

        Raises:
            BundleError: it was damaged, or what names it.
        """
        sha256, _ = self._named()
        if not sha256:
            if not os.path.lexists(self.folder / "current"):
                return None
            raise BundleError(f"{self.folder / 'current'} is damaged: it names no bundle of these")
        bundle = Bundle(self.folder / "bundles" / sha256)
        if bundle.sha256 != sha256:
            raise BundleError(f"{bundle.path / MANIFEST} was altered; deploy the bundle again")
        bundle.verify()
        return bundle

    def _named(self) -> tuple[str, str]:
        """The bundle in use and the one before it; each empty where it is not there."""
        lines = self._lines("current")
        if len(lines) < 2:
            lines = [*(lines or [""]), *self._lines("previous")]
        current, previous = ([self._known(line) for line in lines] + [""])[:2]
        return current, previous if previous != current else ""

    def _lines(self, name: str) -> list[str]:
        try:
            return (self.folder / name).read_text(encoding="ascii").split()
        except (OSError, UnicodeDecodeError):
            return []

    def _known(self, sha256: str) -> str:
        named = len(sha256) == 64 and set(sha256) <= set("0123456789abcdef")
        return sha256 if named and (self.folder / "bundles" / sha256).is_dir() else ""

    def offer(self, manifest: bytes) -> tuple[str, ...]:
        """Look at a bundle's manifest before any of its files is taken.

        What was left of bundles that were offered before, and are not in use, is removed.

        Returns:
            SHA-256 of the files that are lacking.

        Raises:
            BundleError: it is no manifest, or too large.
        """
        self._offered = None
        try:
            text = manifest.decode()
        except UnicodeDecodeError as error:
            raise BundleError(f"{MANIFEST} is damaged: {error}") from error
        parsed = Manifest.from_json(text)
        total = sum(segment.bytes for segment in parsed.segments.values())
        if total > _MOST_BUNDLE_BYTES:
            raise BundleError(f"a bundle must be at most {_MOST_BUNDLE_BYTES} bytes, got {total}")
        self._offered = text, parsed
        self._tidy()
        return self.lacking()

    def withdraw(self) -> None:
        """Nobody will use what was offered."""
        self._offered = None
        self._tidy()

    @property
    def offered(self) -> Manifest:
        """The manifest that was offered last.

        Raises:
            BundleError: none was, or it is in use by now.
        """
        if self._offered is None:
            raise BundleError("no bundle was offered")
        return self._offered[1]

    def lacking(self) -> tuple[str, ...]:
        """SHA-256 of the files of the offered bundle that are not here, or are damaged."""
        return tuple(sorted({s.sha256 for s in self._segments() if not self._is_whole(s)}))

    def _is_whole(self, segment: SegmentSpec) -> bool:
        try:
            content = self._file(segment).read_bytes()
        except OSError:
            return False
        return len(content) == segment.bytes and digest(content) == segment.sha256

    def _segments(self) -> tuple[SegmentSpec, ...]:
        return tuple(self._offered[1].segments.values()) if self._offered else ()

    def _file(self, segment: SegmentSpec) -> Path:
        return self.folder / "files" / segment.sha256

    def largest(self, sha256: str) -> int:
        """The bytes of a file that is lacking; 0 for any other."""
        return next((s.bytes for s in self._segments() if s.sha256 == sha256), 0)

    def take(self, sha256: str, content: bytes) -> None:
        """Keep a file of the offered bundle.

        Raises:
            BundleError: it is none of them, or was altered on its way.
        """
        if len(content) != self.largest(sha256) or not content:
            raise BundleError(f"{sha256[:12]} is no file of the bundle that was offered")
        if digest(content) != sha256:
            raise BundleError(f"a file was altered on its way: expected SHA-256 {sha256[:12]}")
        write_beside(self.folder / "files" / sha256, content)

    def assembled(self) -> Bundle:
        """The offered bundle, whole and checked, not yet in use.

        Raises:
            BundleError: none was offered, files are lacking, or one is damaged.
        """
        manifest, lacking = self.offered, self.lacking()
        if lacking:
            raise BundleError(f"{len(lacking)} files of the bundle are lacking")
        text = self._offered[0]  # type: ignore[index] # or `offered` had raised
        place = self.folder / "bundles" / digest(text.encode())
        if not _is_sound(place):
            beside = Path(tempfile.mkdtemp(prefix=".", dir=place.parent))
            try:
                for segment in manifest.segments.values():
                    os.link(self._file(segment), beside / segment.file)
                write_beside(beside / MANIFEST, text.encode())
                Bundle(beside).verify()
                if place.is_dir():  # its links lead to what was damaged
                    shutil.rmtree(place)
                beside.rename(place)
                sync_folder(place.parent)
            except OSError as error:
                raise BundleError(f"cannot write {place}: {error.strerror}") from error
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        return Bundle(place)

    def before(self) -> Bundle:
        """The bundle that was in use before this one, checked.

        Raises:
            BundleError: there is none, or it is damaged.
        """
        _, sha256 = self._named()
        if not sha256:
            raise BundleError("there is no bundle before this one")
        bundle = Bundle(self.folder / "bundles" / sha256)
        bundle.verify()
        return bundle

    def use(self, bundle: Bundle) -> None:
        """From now on the board starts with a bundle of this store."""
        with self.using(bundle):
            pass

    @contextlib.contextmanager
    def using(self, bundle: Bundle) -> Iterator[None]:
        """Start with a bundle of this store from when the block has ended well.

        Raises:
            OSError: it cannot be written down, for instance because the disk is full; the block is
                not begun.
        """
        current, previous = self._named()
        if current == bundle.sha256:
            yield
        else:
            lines = (bundle.sha256, current or previous)
            with written_beside(self.folder / "current", "\n".join(lines).encode()):
                yield
            (self.folder / "previous").unlink(missing_ok=True)
        self._offered = None
        self._tidy()

    def _tidy(self) -> None:
        """Remove what neither of the two bundles needs, nor the one that is offered."""
        kept = set(self._named())
        if not any(kept) and os.path.lexists(self.folder / "current"):
            return  # it is damaged: all may be needed still
        for path in self.folder.glob(".current-*"):  # of a board that ended in between
            path.unlink(missing_ok=True)
        needed = {segment.sha256 for segment in self._segments()}
        for path in (self.folder / "bundles").iterdir():
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)
                continue
            with contextlib.suppress(BundleError):  # a damaged one needs no file: it cannot run
                needed.update(s.sha256 for s in Bundle(path).manifest.segments.values())
        for path in (self.folder / "files").iterdir():
            if path.name not in needed:
                path.unlink(missing_ok=True)


def _is_sound(folder: Path) -> bool:
    """Whether a folder holds a bundle of which nothing is missing or damaged."""
    try:
        bundle = Bundle(folder)
        bundle.verify()
    except BundleError:
        return False
    return bundle.sha256 == folder.name
