"""Boards that people own, all their cores at work, and what one of their cores does alone.

Rates follow from published latencies, fitted to the cost model of `keras_concurrent.board`:

- ``pi4`` and ``pi3``: the multi-threaded table of XNNPACK's README (8 February 2022, a Raspberry Pi
  4 on 64 bits, a 3+), MobileNet v1, v2, v3 large and v3 small in float32, MobileNet v1 and v2 in
  int8; least squares of the relative gap.
- ``pi5``: the ``pi4``'s, times what Linpack gains from one to the other: 30.249 against 11.433
  GFLOP/s in the table of github.com/geerlingguy/top500-benchmark (BCM2712 at 2.4 GHz, BCM2711 at
  1.5 GHz). Its int8 rate, with dot products that the ``pi4`` lacks: MobileNet v1 in 8.74 ms, by
  ncnn's benchmark (github.com/Tencent/ncnn, benchmark/README.md).
- ``zero2w``: the ``pi3``'s, times what ncnn's benchmark tells of MobileNet v1 on four threads: 163
  against 109 ms in float32, 91 against 67 in int8.
- ``n5105``, an Intel Celeron of small PCs, for x86: ncnn's benchmark on four threads, MobileNet v1,
  v2, v3 large and EfficientNetB0 in float32, MobileNet v1 in int8, which ncnn does no faster there.
  Nobody has published networks' latencies on an N100, which has AVX2 that an N5105 lacks.

One core alone (`ONE_CORE`) is not a whole board divided by its cores, and only ncnn has published
it: the same four networks in float32 on one thread, MobileNet v1 in int8, fitted likewise. What an
operator costs at least is left as on the whole board, so that one core is never the quicker. But
ncnn's Pi 5 computes in half precision: its float32 rates are the ``pi4``'s times what Linpack
gains, as for the whole board.

docs/boards.md holds these predictions beside what others published of them.

What a message takes of a board is what it takes of a server's core (`benchmarks/messages.py`: 0.1
ms at each of its ends, and a gigabyte in 0.15 s), times how much slower the board's core is:

- ``pi4``: 5 times. Python's n-body program of 5 million steps, 158 s on a Pi 4 in Python 3.7
  (chaitanyamehta.github.io/projects/performance-analysis-of-programming-languages), takes 27 s on
  that core in Python 3.11, which is about a quarter quicker than 3.7 at such loops. 7-zip says 2.2
  (1,750 against 3,800 MIPS on one core): a message is interpreted code and calls of the system
  rather than compression, so the larger factor is used.
- All others: the ``pi4``'s, times what 7-zip says on one core in sbc-bench's results
  (github.com/ThomasKaiser/sbc-bench): zero2w 838, pi3 1,076, pi4 1,750, pi5 3,200, n5105 3,059.

Encryption without AES instructions is the Pi 4's 55 MB a second in ChaCha20 (erlang_quic, issue
296), others by 7-zip; with them the server core's 0.87 GB a second, by its factor.

Memory is that of the smallest model sold (4 GB for the ``n5105``), less 256 MB for the system,
Python and the interpreter. ``keras-concurrent profile`` replaces all rates by what the boards
really do.
"""

from __future__ import annotations

from typing import NamedTuple


class BoardKind(NamedTuple):
    """A board's rates and its megabytes for weights and tensors, see `keras_concurrent.Cluster`."""

    cores: int
    gflops_per_s: float
    int8_gops_per_s: float
    tensor_gb_per_s: float | None
    operator_ms: float
    memory_mb: float
    message_ms: float
    message_gb_per_s: float
    encryption_gb_per_s: float

    def on_one_core(self, rates: CoreRates) -> BoardKind:
        """The same board, of which one core computes."""
        return self._replace(cores=1, **rates._asdict())


class CoreRates(NamedTuple):
    """The rates of one core, the others idle, see `keras_concurrent.Cluster`."""

    gflops_per_s: float
    int8_gops_per_s: float
    tensor_gb_per_s: float


BOARD_KINDS = {
    "zero2w": BoardKind(4, 7.9, 19.8, 1.85, 0.0, 256.0, 1.04, 0.64, 0.026),
    "pi3": BoardKind(4, 11.9, 26.9, 2.77, 0.0, 768.0, 0.81, 0.82, 0.034),
    "pi4": BoardKind(4, 16.2, 51.1, 11.4, 0.0437, 768.0, 0.5, 1.3, 0.055),
    "pi5": BoardKind(4, 42.9, 147.0, 30.2, 0.0165, 1792.0, 0.27, 2.4, 0.32),
    "n5105": BoardKind(4, 36.9, 28.7, 16.2, 0.0, 3840.0, 0.29, 2.3, 0.3),
}

ONE_CORE = {
    "zero2w": CoreRates(3.49, 4.24, 0.77),
    "pi3": CoreRates(6.03, 6.55, 1.78),
    "pi4": CoreRates(9.31, 14.1, 5.2),
    "pi5": CoreRates(24.6, 88.3, 13.8),
    "n5105": CoreRates(11.8, 7.58, 6.38),
}
