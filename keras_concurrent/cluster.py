"""The boards and the network between them, described in a TOML file.

::

    schema_version = 1

    [network]
    bandwidth_mbit_per_s = 1000.0   # of each board's interface
    latency_ms = 0.2                # one way, on the wire
    message_ms = 0.4                # what the software adds to each message
    medium = "switch"               # full duplex; "shared": one message at a time, as on WiFi

    [[board]]
    name = "pi1"
    gflops_per_s = 3.7              # float32 convolutions, with the threads that it may use
    int8_gops_per_s = 11.9          # the same in int8; without it, as many as in float32
    call_ms = 0.1                   # fixed cost of running one segment
    memory_mb = 768.0               # for weights and tensors; without it, as much as they need
    endpoint = "tcp/127.0.0.1:7447"

    [[link]]                        # a pair that the network's figures do not fit
    between = ["pi1", "pi2"]        # "client" is a name too
    bandwidth_mbit_per_s = 90.0
    latency_ms = 1.5

Units are in the names. A megabit is 1,000,000 bits, a megabyte 1,000,000 bytes.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from keras_concurrent.errors import ClusterError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - Python 3.10
    import tomli as tomllib

SCHEMA_VERSION = 1
CLIENT = "client"
"""Where images come from and answers go to; no board may have this name."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

MEDIA = ("switch", "shared")
_MOST = sys.float_info.max


@dataclass(frozen=True)
class Board:
    """One board.

    Args:
        name: letters, digits, ``_ . -``; not ``"client"``.
        gflops_per_s: float32 rate with the threads that the board may use.
        endpoint: where it listens, as Zenoh writes it, such as ``tcp/192.168.1.11:7447``.
        call_ms: fixed cost of running one segment.
        memory_mb: megabytes for weights and tensors, what the system and the interpreter need
            already taken off; ``None`` where there is enough.
        int8_gops_per_s: rate of operators that read and write int8 alone; ``None``: as float32's.

    Raises:
        ClusterError: a value out of range.
    """

    name: str
    gflops_per_s: float
    endpoint: str
    call_ms: float = 0.1
    memory_mb: float | None = None
    int8_gops_per_s: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or self.name == CLIENT:
            raise ClusterError(
                "a board's name must be letters, digits, '_', '.' or '-' and not 'client', "
                f"got {self.name!r}"
            )
        _check_number(f"board {self.name!r}", "gflops_per_s", self.gflops_per_s, positive=True)
        _check_number(f"board {self.name!r}", "call_ms", self.call_ms, positive=False)
        for key in ("memory_mb", "int8_gops_per_s"):
            value = getattr(self, key)
            if value is not None:
                _check_number(f"board {self.name!r}", key, value, positive=True)
        if not isinstance(self.endpoint, str) or not re.fullmatch(
            r'(tcp|tls|quic)/[^\s"\\]+:\d+', self.endpoint
        ):
            raise ClusterError(
                f"board {self.name!r}: endpoint must look like 'tcp/192.168.1.11:7447', "
                f"got {self.endpoint!r}"
            )

    @property
    def flops_per_s(self) -> float:
        """Float32 rate in operations a second."""
        return self.gflops_per_s * 1e9

    @property
    def int8_ops_per_s(self) -> float:
        """Int8 rate in operations a second."""
        return self.flops_per_s if self.int8_gops_per_s is None else self.int8_gops_per_s * 1e9

    def seconds(self, flops: float, int8_flops: float = 0) -> float:
        """How long it computes: ``flops`` operations, ``int8_flops`` of them in int8."""
        return (flops - int8_flops) / self.flops_per_s + int8_flops / self.int8_ops_per_s

    def faster(self, times: float) -> Board:
        """The same board, so many times as fast."""
        int8 = None if self.int8_gops_per_s is None else times * self.int8_gops_per_s
        return replace(self, gflops_per_s=times * self.gflops_per_s, int8_gops_per_s=int8)

    @property
    def call_s(self) -> float:
        """Fixed cost of running one segment, in seconds."""
        return self.call_ms / 1e3

    @property
    def memory_bytes(self) -> float:
        """Bytes for weights and tensors; infinite where nothing is said."""
        return math.inf if self.memory_mb is None else self.memory_mb * 1e6


@dataclass(frozen=True)
class Network:
    """The network: every board and the client have one interface.

    Args:
        bandwidth_mbit_per_s: of each interface; of the medium, where that is shared.
        latency_ms: one way, on the wire.
        message_ms: what the software adds to each message.
        medium: ``"switch"``: interfaces are full duplex, messages of different senders do not hold
            each other up. ``"shared"``: there is one message at a time, as on WiFi.

    Raises:
        ClusterError: a value out of range.
    """

    bandwidth_mbit_per_s: float
    latency_ms: float
    message_ms: float = 0.4
    medium: str = "switch"

    def __post_init__(self) -> None:
        _check_number("network", "bandwidth_mbit_per_s", self.bandwidth_mbit_per_s, positive=True)
        _check_number("network", "latency_ms", self.latency_ms, positive=False)
        _check_number("network", "message_ms", self.message_ms, positive=False)
        if self.medium not in MEDIA:
            raise ClusterError(
                f"network: medium must be one of {', '.join(MEDIA)}, got {self.medium!r}"
            )

    @property
    def shared(self) -> bool:
        """Whether all messages share one medium."""
        return self.medium == "shared"


