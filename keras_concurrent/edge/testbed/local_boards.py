"""Board processes on this machine, started and stopped together."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from keras_concurrent.board import tensor_port_beside
from keras_concurrent.children import Child, this_package
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.board.process import READY
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.client import IN_FLIGHT, Client
from keras_concurrent.edge.client.connect import connect
from keras_concurrent.edge.link.pacing import Medium
from keras_concurrent.errors import BoardError

_POLL_S = 0.02
_GRACE_S = 3.0
START_S = 60.0
"""How long boards may take to start; emulated ones measure their segments first."""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on at the moment.

    Nor on those where their boards would listen for tensors.
    """
    ports: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(ports) < count:
            opened, beside = (stack.enter_context(socket.socket()) for _ in range(2))
            opened.bind(("127.0.0.1", 0))
            port: int = opened.getsockname()[1]
            with contextlib.suppress(OSError):
                beside.bind(("127.0.0.1", tensor_port_beside(port)))
                ports.append(port)
    return ports


def slowdown_for(cluster: Cluster, host_flops_per_s: float) -> dict[str, float]:
    """How many times slower than this machine each board is.

    Args:
        cluster: described boards.
        host_flops_per_s: from `keras_concurrent.measured.host.measure_host`.

    Raises:
        ValueError: a board faster than this machine's share for it: its emulation would lie.
    """
    cores = os.cpu_count() or 1
    least = max(1.0, len(cluster.boards) / cores)
    factors = {board.name: host_flops_per_s / board.flops_per_s for board in cluster.boards}
    for name, factor in factors.items():
        if factor < least:
            raise ValueError(
                f"{name} cannot be emulated truthfully: {len(cluster.boards)} boards on {cores} "
                f"cores need boards at least {least:.1f} times slower than one core, and it is "
                f"{factor:.1f} times slower"
            )
    return factors


class Processes:
    """Board processes; they end with this one, however it ends."""

    def __init__(self) -> None:
        self._children: dict[str, Child] = {}
        self._logs: dict[str, IO[bytes]] = {}

    def start(self, board: str, options: Iterable[object], within: Sequence[str] = ()) -> None:
        """Start a board.

        Args:
            board: its name.
            options: words for ``keras-concurrent board``, the name aside.
            within: words before the command, such as a network namespace's.
        """
        # Boards of one machine share its cores; and what a step takes is told of one thread.
        words = ("board", "--name", board, "--threads", "1", *map(str, options))
        command = [*within, *this_package(*words)]
        log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop
        self._logs[board] = log
        self._children[board] = Child(command, log)

    def wait_started(self, timeout_s: float = START_S) -> None:
        """Wait until every board listens.

        Raises:
            BoardError: one ended while starting, with its last words, or did not start in time.
        """
        deadline = time.monotonic() + timeout_s
        while not all(READY in self.said(board) for board in self._children):
            self._check_alive()
            if time.monotonic() > deadline:
                late = [board for board in self._children if READY not in self.said(board)]
                raise BoardError(f"{', '.join(late)} did not start within {timeout_s:g} s")
            time.sleep(_POLL_S)

    def said(self, board: str) -> str:
        """What a board has written; reading must not move the position at which it writes."""
        return os.pread(self._logs[board].fileno(), 1 << 20, 0).decode("utf-8", "replace")

    def process_id(self, board: str) -> int:
        """The process of a board."""
        return self._children[board].id

    def _check_alive(self) -> None:
        for board, child in self._children.items():
            if child.status is not None:
                lines = self.said(board).strip().splitlines()
                last = lines[-1] if lines else "it said nothing"
                raise BoardError(f"{board} ended with status {child.status} while starting: {last}")

    def kill(self, board: str) -> None:
        """End a board as a power cut would."""
        self._children[board].kill()

    def stop(self) -> None:
        """End all boards."""
        for child in self._children.values():
            child.ask_to_end()  # all at once
        for child in self._children.values():
            child.end(_GRACE_S)
        for log in self._logs.values():
            log.close()


