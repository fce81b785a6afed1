"""A board's loaded segments: what it can compute, and how long that takes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from functools import partial

import numpy as np

from keras_concurrent.edge.board.stretch import Stretch
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.manifest import Manifest
from keras_concurrent.edge.placement import Program
from keras_concurrent.errors import BundleError
from keras_concurrent.interpreter import Array, Segment

_WARM_UP_RUNS = 3
_MEASURED_RUNS = 5


class Workshop:
    """The segments of one bundle, each loaded when it is first needed.

    Args:
        stretch: makes compute as slow as an emulated board's.
        threads: how many the interpreter computes with.
        memory_bytes: that the board has for weights and tensors.
    """

    def __init__(
        self,
        stretch: Stretch | None = None,
        threads: int = 1,
        memory_bytes: float = math.inf,
    ) -> None:
        self._stretch = stretch
        self._memory_bytes = memory_bytes
        self.threads = threads
        """How many the interpreter computes with."""
        self._segments: dict[str, Segment] = {}
        self._content: Callable[[str], bytes] = lambda name: b""
        self.sha256 = ""
        """Of the bundle; empty before the first."""
        self.manifest = Manifest((), (), {}, {}, {})
        """Of the bundle."""
        self._lent: dict[str, dict[str, Array]] = {}  # whose outputs are an interpreter's memory

    @property
    def slowdown(self) -> float | None:
        """How many times slower than this machine the board is emulated."""
        return self._stretch.slowdown if self._stretch else None

    def take(self, bundle: Bundle, board: str) -> None:
        """Begin anew with a bundle, once what its plan gives to a board is loaded.

        Raises:
            BundleError: a segment was altered, or the interpreter refuses it, or there is no memory
                for them; nothing changes.
        """
        self.check_memory(bundle.manifest, board)
        program = bundle.placement("boards").programs.get(board)
        stretch = self._stretch.anew(bundle.manifest) if self._stretch else None
        loaded = {
            name: self._loaded(bundle.manifest, bundle.content(name), name, stretch)
            for name in (program.segments if program else ())
        }
        self._stretch = stretch
        self.sha256, self.manifest = bundle.sha256, bundle.manifest
        self._content, self._segments, self._lent = bundle.content, loaded, {}

    def as_it_is(self) -> Workshop:
        """The same segments, also those loaded later, whatever bundle `take` begins with."""
        return copy(self)

    def check_memory(self, manifest: Manifest, board: str) -> None:
        """There is memory for the weights that a bundle's plan gives to a board.

        Raises:
            BundleError: there is not.
        """
        program = manifest.placements["boards"].programs.get(board)
        needed = sum(manifest.segments[name].bytes for name in program.segments) if program else 0
        if needed > self._memory_bytes:
            raise BundleError(
                f"its segments have {needed / 1e6:.1f} MB of weights, and it has "
                f"{self._memory_bytes / 1e6:.1f} MB (memory_mb)"
            )

    def check_program(
        self, program: Program, others: Collection[str], senders: Mapping[str, str]
    ) -> None:
        """A program runs what the bundle has, once, and sends what is there to those there are.

        Args:
            program: what the board is to do.
            others: the participants that there are.
            senders: who of them sends the tensors that must come from elsewhere, by name.

        Raises:
            BundleError: it does not.
        """
        have: set[str] = set()
        written: set[str] = set()
        if len(set(program.segments)) < len(program.segments):
            raise BundleError("a route runs a segment twice")
        for name in program.segments:
            if name not in self.manifest.segments:
                raise BundleError("a route names a segment that is not there")
            have.update(self.manifest.segments[name].inputs, self.manifest.segments[name].outputs)
            written.update(self.manifest.segments[name].outputs)
        if len(set(program.sends)) < len(program.sends):
            raise BundleError("a route sends a tensor twice")
        for send in program.sends:
            if send.tensor not in have or send.receiver not in others:
                raise BundleError("a route sends what is not there, or to no one")
        needed = {t for name in program.segments for t in self.manifest.segments[name].inputs}
        if any(senders.get(tensor) not in others for tensor in needed - written):
            raise BundleError("a route does not say who sends what it needs")

    def load(self, name: str) -> Segment:
        """A segment, loaded if it was not.

        Raises:
            BundleError: there is none of this name, it was altered, or the interpreter refuses it.
        """
        if name not in self._segments:
            self._segments[name] = self._loaded(
                self.manifest, self._file(name), name, self._stretch
            )
        return self._segments[name]

    def _file(self, name: str) -> bytes:
        if name not in self.manifest.segments:
            raise BundleError(f"the bundle has no segment {name!r:.40}")
        return self._content(name)

    def _loaded(
        self, manifest: Manifest, content: bytes, name: str, stretch: Stretch | None
    ) -> Segment:
        """A segment that has run on zeros, so that its first image is no slower than the next."""
        segment = Segment(content, self.threads, name)
        step = _on_zeros(segment, manifest)
        for _ in range(_WARM_UP_RUNS):
            step()
        if stretch:
            stretch.learn(name, step)
        return segment

    def run(self, name: str, tensors: dict[str, Array]) -> None:
        """Compute a loaded segment's outputs from its inputs, by name, and put them beside these.

        They are the interpreter's memory. Before it computes again, those that are still in
        ``tensors`` become copies: take out what is needed no more, and keep none elsewhere.

        Raises:
            Exception: whatever the interpreter raises.
        """
        segment = self._segments[name]
        self._take_back(name)
        step = partial(segment.run_in_place, [tensors[tensor] for tensor in segment.input_names])
        results = self._stretch.run(name, step) if self._stretch else step()
        tensors.update(zip(segment.output_names, results, strict=True))
        self._lent[name] = tensors

    def _take_back(self, name: str) -> None:
        """Give whoever still has a segment's outputs copies of them."""
        tensors = self._lent.pop(name, {})
        for output in self._segments[name].output_names:
            if output in tensors:
                tensors[output] = tensors[output].copy()

    def measure(
        self, names: Sequence[str] | None = None, threads: int | None = None
    ) -> dict[str, float]:
        """Median seconds of segments on this board, the emulation included.

        Args:
            names: segments to measure; all of the bundle by default.
            threads: how many to compute with; with another number than the board's each segment is
                loaded once more, and let go when it is measured.

        Raises:
            BundleError: a name that the bundle does not have, more threads than cores, or another
                number than an emulated board's.
        """
        threads = self.threads if threads is None else threads
        self._check_threads(threads)
        measured = {}
        for name in self.manifest.segments if names is None else names:
            step = _on_zeros(self._with_threads(name, threads), self.manifest)
            if threads == self.threads:
                self._take_back(name)
            durations = []
            for _ in range(_MEASURED_RUNS):
                start = time.monotonic()
                if self._stretch:
                    self._stretch.run(name, step)
                else:
                    step()
                durations.append(time.monotonic() - start)
            measured[name] = float(np.median(durations))
        return measured

    def _check_threads(self, threads: int) -> None:
        if threads == self.threads:
            return
        if self._stretch:
            raise BundleError(f"an emulated board computes as {self.threads} thread does")
        cores = os.cpu_count() or 1
        if not 1 <= threads <= cores:
            raise BundleError(f"threads must be 1 to {cores}, its cores, got {threads}")

    def _with_threads(self, name: str, threads: int) -> Segment:
        if threads == self.threads:
            return self.load(name)
        segment = Segment(self._file(name), threads, name)
        for _ in range(_WARM_UP_RUNS):
            _on_zeros(segment, self.manifest)()
        return segment


def _on_zeros(segment: Segment, manifest: Manifest) -> Callable[[], list[Array]]:
    specs = [manifest.tensors[tensor] for tensor in segment.input_names]
    return partial(segment.run, [np.zeros(spec.shape, spec.dtype) for spec in specs])
