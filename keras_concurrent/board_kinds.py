"""Boards that people own, and clusters made of them before a board has been bought.

Rates are of convolutions on one thread, in float32 and in int8:

- ``pi3`` and ``pi4``: the table in XNNPACK's README gives MobileNet v1 (1.138 GFLOP) 114 ms, in
  int8 46 ms, on a Raspberry Pi 3+, and 77 and 24 ms on a 64-bit Raspberry Pi 4, with four threads;
  divided by four.
- ``pi5``: the ``pi4``'s, times what Linpack gains from one to the other: 30.249 against 11.433
  GFLOP/s in the table of github.com/geerlingguy/top500-benchmark (BCM2712 at 2.4 GHz, BCM2711 at
  1.5 GHz). Its int8 dot products, which the ``pi4`` lacks, are not counted.
- ``zero2w``: the ``pi3``'s, at 1.0 instead of 1.4 GHz: both have Cortex-A53 cores.

Memory is that of the smallest model sold, less 256 MB for the system, Python and the interpreter.
``keras-concurrent profile`` replaces all of it by what the boards really do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from keras_concurrent.cluster import Board, Cluster, Network

_FIRST_PORT = 7447
_WIFI_LATENCY_MS = 2.0


class BoardKind(NamedTuple):
    """A board's rates and its megabytes for weights and tensors."""

    gflops_per_s: float
    int8_gops_per_s: float
    memory_mb: float


BOARD_KINDS = {
    "zero2w": BoardKind(1.8, 4.4, 256.0),
    "pi3": BoardKind(2.5, 6.2, 768.0),
    "pi4": BoardKind(3.7, 11.9, 768.0),
    "pi5": BoardKind(9.8, 31.4, 1792.0),
}


def described(
    kind: str, boards: int, link: str = "1gbit", ports: Sequence[int] | None = None
) -> Cluster:
    """A cluster of equal boards on this machine's loopback.

    Args:
        kind: one of ``BOARD_KINDS``.
        boards: how many.
        link: ``"1gbit"``, ``"100mbit"``, ``"54mbit-wifi"`` and the like, see `parse_link`.
        ports: one a board; by default from 7447 on.

    Raises:
        ValueError: an unknown kind, or a number below 1.
    """
    if kind not in BOARD_KINDS:
        raise ValueError(f"kind must be one of {', '.join(BOARD_KINDS)}, got {kind!r}")
    if boards < 1:
        raise ValueError(f"boards must be at least 1, got {boards!r}")
    found = BOARD_KINDS[kind]
    ports = range(_FIRST_PORT, _FIRST_PORT + boards) if ports is None else ports
    names = (f"{kind}-{i}" for i in range(1, boards + 1))
    return Cluster(
        tuple(
            Board(
                name,
                found.gflops_per_s,
                f"tcp/127.0.0.1:{port}",
                memory_mb=found.memory_mb,
                int8_gops_per_s=found.int8_gops_per_s,
            )
            for name, port in zip(names, ports, strict=True)
        ),
        parse_link(link),
    )


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
