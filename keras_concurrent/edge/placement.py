"""Who runs which segments and sends which tensors, in which order: a plan as boards keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_concurrent.board import CLIENT


@dataclass(frozen=True)
class Send:
    """One tensor to one receiver."""

    tensor: str
    receiver: str


@dataclass(frozen=True)
class Program:
    """What one board does for an image: its segments and its sends, each in planned order."""

    segments: tuple[str, ...]
    sends: tuple[Send, ...]


@dataclass(frozen=True)
class Event:
    """Something with a beginning and an end, in seconds after the image was sent.

    Args:
        kind: ``"run"`` or ``"send"``.
        name: the segment's or tensor's.
        board: who runs or sends.
        receiver: to whom a send goes.
        start_s: beginning.
        end_s: end; of a send, its arrival.
        bytes: how many a send has.
    """

    kind: str
    name: str
    board: str
    start_s: float
    end_s: float
    receiver: str = ""
    bytes: int = 0


@dataclass(frozen=True)
class Placement:
    """Who does what, and how long that was predicted to take.

    Args:
        programs: what every board that has work does, by name.
        client_sends: what the client sends, in order.
        predicted_latency_s: from sending the image to having the answer.
        predicted: the predicted timeline.
    """

    programs: Mapping[str, Program]
    client_sends: tuple[Send, ...]
    predicted_latency_s: float
    predicted: tuple[Event, ...]

    def senders_to(self, receiver: str) -> dict[str, str]:
        """Who sends each tensor that a participant gets, by the tensor's name."""
        everyone = {CLIENT: Program((), self.client_sends), **self.programs}
        return {
            send.tensor: sender
            for sender, program in everyone.items()
            for send in program.sends
            if send.receiver == receiver
        }


def _sends(data: list[dict[str, str]]) -> tuple[Send, ...]:
    return tuple(Send(**send) for send in data)


def placement_of(data: dict[str, Any]) -> Placement:
    """A placement from what a manifest's JSON holds of it.

    Raises:
        KeyError, TypeError, ValueError: a key that is missing or unknown, or no number.
    """
    programs = {
        board: Program(tuple(program["segments"]), _sends(program["sends"]))
        for board, program in data["programs"].items()
    }
    return Placement(
        programs,
        _sends(data["client_sends"]),
        float(data["predicted_latency_s"]),
        tuple(Event(**event) for event in data["predicted"]),
    )
