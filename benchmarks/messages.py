"""What a message takes of a processor: of this machine's, and of an emulated Pi 4's.

The first is measured as `keras-concurrent profile` does it: by the processor time of boards that
hand on images, and by probes of their links for what a byte takes. A described Pi 4 has that of a
server's core times five (see `keras_concurrent.board_kinds` for the sources), and an emulated one
sleeps for the difference: what that adds to a probe's way is what it really takes. As in
`benchmarks/boards.py` all that is emulated takes four times as long, and is divided by four.

python benchmarks/messages.py          # a minute
python benchmarks/messages.py --quick  # fewer rounds
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from boards import DILATION
from outcome import Section, Target, finish
from relays import relaying_bundle

from keras_concurrent import Cluster
from keras_concurrent.edge.client.connect import connect
from keras_concurrent.edge.link.answers import LinkFigures
from keras_concurrent.edge.testbed.dilation import dilated
from keras_concurrent.edge.testbed.local_boards import LocalBoards, free_ports
from keras_concurrent.edge.testbed.testbed import Testbed
from keras_concurrent.edge.watch.messaging import with_messaging
from keras_concurrent.edge.watch.survey import link_of

KIND = "pi4"
SLOWER = 5.0
"""How many times slower a Pi 4's core is at this."""

SIZES = (1_000, 100_000, 1_000_000)


def measured(size: int, rounds: int, folder: Path) -> float:
    """Processor seconds of a message of a size at a board of this machine as it is; the least."""
    cluster = Cluster.of(KIND, 2, "1gbit", free_ports(2))
    bundle = relaying_bundle(size, cluster, folder)
    with LocalBoards(bundle, cluster) as boards:
        found = [with_messaging(boards.client, bundle, cluster, []) for _ in range(rounds)]
    return min(each.message_s(board.name, 0) for each in found for board in cluster.boards)


def paced(
    cluster: Cluster, slowdown: Mapping[str, float] | None, rounds: int, folder: Path
) -> list[LinkFigures]:
    """What boards with paced links find, several times."""
    with Testbed(cluster, slowdown) as testbed:
        one, other = (board.name for board in testbed.cluster.boards)
        bundle = relaying_bundle(1000, testbed.cluster, folder)
        with connect(bundle, testbed.cluster, pace=testbed.pace, ready="none") as client:
            client.reach([one, other])
            return [link_of(client, one, other) for _ in range(rounds)]


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    cluster = Cluster.of(KIND, 2, "1gbit", free_ports(2))
    one = cluster.boards[0].name
    slow = dilated(cluster, DILATION)
    unslowed = {board.name: 1.0 for board in cluster.boards}  # but for their messages
    rounds = 5 if options.quick else 25
    with tempfile.TemporaryDirectory() as name:
        here = {size: measured(size, rounds, Path(name) / f"here_{size}") for size in SIZES}
        free = paced(slow, None, rounds, Path(name) / "free")
        emulated = paced(slow, unslowed, rounds, Path(name) / "emulated")

    def least(figures: list[LinkFigures], size: int) -> float:
        """The quickest way of a message."""
        return min(each.one_way_s + size / each.bytes_per_s for each in figures)

    rows, targets, found = [], [], {}
    for size, spent_s in here.items():
        described_s = cluster.message_s(one, size)
        probe_s = statistics.median(f.message_s + size * f.message_byte_s for f in free)
        # Half of what a probe's way grows by is each end's, beside what it takes as it is.
        stretched_s = (probe_s + (least(emulated, size) - least(free, size)) / 2) / DILATION
        gap = abs(stretched_s / (SLOWER * spent_s) - 1)
        rows.append((
            f"{size:,}", f"{spent_s * 1e6:.0f}", f"{SLOWER * spent_s * 1e6:.0f}",
            f"{described_s * 1e6:.0f}", f"{stretched_s * 1e6:.0f}", f"{gap:.0%}",
        ))  # fmt: skip
        found[str(size)] = {
            "here_s": spent_s,
            "described_s": described_s,
            "stretched_s": stretched_s,
        }
        targets.append(
            Target(
                f"gap between stretched and {SLOWER:g} times measured, {size:,} bytes", 0.1, gap,
                at_least=False,
            )
        )  # fmt: skip
    section = Section(
        f"A message at one of its ends, us (emulated {KIND})",
        ("bytes", "here", f"x {SLOWER:g}", "described", "stretched", "gap"),
        rows,
        found,
        targets,
    )
    finish(section, as_json=options.json)


if __name__ == "__main__":
    main()
