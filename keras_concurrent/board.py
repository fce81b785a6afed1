"""A board as a cluster file describes it."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, replace

from keras_concurrent.errors import ClusterError

CLIENT = "client"
"""Where images come from and answers go to; no board may have this name."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
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
        check_number(f"board {self.name!r}", "gflops_per_s", self.gflops_per_s, positive=True)
        check_number(f"board {self.name!r}", "call_ms", self.call_ms, positive=False)
        for key in ("memory_mb", "int8_gops_per_s"):
            value = getattr(self, key)
            if value is not None:
                check_number(f"board {self.name!r}", key, value, positive=True)
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


def check_number(where: str, key: str, value: object, *, positive: bool) -> None:
    """Raise ClusterError unless a value is a finite number, above 0 where it must be positive."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and (value > 0 or (value == 0 and not positive)) and value <= _MOST):  # type: ignore[operator] # a number, or not asked
        bound = "above 0" if positive else "0 or more"
        raise ClusterError(f"{where}: {key} must be a number {bound}, got {value!r}")
