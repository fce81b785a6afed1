"""A bundle that was written, and what it comes to before anyone deploys it."""

from __future__ import annotations

from dataclasses import dataclass

from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.export.stripping import StripPlan
from keras_concurrent.planning.schedule import Plan
from keras_concurrent.wire.budget import Variant


@dataclass(frozen=True)
class Exported:
    """A bundle, and what it comes to.

    Args:
        bundle: the folder as it was written.
        plan: the one by which the model is cut.
        variants: what the model as it was, the same in each wire format, and what was chosen
            cost and give; empty where the model was cut as it is.
        remarks: see `keras_concurrent.export.prepared.PreparedOrder`.
        strips: how the model was split, where it was.
    """

    bundle: Bundle
    plan: Plan
    variants: tuple[Variant, ...]
    remarks: tuple[str, ...]
    strips: StripPlan | None = None

    @property
    def board_bytes(self) -> dict[str, int]:
        """Bytes of the files that each board needs."""
        segments = self.bundle.manifest.segments
        programs = self.bundle.placement("boards").programs
        return {
            board: sum(segments[name].bytes for name in program.segments)
            for board, program in sorted(programs.items())
        }

    @property
    def link_bytes(self) -> dict[str, int]:
        """Bytes of one image's tensors by link, such as ``"pi4-1 to pi4-2"``."""
        sent: dict[str, int] = {}
        for message in self.plan.messages:
            link = f"{message.sender} to {message.receiver}"
            sent[link] = sent.get(link, 0) + message.bytes
        return sent
