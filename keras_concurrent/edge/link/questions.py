"""What a client asks boards beside images. Each question knows the kind of its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from keras_concurrent.edge.link import answers
from keras_concurrent.edge.placement import Program

AnswerT = TypeVar("AnswerT")


class Question(Generic[AnswerT]):
    """One question; any may be answered by a `keras_concurrent.edge.link.answers.Refusal`."""

    answer: type[AnswerT]
    """What it is answered by."""

    def __str__(self) -> str:
        """What is asked, in a word or two, for errors: ``"roll back"``."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(self).__name__).lower()


@dataclass(frozen=True)
class Ping(Question[answers.Identity]):
    """Who are you?"""

    answer = answers.Identity


@dataclass(frozen=True)
class Status(Question[answers.Status]):
    """How are you, and what have you done?"""

    answer = answers.Status


@dataclass(frozen=True)
class Trace(Question[answers.Trace]):
    """What did you do for an image of this session?

    Args:
        image: its number.
    """

    answer = answers.Trace
    image: int


@dataclass(frozen=True)
class Measure(Question[answers.Measured]):
    """How long do your segments take?

    Args:
        segments: their names; ``None`` for all of the bundle.
        threads: how many to compute with; ``None`` for as many as the board does.
    """

    answer = answers.Measured
    segments: tuple[str, ...] | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Probe(Question[answers.LinkFigures]):
    """What does your link to another board do?

    Args:
        board: the other.
    """

    answer = answers.LinkFigures
    board: str


@dataclass(frozen=True)
class Route(Question[answers.RouteTaken]):
    """Prepare for images that take a route.

    Args:
        number: by which images name the route.
        bundle_sha256: which bundle's segments are meant.
        program: what the board does for an image on it.
        senders: from whom the board takes each tensor that comes from elsewhere, by its name.
        routes: numbers of the routes that it must still know; it may forget all others.
    """

    answer = answers.RouteTaken
    number: int
    bundle_sha256: str
    program: Program
    senders: Mapping[str, str]
    routes: tuple[int, ...]


@dataclass(frozen=True)
class Offer(Question[answers.Lacking]):
    """What of this bundle do you lack?

    Args:
        content: its manifest, as the file has it.
    """

    answer = answers.Lacking
    content: bytes = b""


@dataclass(frozen=True)
class File(Question[answers.FileKept]):
    """Keep a file of the bundle that was offered.

    Args:
        sha256: by which the manifest names the file.
        content: the file's bytes.
    """

    answer = answers.FileKept
    sha256: str
    content: bytes = b""


@dataclass(frozen=True)
class Switch(Question[answers.InUse]):
    """Use the bundle that was offered.

    Args:
        finish: whether images that are on their way are let finish on the bundle before; otherwise
            they end in errors.
    """

    answer = answers.InUse
    finish: bool = True


@dataclass(frozen=True)
class RollBack(Question[answers.InUse]):
    """Use the bundle before this one again.

    Args:
        finish: as of `Switch`.
    """

    answer = answers.InUse
    finish: bool = True


AnyQuestion = Ping | Status | Trace | Measure | Probe | Route | Offer | File | Switch | RollBack
"""What may be asked."""
