"""Board processes on this machine, started and stopped together."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from keras_concurrent.board import READY
from keras_concurrent.bundle import Bundle
from keras_concurrent.client import IN_FLIGHT, Client, connect
from keras_concurrent.cluster import CLIENT, Cluster
from keras_concurrent.emulation import Pacer
from keras_concurrent.errors import BoardError
from keras_concurrent.keys import keys_of
from keras_concurrent.transport import ZenohChannel

_POLL_S = 0.02


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on at the moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]


class LocalBoards:
    """A context in which a placement's boards run as processes of this machine.

    Args:
        bundle: what they run.
        cluster: where they listen; written to a file that they read.
        placement: ``"boards"`` or ``"one_board"``.
        slowdown: of each board by name, to emulate it; ``None`` runs at full speed.
        keys: folder of `keras_concurrent.keys.make_keys`, where the endpoints are ``tls``.
        in_flight: see `keras_concurrent.client.Client`.

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
        keys: Path | None = None,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        self._keys = keys
        self._in_flight = in_flight
        self._bundle = bundle
        self._cluster = cluster
        self._placement = placement
        self._slowdown = slowdown
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, IO[bytes]] = {}

    def __enter__(self) -> LocalBoards:
        try:
            with tempfile.TemporaryDirectory() as folder:
                cluster_file = Path(folder) / "cluster.toml"
                cluster_file.write_text(self._cluster.to_toml(), encoding="utf-8")
                for board in sorted(self._bundle.placement(self._placement).programs):
                    self._start(board, cluster_file)
                self.client = self._connect()
        except BaseException:
            self._stop()
            raise
        return self

    def _start(self, board: str, cluster_file: Path) -> None:
        command = [
            sys.executable, "-m", "keras_concurrent", "board",
            "--name", board,
            "--bundle", str(self._bundle.path),
            "--cluster", str(cluster_file),
            "--until-stdin-closes",
        ]  # fmt: skip
        if self._keys is not None:
            command += ["--keys", str(self._keys)]
        if self._slowdown is not None:
            command += ["--slowdown", repr(self._slowdown[board])]
        log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _stop
        self._logs[board] = log
        # A session of its own keeps Ctrl-C from reaching it before this process has put things in
        # order; its standard input closes when this process ends, however it ends.
        self._processes[board] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )

    def _connect(self, timeout_s: float = 30.0) -> Client:
        boards = tuple(self._processes)
        deadline = time.monotonic() + timeout_s
        # A session that still looks for boards takes seconds to close, so open it when they listen.
        while not all(READY in self._said(board) for board in boards):
            self._check_alive()
            if time.monotonic() > deadline:
                late = ", ".join(board for board in boards if READY not in self._said(board))
                raise BoardError(f"{late} did not start within {timeout_s:g} s")
            time.sleep(_POLL_S)
        channel = ZenohChannel(CLIENT, self._cluster, keys_of(CLIENT, self._cluster, self._keys))
        pacer = Pacer(self._cluster, CLIENT) if self._slowdown is not None else None
        client = Client(
            self._bundle, self._cluster, channel, self._placement,
            pacer=pacer, in_flight=self._in_flight,
        )  # fmt: skip
        try:
            client.wait_ready(timeout_s)
        except BaseException:
            client.close()
            raise
        return client

    def _said(self, board: str) -> str:
        """What a board has written; reading must not move the position at which it writes."""
        return os.pread(self._logs[board].fileno(), 1 << 20, 0).decode("utf-8", "replace")

    def _check_alive(self) -> None:
        for board, process in self._processes.items():
            if process.poll() is not None:
                lines = self._said(board).strip().splitlines()
                last = lines[-1] if lines else "it said nothing"
                raise BoardError(
                    f"{board} ended with status {process.returncode} while starting: {last}"
                )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.client.__exit__(kind, error, trace)
        finally:
            self._stop()

    def _stop(self) -> None:
        for process in self._processes.values():
            if process.stdin:
                process.stdin.close()
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for log in self._logs.values():
            log.close()


@contextlib.contextmanager
def answering(
    bundle: Bundle,
    cluster: Cluster,
    placement: str = "boards",
    *,
    local: bool = False,
    slowdown: Mapping[str, float] | None = None,
    keys: Path | None = None,
    in_flight: int = IN_FLIGHT,
) -> Iterator[Client]:
    """A client whose boards are ready.

    Args:
        bundle: what the boards run.
        cluster: where they listen.
        placement: ``"boards"`` or ``"one_board"``.
        local: start them as processes of this machine and stop them afterwards; otherwise they
            must run already.
        slowdown: the same, emulating slower boards.
        keys: folder of keys, where the boards listen beyond loopback.
        in_flight: see `keras_concurrent.client.Client`.
    """
    if local or slowdown is not None:
        started = LocalBoards(bundle, cluster, placement, slowdown, keys=keys, in_flight=in_flight)
        with started as boards:
            yield boards.client
    else:
        with connect(bundle, cluster, placement, keys=keys, in_flight=in_flight) as client:
            yield client
