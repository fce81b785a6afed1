"""What boards answer: a kind of answer for each kind of question, and the refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keras_concurrent.edge.placement import Event


@dataclass(frozen=True)
class Refusal:
    """The board does not do what it was asked.

    Args:
        cause: why, in words for a person.
    """

    cause: str


@dataclass(frozen=True)
class Identity:
    """Who a board is.

    Args:
        board: its name.
        bundle_sha256: which bundle it has; empty before the first.
        slowdown: how many times slower than its machine it is emulated; ``None`` as it is.
        clock_s: its clock at the moment of answering.
        unreached: the other boards that it does not reach.
    """

    board: str
    bundle_sha256: str
    slowdown: float | None
    clock_s: float
    unreached: tuple[str, ...]


@dataclass(frozen=True)
class Machine:
    """What a board's program runs on.

    Args:
        version: keras_concurrent's.
        python: Python's version.
        machine: the processor's architecture.
        interpreter: the package that runs .tflite files, or ``none:`` and why.
        resident_bytes: memory that the process holds.
        free_bytes: memory that the machine has left.
        cores: that the machine has.
    """

    version: str
    python: str
    machine: str
    interpreter: str
    resident_bytes: int
    free_bytes: int
    cores: int


@dataclass(frozen=True)
class Status:
    """What a board has done since it began, and how it is now.

    Args:
        identity: who it is.
        machine: what it runs on.
        refused: messages that were none of ours.
        images: how many it has done its part of.
        in_flight: images that it works on.
        compute_s: seconds in which it ran segments.
        p95_s: 95th percentile of the latest runs of every segment.
        threads: how many its interpreter computes with.
        messages: how many tensors it has sent or taken in.
        message_bytes: how many these had.
        beside_computing_s: processor time that its process spent on all else than segments; of an
            emulated board, what messages were made to take.
    """

    identity: Identity
    machine: Machine
    refused: int
    images: int
    in_flight: int
    compute_s: float
    p95_s: Mapping[str, float]
    threads: int
    messages: int
    message_bytes: int
    beside_computing_s: float


@dataclass(frozen=True)
class Trace:
    """What a board did for an image, by its own clock.

    Args:
        events: runs, sends, and arrivals of kind ``"arrival"``.
    """

    events: tuple[Event, ...]


@dataclass(frozen=True)
class Measured:
    """How long segments take.

    Args:
        seconds: median by segment, the emulation included.
    """

    seconds: Mapping[str, float]


@dataclass(frozen=True)
class LinkFigures:
    """What a link was found to do.

    Args:
        one_way_s: seconds that a small message takes, the software of both ends included.
        bytes_per_s: what a large one adds.
        direct: whether they went by a direct link; otherwise over Zenoh, as tensors do there.
        message_s: processor time of a small one at the end of whoever was asked.
        message_byte_s: what each byte adds to that.
    """

    one_way_s: float
    bytes_per_s: float
    direct: bool
    message_s: float
    message_byte_s: float


@dataclass(frozen=True)
class RouteTaken:
    """The board has all that it needs for a route.

    Args:
        unreached: the other boards that it does not reach.
    """

    unreached: tuple[str, ...]


@dataclass(frozen=True)
class Lacking:
    """What a board does not have of the bundle that it was offered.

    Args:
        files: their SHA-256.
    """

    files: tuple[str, ...]


@dataclass(frozen=True)
class FileKept:
    """A file came whole and is on the board's disk."""


@dataclass(frozen=True)
class InUse:
    """The board works with another bundle from now on.

    Args:
        bundle_sha256: which.
    """

    bundle_sha256: str


Result = (
    Refusal | Identity | Status | Trace | Measured | LinkFigures | RouteTaken | Lacking | FileKept
    | InUse
)  # fmt: skip
"""What may come back."""
