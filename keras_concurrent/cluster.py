"""The boards and the network between them, described in a TOML file.

::

    schema_version = 1

    [network]
    bandwidth_mbit_per_s = 1000.0   # of each board's interface, full duplex through a switch
    latency_ms = 0.2                # one way, on the wire
    message_ms = 0.4                # what the software adds to each message

    [[board]]
    name = "pi1"
    gflops_per_s = 3.7              # float32 convolutions, with the threads that it may use
    call_ms = 0.1                   # fixed cost of running one segment
    endpoint = "tcp/127.0.0.1:7447"

Units are in the names. A megabit is 1,000,000 bits.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
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

BOARD_GFLOPS_PER_S = {"pi3": 2.5, "pi4": 3.7}
"""Float32 rate of one thread: the table in XNNPACK's README gives MobileNet v1 (1.138 GFLOP) 114 ms
on a Raspberry Pi 3+ and 77 ms on a 64-bit Raspberry Pi 4 with four threads; divided by four."""

_FIRST_PORT = 7447
_MOST = sys.float_info.max


@dataclass(frozen=True)
class Board:
    """One board.

    Args:
        name: letters, digits, ``_ . -``; not ``"client"``.
        gflops_per_s: float32 rate with the threads that the board may use.
        endpoint: where it listens, as Zenoh writes it, such as ``tcp/192.168.1.11:7447``.
        call_ms: fixed cost of running one segment.

    Raises:
        ClusterError: a value out of range.
    """

    name: str
    gflops_per_s: float
    endpoint: str
    call_ms: float = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or self.name == CLIENT:
            raise ClusterError(
                "a board's name must be letters, digits, '_', '.' or '-' and not 'client', "
                f"got {self.name!r}"
            )
        _check_number(f"board {self.name!r}", "gflops_per_s", self.gflops_per_s, positive=True)
        _check_number(f"board {self.name!r}", "call_ms", self.call_ms, positive=False)
        if not isinstance(self.endpoint, str) or not re.fullmatch(
            r'(tcp|tls|quic)/[^\s"\\]+:\d+', self.endpoint
        ):
            raise ClusterError(
                f"board {self.name!r}: endpoint must look like 'tcp/192.168.1.11:7447', "
                f"got {self.endpoint!r}"
            )

    @property
    def flops_per_s(self) -> float:
        """Rate in operations a second."""
        return self.gflops_per_s * 1e9

    @property
    def call_s(self) -> float:
        """Fixed cost of running one segment, in seconds."""
        return self.call_ms / 1e3


@dataclass(frozen=True)
class Network:
    """The network: every board and the client have one full-duplex interface to a switch.

    Args:
        bandwidth_mbit_per_s: of each interface.
        latency_ms: one way, on the wire.
        message_ms: what the software adds to each message.

    Raises:
        ClusterError: a value out of range.
    """

    bandwidth_mbit_per_s: float
    latency_ms: float
    message_ms: float = 0.4

    def __post_init__(self) -> None:
        _check_number("network", "bandwidth_mbit_per_s", self.bandwidth_mbit_per_s, positive=True)
        _check_number("network", "latency_ms", self.latency_ms, positive=False)
        _check_number("network", "message_ms", self.message_ms, positive=False)

    @property
    def bytes_per_s(self) -> float:
        """Bandwidth in bytes a second."""
        return self.bandwidth_mbit_per_s * 1e6 / 8

    @property
    def wire_s(self) -> float:
        """Latency of the wire alone, in seconds."""
        return self.latency_ms / 1e3

    @property
    def latency_s(self) -> float:
        """From the last byte on the interface to the tensor in the receiver's hands, in seconds."""
        return (self.latency_ms + self.message_ms) / 1e3


@dataclass(frozen=True)
class Cluster:
    """Boards and their network.

    Args:
        boards: at least one, with different names and endpoints.
        network: between them.

    Raises:
        ClusterError: no board, or two with one name or endpoint.
    """

    boards: tuple[Board, ...]
    network: Network

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

    @property
    def fastest(self) -> Board:
        """The board of the highest rate; of equals, the first."""
        return max(self.boards, key=lambda board: board.flops_per_s)

    @classmethod
    def of(
        cls, kind: str, boards: int, link: str = "1gbit", ports: Sequence[int] | None = None
    ) -> Cluster:
        """A described cluster of equal boards on this machine's loopback.

        Args:
            kind: one of ``BOARD_GFLOPS_PER_S``.
            boards: how many.
            link: ``"1gbit"``, ``"100mbit"`` and the like, see `parse_link`.
            ports: one a board; by default from 7447 on.

        Raises:
            ValueError: an unknown kind, or a number below 1.
        """
        if kind not in BOARD_GFLOPS_PER_S:
            raise ValueError(f"kind must be one of {', '.join(BOARD_GFLOPS_PER_S)}, got {kind!r}")
        if boards < 1:
            raise ValueError(f"boards must be at least 1, got {boards!r}")
        rate = BOARD_GFLOPS_PER_S[kind]
        ports = range(_FIRST_PORT, _FIRST_PORT + boards) if ports is None else ports
        described = tuple(
            Board(f"{kind}-{i}", rate, f"tcp/127.0.0.1:{port}")
            for i, port in zip(range(1, boards + 1), ports, strict=True)
        )
        return cls(described, parse_link(link))

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
            boards = data.pop("board", [])
            if data:
                raise ClusterError(
                    "expected the keys schema_version, network and board, "
                    f"got {', '.join(sorted(data))}"
                )
            if network is None:
                raise ClusterError("a cluster must have a [network], got none")
            if not isinstance(boards, list):
                raise ClusterError("boards are written [[board]], with two brackets; got one")
            return cls(
                tuple(_build(Board, "[[board]]", board) for board in boards),
                _build(Network, "[network]", network),
            )
        except ClusterError as error:
            raise ClusterError(f"{path}: {error}") from None

    def to_toml(self) -> str:
        """The text of a file that `read` understands."""
        lines = [f"schema_version = {SCHEMA_VERSION}", "", "[network]", *_lines(self.network)]
        for board in self.boards:
            lines += ["", "[[board]]", *_lines(board)]
        return "\n".join(lines) + "\n"


def parse_link(link: str) -> Network:
    """A network from a short name: ``"1gbit"``, ``"100mbit"``, ``"20mbit"``.

    The wire's latency is 0.2 ms at a gigabit or more, otherwise 0.5 ms.

    Raises:
        ValueError: another form.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(mbit|gbit)", link.lower())
    if not match or not float(match.group(1)):
        raise ValueError(f"link must look like '1gbit' or '100mbit', got {link!r}")
    mbit = float(match.group(1)) * (1000 if match.group(2) == "gbit" else 1)
    return Network(mbit, 0.2 if mbit >= 1000 else 0.5)


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
        missing = sorted(known - set(data))
        raise ClusterError(f"{where} lacks {', '.join(missing)}") from error


def _lines(value: Any) -> list[str]:
    def text(item: object) -> str:
        return f'"{item}"' if isinstance(item, str) else f"{item}"

    return [f"{field.name} = {text(getattr(value, field.name))}" for field in fields(value)]