class LocalBoards:
    """A context in which a placement's boards run as processes of this machine.

    Args:
        bundle: what they run.
        cluster: where they listen; written to a file that they read.
        placement: ``"boards"`` or ``"one_board"``.
        slowdown: how many times slower each board is emulated, by name; ``None`` at full speed.
        as_described: with ``slowdown``, boards take for a segment what its plan and the cluster
            say, whatever this machine takes for it.
        keys: folder of `keras_concurrent.edge.link.keys.make_keys`, where the endpoints are
        ``tls``.
        in_flight: how many images may be asked for and not yet answered.

    Raises:
        BoardError: a board ended while starting; its last words are in the message.
    """

    def __init__(
        self,
        bundle: Bundle,
        cluster: Cluster,
        placement: str = "boards",
        slowdown: Mapping[str, float] | None = None,
        *,
        as_described: bool = False,
        keys: Path | None = None,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        self._bundle = bundle
        self._cluster = cluster
        self._placement = placement
        self._slowdown, self._as_described = slowdown, as_described
        self._keys = keys
        self._in_flight = in_flight
        self.processes = Processes()
        """The board processes."""

    def __enter__(self) -> LocalBoards:
        try:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                cluster_file = folder / "cluster.toml"
                cluster_file.write_text(self._cluster.to_toml(), encoding="utf-8")
                pace = None if self._slowdown is None else Medium.make(folder / "pace")
                for board in sorted(self._bundle.placement(self._placement).programs):
                    self._start(board, cluster_file, pace)
                # A session that still looks for boards takes seconds to close, so open it when
                # they listen.
                self.processes.wait_started()
                self.client = connect(
                    self._bundle,
                    self._cluster,
                    self._placement,
                    keys=self._keys,
                    pace=pace,
                    in_flight=self._in_flight,
                )
        except BaseException:
            self.processes.stop()
            raise
        return self

    def _start(self, board: str, cluster_file: Path, pace: Path | None) -> None:
        options: list[object] = ["--bundle", self._bundle.path, "--cluster", cluster_file]
        if self._keys is not None:
            options += ["--keys", self._keys]
        if self._slowdown is not None:
            options += ["--slowdown", repr(self._slowdown[board])]
            if self._as_described:
                options.append("--as-described")
        if pace is not None:
            options += ["--pace", pace]
        self.processes.start(board, options)

    def __exit__(self, *_: object) -> None:
        try:
            self.client.close()
        finally:
            self.processes.stop()


@contextlib.contextmanager
def answering(
    bundle: Bundle,
    cluster: Cluster,
    placement: str = "boards",
    *,
    local: bool = False,
    slowdown: Mapping[str, float] | None = None,
    as_described: bool = False,
    keys: Path | None = None,
    pace: Path | None = None,
    in_flight: int = IN_FLIGHT,
    ready: str = "all",
) -> Iterator[Client]:
    """A client whose boards are ready.

    Args:
        bundle: what the boards run.
        cluster: where they listen.
        placement: ``"boards"`` or ``"one_board"``.
        local: start them as processes of this machine and stop them afterwards; otherwise they
            must run already.
        slowdown: start them too, so many times slower, by name.
        as_described: see `LocalBoards`.
        keys: folder of keys, where the boards listen beyond loopback.
        pace: file of the emulated network in which the boards run already.
        in_flight: how many images may be asked for and not yet answered.
        ready: boards to wait for, see `keras_concurrent.edge.client.connect.connect`.
    """
    if local or slowdown is not None:
        started = LocalBoards(
            bundle, cluster, placement, slowdown,
            as_described=as_described, keys=keys, in_flight=in_flight,
        )  # fmt: skip
        with started as boards:
            yield boards.client
    else:
        running = connect(
            bundle, cluster, placement,
            keys=keys, pace=pace, in_flight=in_flight, ready=ready,
        )  # fmt: skip
        with running as client:
            yield client
