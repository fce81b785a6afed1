"""The boards and the network between them, described in a TOML file.

::

    schema_version = 1

    [network]
    bandwidth_mbit_per_s = 1000.0   # of each board's interface
    latency_ms = 0.2                # one way, on the wire
    medium = "switch"               # full duplex; "shared": one message at a time, as on WiFi

    [[board]]
    name = "pi1"
    cores = 4                       # threads of the interpreter
    gflops_per_s = 16.2             # float32 operators, with all its cores
    int8_gops_per_s = 51.1          # the same in int8; without it, as many as in float32
    tensor_gb_per_s = 11.4          # bytes of tensors and weights that operators read and write
    operator_ms = 0.044             # fixed cost of an operator
    call_ms = 0.1                   # fixed cost of running one segment
    message_ms = 0.5                # processor time of a message, at either end
    message_gb_per_s = 1.3          # bytes of messages that it sends or takes in a second of that
    encryption_gb_per_s = 0.055     # likewise encrypted, where endpoints are tls
    memory_mb = 768.0               # for weights and tensors; without it, as much as they need
    endpoint = "tcp/127.0.0.1:7447"

    [client]                        # the computer that has the images; without it, a laptop
    message_ms = 0.1
    message_gb_per_s = 6.6
    on = "pi1"                      # or: the client is one of the boards, say with the camera

    [[link]]                        # a pair that the network's figures do not fit
    between = ["pi1", "pi2"]        # "client" is a name too
    bandwidth_mbit_per_s = 90.0
    latency_ms = 1.5

Units are in the names. A megabit is 1,000,000 bits, a megabyte 1,000,000 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from keras_concurrent.board import CLIENT, Board
from keras_concurrent.board_kinds import BOARD_KINDS, ONE_CORE
from keras_concurrent.cluster_file import FILE, built, lines_of, read_tables
from keras_concurrent.errors import ClusterError
from keras_concurrent.network import (
    LAPTOP,
    SHARED_MEDIUM,
    ClientComputer,
    Link,
    Network,
    parse_link,
)

_FIRST_PORT = 7447


@dataclass(frozen=True)
class Cluster:
    """Boards and their network.

    Args:
        boards: at least one, with different names and endpoints.
        network: between them.
        links: pairs that the network's figures do not fit.
        client: the computer that has the images.

    Raises:
        ClusterError: no board, two with one name or endpoint, or a link or the client of a board
            that is not there, or two links of one pair.
    """

    boards: tuple[Board, ...]
    network: Network
    links: tuple[Link, ...] = ()
    client: ClientComputer = LAPTOP

    def __post_init__(self) -> None:
        if not self.boards:
            raise ClusterError("a cluster must have at least one [[board]], got none")
        for what in ("name", "endpoint"):
            seen: set[str] = set()
            for board in self.boards:
                value = getattr(board, what)
                if value in seen:
                    raise ClusterError(f"boards must differ in {what}, got {value!r} twice")
                seen.add(value)
        known = {CLIENT, *(board.name for board in self.boards)}
        if len(self._link_of) < 2 * len(self.links):
            raise ClusterError("links must differ in the pair that they are between")
        for link in self.links:
            for name in link.between:
                if name not in known:
                    raise ClusterError(
                        f"link between {' and '.join(link.between)}: no board is named {name!r}"
                    )

        if self.client.on is not None and self.client.on not in known - {CLIENT}:
            raise ClusterError(f"client: no board is named {self.client.on!r}, which it is on")

    @cached_property
    def _link_of(self) -> dict[tuple[str, str], Link]:
        ways = ((link, link.between) for link in self.links)
        return {pair: link for link, (a, b) in ways for pair in ((a, b), (b, a))}

    def bytes_per_s(self, sender: str, receiver: str) -> float:
        """Bandwidth from one to another; infinite within one machine."""
        if self._together(sender, receiver):
            return math.inf
        return self._between(sender, receiver).bandwidth_mbit_per_s * 1e6 / 8

    def latency_s(self, sender: str, receiver: str) -> float:
        """From a message's last byte on the interface to the receiver, in seconds."""
        if self._together(sender, receiver):
            return 0.0
        return self._between(sender, receiver).latency_ms / 1e3

    def interface(self, sender: str) -> str:
        """What a sender's messages queue for: its own interface, or what it shares with others."""
        if self.network.shared:
            return SHARED_MEDIUM
        return sender if sender != CLIENT or self.client.on is None else self.client.on

    def message_costs_s(self, place: str) -> tuple[float, float]:
        """Processor seconds of a message at a board or the client, and what each byte adds."""
        return self._message_costs_s[place]

    def message_s(self, place: str, size: int) -> float:
        """Processor seconds of a message of so many bytes at a board or the client."""
        fixed_s, byte_s = self._message_costs_s[place]
        return fixed_s + size * byte_s

    @cached_property
    def _message_costs_s(self) -> dict[str, tuple[float, float]]:
        encrypted = any(board.endpoint.startswith("tls/") for board in self.boards)
        costs = {b.name: b.message_costs_s(encrypted=encrypted) for b in self.boards}
        own = self.client.on
        costs[CLIENT] = (
            self.client.message_costs_s(encrypted=encrypted) if own is None else costs[own]
        )
        return costs

    def _together(self, sender: str, receiver: str) -> bool:
        return self.client.on is not None and {sender, receiver} == {CLIENT, self.client.on}

    def _between(self, sender: str, receiver: str) -> Link | Network:
        own = self.client.on
        if own is not None:  # whatever leaves it leaves its board
            sender, receiver = (own if name == CLIENT else name for name in (sender, receiver))
        return self._link_of.get((sender, receiver), self.network)

    def board(self, name: str) -> Board:
        """The board of a name.

        Raises:
            ClusterError: there is none.
        """
        for board in self.boards:
            if board.name == name:
                return board
        known = ", ".join(board.name for board in self.boards)
        raise ClusterError(f"no board is named {name!r}; the cluster has {known}")

    @classmethod
    def of(
        cls,
        kind: str,
        boards: int,
        link: str = "1gbit",
        ports: Sequence[int] | None = None,
        cores: int | None = None,
    ) -> Cluster:
        """A described cluster of equal boards, see `described`."""
        return described(kind, boards, link, ports, cores)

    @classmethod
    def read(cls, path: str | Path) -> Cluster:
        """Read a TOML file.

        Raises:
            ClusterError: the file cannot be read, or describes no cluster.
        """
        tables = read_tables(path)
        client = tables["client"]
        try:
            return cls(
                tuple(built(Board, "[[board]]", board) for board in tables["board"]),
                built(Network, "[network]", tables["network"]),
                tuple(built(Link, "[[link]]", link) for link in tables["link"]),
                LAPTOP if client is None else built(ClientComputer, "[client]", client),
            )
        except ClusterError as error:
            raise ClusterError(f"{path}: {error}") from None

    def to_toml(self) -> str:
        """The text of a file that `read` understands."""
        lines = [FILE.to_toml_line(), "", "[network]", *lines_of(self.network)]
        for board in self.boards:
            lines += ["", "[[board]]", *lines_of(board)]
        lines += ["", "[client]", *lines_of(self.client)]
        for link in self.links:
            lines += ["", "[[link]]", *lines_of(link)]
        return "\n".join(lines) + "\n"


