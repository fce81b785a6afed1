"""What messages take of the processors of boards and client: measured.

What a byte takes is told by probes of the links, small ones and large. What a message takes beside
its bytes is more than a probe's: a board looks up what it is of, decides what follows, and takes
notes. So some images are recognised, and all that a process spends on them but on computing is what
its messages have taken.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from keras_concurrent.board import CLIENT, Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.link import questions
from keras_concurrent.edge.link.answers import LinkFigures
from keras_concurrent.network import ClientComputer

_IMAGES = 20
_WARM_UP_IMAGES = 3
_DEADLINE_S = 120.0
_End = TypeVar("_End", Board, ClientComputer)
Probed = Mapping[str, LinkFigures]
"""What was found of one link, by who was asked."""


@dataclass(frozen=True)
class _Tally:
    """Messages so far at a board or at the client, and what was spent beside computing."""

    messages: int
    bytes: int
    spent_s: float


def with_messaging(
    client: Client, bundle: Bundle, cluster: Cluster, probed: Collection[Probed]
) -> Cluster:
    """A cluster with what messages were measured to take, encryption included.

    What is neither probed nor used by the bundle's plan stays as it is described; so does the
    client of emulated boards, which is as emulated as they are.

    Args:
        client: of boards that have the bundle and are ready.
        bundle: images are recognised by its plan.
        cluster: as described.
        probed: what was found of the links.

    Raises:
        BoardError: an image is not answered.
    """
    names = [board.name for board in cluster.boards]
    spec = bundle.manifest.tensors
    image = {n: np.zeros(spec[n].shape, spec[n].dtype) for n in bundle.manifest.inputs}
    for _ in range(_WARM_UP_IMAGES):
        client.infer(image, deadline_s=_DEADLINE_S)
    before = _tallies(client, bundle, names, 0)
    for _ in range(_IMAGES):
        client.infer(image, deadline_s=_DEADLINE_S)
    after = _tallies(client, bundle, names, _IMAGES)

    def measured(end: _End, name: str) -> _End:
        return _with_costs(end, name, before[name], after[name], probed)

    return replace(
        cluster,
        boards=tuple(measured(board, board.name) for board in cluster.boards),
        client=cluster.client if client.slowdowns else measured(cluster.client, CLIENT),
    )


def probes_cost(name: str, probed: Iterable[Probed]) -> tuple[float, float] | None:
    """Processor seconds of a probe at a participant, and what each byte adds; if it sent any."""
    own = [figures[name] for figures in probed if name in figures]
    if not own:
        return None
    return (
        statistics.median(figures.message_s for figures in own),
        statistics.median(figures.message_byte_s for figures in own),
    )


def _tallies(
    client: Client, bundle: Bundle, boards: Iterable[str], images: int
) -> dict[str, _Tally]:
    """Of every board, and of the client, which has recognised so many images."""
    tallies = {}
    for board in boards:
        status = client.questions.ask(board, questions.Status())
        tallies[board] = _Tally(status.messages, status.message_bytes, status.beside_computing_s)
    plan = bundle.placement("boards")
    own = [send.tensor for send in plan.client_sends] + [
        send.tensor
        for program in plan.programs.values()
        for send in program.sends
        if send.receiver == CLIENT
    ]
    size = sum(bundle.manifest.tensors[tensor].bytes for tensor in own)
    tallies[CLIENT] = _Tally(images * len(own), images * size, time.process_time())
    return tallies


def _with_costs(
    end: _End, name: str, before: _Tally, after: _Tally, probed: Iterable[Probed]
) -> _End:
    cost = probes_cost(name, probed)
    messages = after.messages - before.messages
    if cost is None and not messages:
        return end
    message_s, byte_s = cost or (0.0, 0.0)
    if messages:
        on_bytes_s = (after.bytes - before.bytes) * byte_s
        spent_s = after.spent_s - before.spent_s
        message_s = max(message_s, (spent_s - on_bytes_s) / messages)
    measured: dict[str, Any] = {
        "message_ms": round(message_s * 1e3, 4),
        "message_gb_per_s": round(1e-9 / byte_s, 3) or None if byte_s else None,
        "encryption_gb_per_s": None,
    }
    return replace(end, **measured)
