"""Boards that people own.

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

from typing import NamedTuple


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
