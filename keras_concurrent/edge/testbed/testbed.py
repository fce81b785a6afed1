"""Emulated boards on this machine, for any command to use: a cluster before it is bought.

The boards are the real board program, empty until something is deployed to them, slowed down to
their rates and kept to their memory. Their links are paced, or with namespaces the kernel's own.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.link.keys import make_keys
from keras_concurrent.edge.link.pacing import Medium
from keras_concurrent.edge.testbed.local_boards import Processes, free_ports
from keras_concurrent.edge.testbed.namespaces import LATENCY_MS, Namespaces

_PORT = 7447


class Testbed:
    """A context in which emulated boards run.

    Args:
        cluster: the boards and their links. Where they listen is chosen anew.
        slowdown: how many times slower each board is, by name, see `slowdown_for` of
            `keras_concurrent.edge.testbed.local_boards`; ``None`` runs them at full speed.
        as_described: with ``slowdown``, boards take for a segment what its plan and the cluster
            say, whatever this machine takes for it.
        namespaces: give each participant a kernel link of its own; needs Linux and root.

    Raises:
        BoardError: a board ended while starting; its last words are in the message.
        TransportError: no namespaces can be had.
        ValueError: a shared medium, or links of their own, with namespaces.
    """

    __test__ = False  # pytest, this is no test

    def __init__(
        self,
        cluster: Cluster,
        slowdown: Mapping[str, float] | None,
        *,
        as_described: bool = False,
        namespaces: bool = False,
    ) -> None:
        names = [board.name for board in cluster.boards]
        self._slowdown, self._as_described = slowdown, as_described
        self.namespaces: Namespaces | None = None
        """The kernel's links, if those are used."""
        if namespaces:
            if cluster.network.shared or cluster.links:
                raise ValueError(
                    "namespaces have one rate for all interfaces: leave out the shared medium and "
                    "[[link]], or --namespaces"
                )
            mbit_per_s = cluster.network.bandwidth_mbit_per_s
            self.namespaces = Namespaces([*names, CLIENT], mbit_per_s)
            endpoints = [f"tls/{self.namespaces.addresses[name]}:{_PORT}" for name in names]
            network = replace(cluster.network, latency_ms=LATENCY_MS)
        else:
            endpoints = [f"tcp/127.0.0.1:{port}" for port in free_ports(len(names))]
            network = cluster.network
        boards = tuple(
            replace(board, endpoint=endpoint)
            for board, endpoint in zip(cluster.boards, endpoints, strict=True)
        )
        self.cluster = replace(cluster, boards=boards, network=network)
        """The boards, where they listen."""
        self.processes = Processes()
        """The boards' processes."""
        self._folder = tempfile.TemporaryDirectory(prefix="keras_concurrent-")
        self.folder = Path(self._folder.name)
        """Holds cluster.toml, keys, the boards' stores and the file of the paced network."""
        self.cluster_file = self.folder / "cluster.toml"
        """The cluster file of the boards."""
        self.pace = None if namespaces else Medium.make(self.folder / "pace")
        """The file that participants of the paced network share."""

    def __enter__(self) -> Testbed:
        try:
            self.cluster_file.write_text(self.cluster.to_toml(), encoding="utf-8")
            if self.namespaces is not None:
                make_keys(self.cluster, self.folder / "keys")
                self.namespaces.__enter__()
            for board in self.cluster.boards:
                self.start(board.name)
            self.processes.wait_started()
        except BaseException:
            self._end()
            raise
        return self

    def start(self, board: str) -> None:
        """Start a board, also one that has ended."""
        options: list[object] = ["--cluster", self.cluster_file, "--store", self.folder / board]
        options.append("--emulate-memory")
        if self._slowdown is not None:
            options += ["--slowdown", repr(self._slowdown[board])]
            if self._as_described:
                options.append("--as-described")
        if self.pace is not None:
            options += ["--pace", self.pace]
        within = self.namespaces.within(board) if self.namespaces else ()
        self.processes.start(board, options, within)

    def run(self, command: Sequence[str]) -> int:
        """Run a command as the client, to its end; its status.

        It finds the cluster file and the paced network in its environment.
        """
        environment = {**os.environ, "KERAS_CONCURRENT_CLUSTER": str(self.cluster_file)}
        if self.pace is not None:
            environment["KERAS_CONCURRENT_PACE"] = str(self.pace)
        within = self.namespaces.within(CLIENT) if self.namespaces else ()
        return subprocess.run([*within, *command], env=environment).returncode

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self.processes.stop()
        if self.namespaces is not None:
            self.namespaces.__exit__()
        self._folder.cleanup()
