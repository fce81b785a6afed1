"""What a client's decisions come to: instructions for whoever has the network in hand."""

from __future__ import annotations

from dataclasses import dataclass

from keras_concurrent.edge.placement import Program


@dataclass(frozen=True)
class Offer:
    """Tell a board what it does on a route; it acknowledges."""

    route: int
    board: str
    program: Program


@dataclass(frozen=True)
class Begin:
    """Send an image's inputs as its route says."""

    request: int
    image: int
    route: int


@dataclass(frozen=True)
class Forget:
    """Tell boards that nobody waits for an image any more."""

    image: int
    boards: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """All outputs of a request's image are there."""

    request: int
    image: int


@dataclass(frozen=True)
class Compute:
    """No board is left: the client must compute a request itself."""

    request: int


@dataclass(frozen=True)
class Fail:
    """A request ends without an answer."""

    request: int
    reason: str


@dataclass(frozen=True)
class Check:
    """See whether boards still do anything: an answer of theirs did not come in time."""

    boards: tuple[str, ...]


Instruction = Offer | Begin | Forget | Answer | Compute | Fail | Check
