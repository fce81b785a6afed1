"""A board as a cluster file describes it.

What a board takes for an operator is linear in what the operator does: its FLOPs at a rate, the
bytes of tensors and weights that it reads and writes at another, and a fixed cost. Fitted to the
four float32 networks of XNNPACK's table for the Raspberry Pi 4 it is within 1 % of each; one rate
alone is up to 37 % off (docs/boards.md). All figures are of the whole board, all its cores at work.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from keras_concurrent.errors import ClusterError
from keras_concurrent.messaging import Messaging, check_number

CLIENT = "client"
"""Where images come from and answers go to; no board may have this name."""

MESSAGE_MS = 0.5
"""What a message costs a board whose description does not say: a Raspberry Pi 4's, rounded."""

MOBILENET = (1_137_531_880, 57_855_952, 31)
"""MobileNet v1 at 224 pixels: FLOPs, bytes of its tensors and weights, operators."""

TENSOR_PORTS_ABOVE = 1000
"""How far above the ports of endpoints boards listen for tensors, where nothing else is said."""

_LAST_PORT = (1 << 16) - 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True)
class Board(Messaging):
    """One board.

    Args:
        name: letters, digits, ``_ . -``; not ``"client"``.
        gflops_per_s: rate of float32 operators with all its cores.
        endpoint: where it listens, as Zenoh writes it, such as ``tcp/192.168.1.11:7447``.
        call_ms: fixed cost of running one segment.
        memory_mb: megabytes for weights and tensors, what the system and the interpreter need
            already taken off; ``None`` where there is enough.
        int8_gops_per_s: rate of operators that read and write int8 alone; ``None``: as float32's.
        cores: how many threads the interpreter runs on; ``None``: as many as there are.
        tensor_gb_per_s: gigabytes of tensors and weights that operators read and write a second;
            ``None`` where the other rates say it all.
        operator_ms: fixed cost of an operator.
        message_ms: processor time of sending a message, or of taking one in, its bytes aside.
        message_gb_per_s: gigabytes of messages that it sends or takes in a second of that;
            ``None`` where ``message_ms`` says it all.
        encryption_gb_per_s: gigabytes that it encrypts or decrypts a second, where endpoints are
            ``tls``; ``None`` where that costs nothing.
        tensor_port: where it listens for tensors; ``None``: `TENSOR_PORTS_ABOVE` the endpoint's
            port, or as far below it where there is none above.

    Raises:
        ClusterError: a value out of range.
    """

    name: str
    gflops_per_s: float
    endpoint: str
    call_ms: float = 0.1
    memory_mb: float | None = None
    int8_gops_per_s: float | None = None
    cores: int | None = None
    tensor_gb_per_s: float | None = None
    operator_ms: float = 0.0
    message_ms: float = MESSAGE_MS
    message_gb_per_s: float | None = None
    encryption_gb_per_s: float | None = None
    tensor_port: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or self.name == CLIENT:
            raise ClusterError(
                "a board's name must be letters, digits, '_', '.' or '-' and not 'client', "
                f"got {self.name!r}"
            )
        check_number(f"board {self.name!r}", "gflops_per_s", self.gflops_per_s, positive=True)
        for key in ("call_ms", "operator_ms"):
            check_number(f"board {self.name!r}", key, getattr(self, key), positive=False)
        if self.cores is not None and (type(self.cores) is not int or self.cores < 1):
            raise ClusterError(
                f"board {self.name!r}: cores must be a whole number above 0, got {self.cores!r}"
            )
        if self.tensor_port is not None and (
            type(self.tensor_port) is not int or not 0 < self.tensor_port <= _LAST_PORT
        ):
            raise ClusterError(
                f"board {self.name!r}: tensor_port must be a port from 1 to {_LAST_PORT}, "
                f"got {self.tensor_port!r}"
            )
        for key in ("memory_mb", "int8_gops_per_s", "tensor_gb_per_s"):
            value = getattr(self, key)
            if value is not None:
                check_number(f"board {self.name!r}", key, value, positive=True)
        self.check_messaging(f"board {self.name!r}")
        if not isinstance(self.endpoint, str) or not re.fullmatch(
            r'(tcp|tls|quic)/[^\s"\\]+:\d+', self.endpoint
        ):
            raise ClusterError(
                f"board {self.name!r}: endpoint must look like 'tcp/192.168.1.11:7447', "
                f"got {self.endpoint!r}"
            )

    def seconds(
        self, flops: float, int8_flops: float = 0, tensor_bytes: float = 0, operators: float = 0
    ) -> float:
        """How long it computes.

        Args:
            flops: operations, those in int8 among them.
            int8_flops: those in int8.
            tensor_bytes: of tensors and weights that are read and written.
            operators: how many.
        """
        float_s, int8_s, byte_s, operator_s = self.costs_s
        return (
            (flops - int8_flops) * float_s
            + int8_flops * int8_s
            + tensor_bytes * byte_s
            + operators * operator_s
        )

    @property
    def costs_s(self) -> tuple[float, float, float, float]:
        """Seconds of a float32 operation, an int8 operation, a byte, and an operator."""
        int8 = self.gflops_per_s if self.int8_gops_per_s is None else self.int8_gops_per_s
        byte_s = 0.0 if self.tensor_gb_per_s is None else 1 / (self.tensor_gb_per_s * 1e9)
        return 1 / (self.gflops_per_s * 1e9), 1 / (int8 * 1e9), byte_s, self.operator_ms / 1e3

    @property
    def flops_per_s(self) -> float:
        """FLOPs a second in MobileNet v1, by which machines are compared with each other."""
        return MOBILENET[0] / self.seconds(MOBILENET[0], 0, *MOBILENET[1:])

    def faster(self, times: float) -> Board:
        """The same board, computing so many times as fast."""

        def scaled(rate: float | None) -> float | None:
            return None if rate is None else times * rate

        return replace(
            self,
            gflops_per_s=times * self.gflops_per_s,
            int8_gops_per_s=scaled(self.int8_gops_per_s),
            tensor_gb_per_s=scaled(self.tensor_gb_per_s),
            operator_ms=self.operator_ms / times,
        )

    @property
    def tensor_port_used(self) -> int:
        """The port where it listens for tensors."""
        if self.tensor_port is not None:
            return self.tensor_port
        return tensor_port_beside(int(self.endpoint.rsplit(":", 1)[1]))

    @property
    def call_s(self) -> float:
        """Fixed cost of running one segment, in seconds."""
        return self.call_ms / 1e3

    @property
    def memory_bytes(self) -> float:
        """Bytes for weights and tensors; infinite where nothing is said."""
        return math.inf if self.memory_mb is None else self.memory_mb * 1e6


def tensor_port_beside(port: int) -> int:
    """Where a board listens for tensors that says nothing of it, by the port of its endpoint."""
    above = port + TENSOR_PORTS_ABOVE
    return above if above <= _LAST_PORT else port - TENSOR_PORTS_ABOVE
