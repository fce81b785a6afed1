"""Goodput under overload: right answers in time, when twice as much is asked for as can be done.

What can be done at most is measured before and after, with as many images in flight as the client
may have and deadlines that do not matter. In between images come at a steady rate of twice that,
whether or not the ones before are answered, and each must be answered within a few times what a
single one takes, by the clock of whoever asks. This with four boards, after two were killed, and
with none left, when the client computes itself. All of it is one run, since what else the machine
does changes.

python benchmarks/overload.py          # two minutes
python benchmarks/overload.py --quick  # within a minute
"""

from __future__ import annotations

import argparse
import itertools
import logging
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from chaos import described
from distinct import References, distinct_bundle
from outcome import Section, Target, finish

from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.client.connect import connect
from keras_concurrent.edge.testbed.local_boards import Processes
from keras_concurrent.errors import BoardError

BOARDS = 4
PIXELS = 224
SLOWDOWN = 12.0
IN_FLIGHT = 8
LOAD = 2.0  # times what can be done
DEADLINE = 2.5  # times what a single image takes
SINGLES = 9
AT_LEAST = 0.8


@dataclass(frozen=True)
class Found:
    """What was measured of one state.

    Args:
        single_s: median latency of one image alone.
        most_per_s: images a second with as many in flight as may be, before and after.
        asked: how many came in the overload.
        in_time_per_s: of these, right answers within the deadline, a second.
        told_s: the longest that anyone waited for an answer or an error, in deadlines.
        wrong: answers of other images.
    """

    single_s: float
    most_per_s: float
    asked: int
    in_time_per_s: float
    told: float
    wrong: int

    @property
    def goodput(self) -> float:
        """Of what can be done."""
        return self.in_time_per_s / self.most_per_s


def most_per_s(client: Client, references: References, seconds: float) -> float:
    """Images a second when somebody always waits."""
    stopped = threading.Event()
    images = itertools.takewhile(lambda _: not stopped.is_set(), itertools.cycle(references.images))
    moments = []
    begun = time.monotonic()
    for _ in client.stream(images, deadline_s=60.0):
        moments.append(time.monotonic())
        if moments[-1] - begun > seconds:
            stopped.set()
    return (len(moments) - 1) / (moments[-1] - moments[0])


def measured(client: Client, references: References, seconds: float) -> Found:
    """One image at a time, as many as can be done, and twice that."""
    singles = []
    for index in range(SINGLES):
        start = time.monotonic()
        client.infer(references.images[index], deadline_s=60.0)
        singles.append(time.monotonic() - start)
    single_s = statistics.median(singles)
    most = most_per_s(client, references, seconds / 2)
    deadline_s = DEADLINE * single_s

    def ask(index: int) -> tuple[float, bool | None]:
        """How long it took, and whether it was right; ``None`` where there was no answer."""
        start = time.monotonic()
        try:
            answer = client.infer(references.images[index], deadline_s=deadline_s)
        except BoardError:
            return time.monotonic() - start, None
        return time.monotonic() - start, references.fits(index, answer)

    asked = int(LOAD * most * seconds)
    begun = time.monotonic()
    with ThreadPoolExecutor(int(2 * LOAD * most * deadline_s) + 4) as askers:
        futures = []
        for number in range(asked):
            time.sleep(max(0.0, begun + number / (LOAD * most) - time.monotonic()))
            futures.append(askers.submit(ask, number % len(references.images)))
        ended = [future.result() for future in futures]
    lasted_s = asked / (LOAD * most)
    most = (most + most_per_s(client, references, seconds / 2)) / 2
    in_time = sum(took_s <= deadline_s and right is True for took_s, right in ended)
    return Found(
        single_s, most, asked, in_time / lasted_s, max(took_s for took_s, _ in ended) / deadline_s,
        sum(right is False for _, right in ended),
    )  # fmt: skip


def main() -> None:
    """Measure the three states and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    seconds = 4.0 if options.quick else 20.0
    cluster = described(BOARDS)
    found = {}
    processes = Processes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = distinct_bundle(cluster, folder / "bundle", PIXELS)
        references = References.of(bundle)
        (folder / "cluster.toml").write_text(cluster.to_toml())
        words = ["--bundle", bundle.path, "--cluster", folder / "cluster.toml"]
        try:
            for board in cluster.boards:
                processes.start(board.name, [*words, "--slowdown", SLOWDOWN])
            processes.wait_started()
            with connect(bundle, cluster, in_flight=IN_FLIGHT) as client:
                lost = 0
                for state, losses in (("four boards", 0), ("two were killed", 2), ("none left", 4)):
                    for board in cluster.boards[lost:losses]:
                        processes.kill(board.name)
                    lost = losses
                    while len(client.absent) < lost:
                        time.sleep(0.02)
                    client.infer(references.images[0], deadline_s=60.0)
                    found[state] = measured(client, references, seconds)
        finally:
            processes.stop()
    rows = [
        (state, f"{f.single_s * 1e3:.1f}", f"{f.most_per_s:.1f}", f"{f.asked}",
         f"{f.in_time_per_s:.1f}", f"{f.goodput:.0%}", f"{f.told:.2f}")
        for state, f in found.items()
    ]  # fmt: skip
    targets = [
        Target(
            f"right answers in time at twice the load, {state}, of capacity", AT_LEAST, f.goodput
        )
        for state, f in found.items()
    ]
    targets.append(Target("wrong answers", 0, sum(f.wrong for f in found.values()), False))
    figures = {state: {**vars(f), "goodput": f.goodput} for state, f in found.items()}
    columns = (
        "", "one image, ms", "most, images/s", "asked for", "in time, images/s", "of most",
        "longest wait, deadlines",
    )  # fmt: skip
    title = f"Twice what can be done; deadline {DEADLINE:g} times one image's time"
    finish(Section(title, columns, rows, figures, targets), as_json=options.json)


if __name__ == "__main__":
    main()
