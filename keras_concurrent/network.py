"""What lies between boards and client, and the client's computer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from keras_concurrent.errors import ClusterError
from keras_concurrent.messaging import Messaging, check_number

MEDIA = ("switch", "shared")
_WIFI_LATENCY_MS = 2.0
SHARED_MEDIUM = "the shared medium"
LAPTOP_MESSAGE_MS, LAPTOP_MESSAGE_GB_PER_S = 0.1, 6.6
"""A client whose description does not say: a core as fast as that of `board_kinds`' server."""

SERVER_CORE_S = (LAPTOP_MESSAGE_MS / 1e3, 1 / (LAPTOP_MESSAGE_GB_PER_S * 1e9))
"""Processor seconds of a message on that core, and what each byte adds."""


@dataclass(frozen=True)
class Network:
    """The network: every board and the client have one interface.

    Args:
        bandwidth_mbit_per_s: of each interface; of the medium, where that is shared.
        latency_ms: one way, on the wire.
        medium: ``"switch"``: interfaces are full duplex, messages of different senders do not hold
            each other up. ``"shared"``: there is one message at a time, as on WiFi.

    Raises:
        ClusterError: a value out of range.
    """

    bandwidth_mbit_per_s: float
    latency_ms: float
    medium: str = "switch"

    def __post_init__(self) -> None:
        check_number("network", "bandwidth_mbit_per_s", self.bandwidth_mbit_per_s, positive=True)
        check_number("network", "latency_ms", self.latency_ms, positive=False)
        if self.medium not in MEDIA:
            raise ClusterError(
                f"network: medium must be one of {', '.join(MEDIA)}, got {self.medium!r}"
            )

    @property
    def shared(self) -> bool:
        """Whether all messages share one medium."""
        return self.medium == "shared"


@dataclass(frozen=True)
class ClientComputer(Messaging):
    """The computer that has the images and wants the answers.

    Args:
        message_ms: processor time of sending a message, or of taking one in, its bytes aside.
        message_gb_per_s: gigabytes of messages that it sends or takes in a second of that;
            ``None`` where ``message_ms`` says it all.
        encryption_gb_per_s: gigabytes that it encrypts or decrypts a second, where endpoints are
            ``tls``; ``None`` where that costs nothing.
        on: the board that the client is on; ``None``: on a computer of its own.

    Raises:
        ClusterError: a value out of range.
    """

    message_ms: float = LAPTOP_MESSAGE_MS
    message_gb_per_s: float | None = None
    encryption_gb_per_s: float | None = None
    on: str | None = None

    def __post_init__(self) -> None:
        self.check_messaging("client")
        if self.on is not None and not isinstance(self.on, str):
            raise ClusterError(f"client: on must be the name of a board, got {self.on!r}")


LAPTOP = ClientComputer(LAPTOP_MESSAGE_MS, LAPTOP_MESSAGE_GB_PER_S)
"""The client of a cluster that says nothing of it."""


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
        check_number(where, "bandwidth_mbit_per_s", self.bandwidth_mbit_per_s, positive=True)
        check_number(where, "latency_ms", self.latency_ms, positive=False)


def parse_link(link: str) -> Network:
    """A network from a short name: ``"1gbit"``, ``"100mbit"``, ``"54mbit-wifi"``.

    The wire's latency is 0.2 ms at a gigabit or more, otherwise 0.5 ms. WiFi is a shared medium
    with 2 ms; its bandwidth is what programs get, about half of what the box says.

    Raises:
        ValueError: another form.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(mbit|gbit)(-wifi)?", link.lower())
    if not match or not float(match.group(1)):
        raise ValueError(f"link must look like '1gbit', '100mbit' or '54mbit-wifi', got {link!r}")
    mbit = float(match.group(1)) * (1000 if match.group(2) == "gbit" else 1)
    if match.group(3):
        return Network(mbit, _WIFI_LATENCY_MS, medium="shared")
    return Network(mbit, 0.2 if mbit >= 1000 else 0.5)
