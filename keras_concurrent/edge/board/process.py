"""A board as a process: its files, its keys, its links."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.board.store import Store
from keras_concurrent.edge.board.stretch import Stretch, limit_memory
from keras_concurrent.edge.board.worker import Board
from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.link.direct import DirectChannel
from keras_concurrent.edge.link.doorkeeper import allow_descriptors
from keras_concurrent.edge.link.keys import keys_of
from keras_concurrent.edge.link.message_stretch import MessageStretch
from keras_concurrent.edge.link.pacing import pacer_of
from keras_concurrent.edge.manifest import Manifest
from keras_concurrent.edge.segment_costs import SegmentCosts
from keras_concurrent.errors import BundleError
from keras_concurrent.interpreter import load_interpreter

_log = logging.getLogger(__name__)
READY = "is ready"
"""What a board logs once it can work."""


def serve_board(
    name: str,
    bundle_path: Path | None,
    cluster_path: Path,
    stopped: threading.Event,
    *,
    threads: int | None = None,
    slowdown: float | None = None,
    pace: Path | None = None,
    keys: Path | None = None,
    store: Path | None = None,
    emulate_memory: bool = False,
    as_described: bool = False,
) -> None:
    """Run a board until told to stop.

    Args:
        name: the board's, as in the cluster file.
        bundle_path: the bundle's folder; ``None`` for the one last deployed to the store.
        cluster_path: the cluster file.
        stopped: ends it.
        threads: how many the interpreter computes with; by default as many as the cluster file says
            the board has cores, or as many as it has.
        slowdown: emulate a board so many times slower, whose messages take what the cluster file
            says; ``None`` runs it as it is.
        pace: emulate the cluster's links, with this file that all participants share; ``None``
            takes them as they are.
        keys: folder of the board's keys, which it needs beyond loopback.
        store: folder of the bundles that are deployed to this board.
        emulate_memory: keep this process to the board's memory in the cluster file, on top of what
            Python and the interpreter need.
        as_described: with ``slowdown``, a segment takes what the plan and the cluster file say of
            this board, whatever this machine takes for it.

    Raises:
        ValueError: neither a bundle nor a store, a slowdown below 1, or memory that cannot be
            limited here.
        ConcurrentError: a file is wrong, keys are missing, or the board's port is in use.
    """
    allow_descriptors()
    cluster = Cluster.read(cluster_path)
    described = cluster.board(name)
    memory_bytes = described.memory_bytes
    if bundle_path is None and store is None:
        raise ValueError("a board needs --bundle, or --store for bundles that are deployed to it")
    kept = Store(store) if store is not None else None
    bundle = Bundle(bundle_path) if bundle_path is not None else _current(kept)
    with ExitStack() as ends:  # what is left open keeps the process and its port
        stretch, messages = None, None
        if slowdown is not None:
            messages = MessageStretch(cluster.message_costs_s(name))
            takes = partial(_segments_s, cluster, name) if as_described else None
            stretch = ends.enter_context(closing(Stretch(slowdown, cluster_path, takes)))
        channel = DirectChannel(name, cluster, keys_of(name, cluster, keys))
        ends.callback(channel.close)
        if emulate_memory and math.isfinite(memory_bytes):
            load_interpreter()  # which is none of what the board has for weights and tensors
            limit_memory(memory_bytes)
        board = Board(
            name,
            bundle,
            channel,
            frozenset(other.name for other in cluster.boards) - {name},
            Workshop(stretch, threads or described.cores or os.cpu_count() or 1, memory_bytes),
            pacer=pacer_of(cluster, name, pace),
            messages=messages,
            store=kept,
        )
        _log.info("%s %s", name, READY)
        board.serve(stopped)


def _segments_s(cluster: Cluster, name: str, manifest: Manifest) -> Callable[[str], float]:
    """Seconds of a bundle's segments on a board, by its plan and the board's rates."""
    return partial(SegmentCosts(manifest, cluster).run_s, board=name)


def _current(store: Store | None) -> Bundle | None:
    """The bundle in use; without a whole one the board begins empty, so that it can be repaired."""
    try:
        return store.current() if store is not None else None
    except BundleError as error:
        _log.warning("begins without its bundle, deploy it again: %s", error)
        return None