def described(
    kind: str,
    boards: int,
    link: str = "1gbit",
    ports: Sequence[int] | None = None,
    cores: int | None = None,
) -> Cluster:
    """A cluster of equal boards on this machine's loopback.

    Args:
        kind: one of ``BOARD_KINDS``.
        boards: how many.
        link: ``"1gbit"``, ``"100mbit"``, ``"54mbit-wifi"`` and the like, see `parse_link`.
        ports: one a board; by default from 7447 on.
        cores: that compute on each board: all, or 1. One core of a board is no board that anyone
            would use; it is there for comparisons, and the boards' names say so: ``pi4-1core-2``.

    Raises:
        ValueError: an unknown kind, a number below 1, or cores of which nothing is published.
    """
    if kind not in BOARD_KINDS:
        raise ValueError(f"kind must be one of {', '.join(BOARD_KINDS)}, got {kind!r}")
    if boards < 1:
        raise ValueError(f"boards must be at least 1, got {boards!r}")
    described_kind, prefix = BOARD_KINDS[kind], kind
    if cores not in (None, described_kind.cores):
        if cores != 1:
            known = " or ".join(map(str, sorted({1, described_kind.cores})))
            raise ValueError(f"cores of a {kind} must be {known}, got {cores!r}")
        described_kind, prefix = described_kind.on_one_core(ONE_CORE[kind]), f"{kind}-1core"
    figures = described_kind._asdict()
    ports = range(_FIRST_PORT, _FIRST_PORT + boards) if ports is None else ports
    names = (f"{prefix}-{i}" for i in range(1, boards + 1))
    return Cluster(
        tuple(
            Board(name=name, endpoint=f"tcp/127.0.0.1:{port}", **figures)
            for name, port in zip(names, ports, strict=True)
        ),
        parse_link(link),
    )