@dataclass(frozen=True)
class Link:
    """What lies between two boards, or a board and the client, where it is not the usual.

    Args:
        between: their names; the figures hold in both directions.
        bandwidth_mbit_per_s: between them.
        latency_ms: one way, on the wire.

    Raises:
        ClusterError: a value out of range, or not two different names.
    """

    between: tuple[str, str]
    bandwidth_mbit_per_s: float
    latency_ms: float

    def __post_init__(self) -> None:
        names = self.between
        if (
            not isinstance(names, (list, tuple))
            or len(names) != 2
            or not all(isinstance(name, str) for name in names)
            or names[0] == names[1]
        ):
            raise ClusterError(f"link: between must be two different names, got {names!r}")
        object.__setattr__(self, "between", tuple(names))  # TOML has lists
        where = f"link between {names[0]} and {names[1]}"
        _check_number(where, "bandwidth_mbit_per_s", self.bandwidth_mbit_per_s, positive=True)
        _check_number(where, "latency_ms", self.latency_ms, positive=False)


@dataclass(frozen=True)
class Cluster:
    """Boards and their network.

    Args:
        boards: at least one, with different names and endpoints.
        network: between them.
        links: pairs that the network's figures do not fit.

    Raises:
        ClusterError: no board, two with one name or endpoint, or a link of a board that is not
            there, or two links of one pair.
    """

    boards: tuple[Board, ...]
    network: Network
    links: tuple[Link, ...] = ()

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

    @cached_property
    def _link_of(self) -> dict[tuple[str, str], Link]:
        ways = ((link, link.between) for link in self.links)
        return {pair: link for link, (a, b) in ways for pair in ((a, b), (b, a))}

    def bytes_per_s(self, sender: str, receiver: str) -> float:
        """Bandwidth from one to another."""
        return self._between(sender, receiver).bandwidth_mbit_per_s * 1e6 / 8

    def wire_s(self, sender: str, receiver: str) -> float:
        """Latency of the wire alone from one to another, in seconds."""
        return self._between(sender, receiver).latency_ms / 1e3

    def latency_s(self, sender: str, receiver: str) -> float:
        """From a message's last byte on the interface to the receiver's hands, in seconds."""
        return (self._between(sender, receiver).latency_ms + self.network.message_ms) / 1e3

    def _between(self, sender: str, receiver: str) -> Link | Network:
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
        cls, kind: str, boards: int, link: str = "1gbit", ports: Sequence[int] | None = None
    ) -> Cluster:
        """A described cluster of equal boards, see `keras_concurrent.board_kinds.described`."""
        from keras_concurrent.board_kinds import described

        return described(kind, boards, link, ports)

    @classmethod
    def read(cls, path: str | Path) -> Cluster:
        """Read a TOML file.

        Raises:
            ClusterError: the file cannot be read, or describes no cluster.
        """
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ClusterError(f"cannot read {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ClusterError(f"{path} is no TOML file: {error}") from error
        try:
            version = data.pop("schema_version", None)
            if type(version) is not int or version != SCHEMA_VERSION:
                raise ClusterError(f"schema_version must be {SCHEMA_VERSION}, got {version!r}")
            network = data.pop("network", None)
            tables = {key: data.pop(key, []) for key in ("board", "link")}
            if data:
                raise ClusterError(
                    "expected the keys schema_version, network, board and link, "
                    f"got {', '.join(sorted(data))}"
                )
            if network is None:
                raise ClusterError("a cluster must have a [network], got none")
            for key, listed in tables.items():
                if not isinstance(listed, list):
                    raise ClusterError(f"{key}s are written [[{key}]], with two brackets; got one")
            return cls(
                tuple(_build(Board, "[[board]]", board) for board in tables["board"]),
                _build(Network, "[network]", network),
                tuple(_build(Link, "[[link]]", link) for link in tables["link"]),
            )
        except ClusterError as error:
            raise ClusterError(f"{path}: {error}") from None

    def to_toml(self) -> str:
        """The text of a file that `read` understands."""
        lines = [f"schema_version = {SCHEMA_VERSION}", "", "[network]", *_lines(self.network)]
        for board in self.boards:
            lines += ["", "[[board]]", *_lines(board)]
        for link in self.links:
            lines += ["", "[[link]]", *_lines(link)]
        return "\n".join(lines) + "\n"


def _check_number(where: str, key: str, value: object, *, positive: bool) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and (value > 0 or (value == 0 and not positive)) and value <= _MOST):  # type: ignore[operator] # a number, or not asked
        bound = "above 0" if positive else "0 or more"
        raise ClusterError(f"{where}: {key} must be a number {bound}, got {value!r}")


def _build(kind: Any, where: str, data: object) -> Any:
    if not isinstance(data, dict):
        raise ClusterError(f"{where} must be a table, got {data!r}")
    known = {field.name for field in fields(kind)}
    unknown = sorted(set(data) - known)
    if unknown:
        raise ClusterError(
            f"{where} has the unknown key {unknown[0]!r}; it takes {', '.join(sorted(known))}"
        )
    try:
        return kind(**data)
    except TypeError as error:
        missing = sorted(
            f.name for f in fields(kind) if f.default is MISSING and f.name not in data
        )
        raise ClusterError(f"{where} lacks {', '.join(missing)}") from error


def _lines(value: Any) -> list[str]:
    def text(item: object) -> str:
        return json.dumps(item) if isinstance(item, (str, tuple)) else f"{item}"

    found = ((field.name, getattr(value, field.name)) for field in fields(value))
    return [f"{name} = {text(item)}" for name, item in found if item is not None]
