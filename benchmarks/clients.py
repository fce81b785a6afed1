"""Ten clients of four boards, beside one client that has as many images in flight.

The boards are slowed down, so that they are what everybody waits for and not this machine. One
client and ten take turns within one run, since what else the machine does changes within minutes.
A client's share of what boards do is one tenth; so by Little's law an image of one that has one in
flight waits ten times as long as the boards take for one. Every answer is compared.

python benchmarks/clients.py          # two minutes
python benchmarks/clients.py --quick  # within a minute
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from chaos import described
from distinct import References, distinct_bundle
from outcome import Section, Target, finish

from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.client.connect import connect
from keras_concurrent.edge.testbed.local_boards import Processes

BOARDS, CLIENTS = 4, 10
SLOWDOWN = 20.0
WARM_UP_S = 0.5


@dataclass
class Asked:
    """What one client got in a round.

    Args:
        waits_s: of each image that was answered within the round.
        wrong: answers that were another image's.
    """

    waits_s: list[float] = field(default_factory=list)
    wrong: int = 0


def ask(client: Client, references: References, begin_s: float, end_s: float, asked: Asked) -> None:
    """Ask for one image after another; what ends within the round counts."""
    number = 0
    while (start := time.monotonic()) < end_s:
        index = number % len(references.images)
        number += 1
        answer = client.infer(references.images[index], deadline_s=60.0)
        now = time.monotonic()
        asked.wrong += not references.fits(index, answer)
        if begin_s <= now <= end_s:
            asked.waits_s.append(now - start)


def measured(clients: Sequence[Client], references: References, seconds: float) -> list[Asked]:
    """Ten threads ask, of one client or each of its own; what each got."""
    found = [Asked() for _ in range(CLIENTS)]
    begin_s = time.monotonic() + WARM_UP_S
    threads = [
        threading.Thread(
            target=partial(
                ask, clients[number % len(clients)], references, begin_s, begin_s + seconds, asked
            )
        )
        for number, asked in enumerate(found)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def main() -> None:
    """Measure in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    rounds, seconds = (2, 3.0) if options.quick else (6, 8.0)
    cluster = described(BOARDS)
    one_per_s, ten_per_s, longest, last_percent = [], [], [], []
    wrong = 0
    with tempfile.TemporaryDirectory() as name, ExitStack() as ends:
        folder = Path(name)
        bundle = distinct_bundle(cluster, folder / "bundle")
        references = References.of(bundle)
        (folder / "cluster.toml").write_text(cluster.to_toml())
        words = ["--bundle", bundle.path, "--cluster", folder / "cluster.toml"]
        processes = Processes()
        ends.callback(processes.stop)
        for board in cluster.boards:
            processes.start(board.name, [*words, "--slowdown", SLOWDOWN])
        processes.wait_started()
        one = ends.enter_context(connect(bundle, cluster, in_flight=CLIENTS))
        ten = [ends.enter_context(connect(bundle, cluster, in_flight=1)) for _ in range(CLIENTS)]
        for _ in range(rounds):
            alone = measured([one], references, seconds)
            each = measured(ten, references, seconds)
            wrong += sum(asked.wrong for asked in (*alone, *each))
            one_per_s.append(sum(len(asked.waits_s) for asked in alone) / seconds)
            ten_per_s.append(sum(len(asked.waits_s) for asked in each) / seconds)
            share_s = CLIENTS / ten_per_s[-1]
            means = [statistics.mean(asked.waits_s) for asked in each]
            longest.append(max(means) / share_s)
            waits = sorted(wait for asked in each for wait in asked.waits_s)
            last_percent.append(waits[int(0.99 * len(waits))] / share_s)
    ratios = [ten / one for ten, one in zip(ten_per_s, one_per_s, strict=True)]
    ratio = statistics.median(ratios)
    rows = [
        (f"{number}", f"{a:.1f}", f"{b:.1f}", f"{r:.2f}", f"{w:.2f}", f"{p:.2f}")
        for number, (a, b, r, w, p) in enumerate(
            zip(one_per_s, ten_per_s, ratios, longest, last_percent, strict=True), start=1
        )
    ]
    targets = [
        Target(f"throughput of {CLIENTS} clients, of one's with as many in flight", 0.9, ratio),
        Target("longest mean wait of a client, of its share", 2.0, max(longest), at_least=False),
        Target("wrong answers", 0, wrong, at_least=False),
    ]
    figures = {
        "one_per_s": one_per_s, "ten_per_s": ten_per_s, "ratios": ratios,
        "longest_mean_wait_of_share": longest, "p99_wait_of_share": last_percent,
    }  # fmt: skip
    columns = (
        "round", "one client, images/s", f"{CLIENTS} clients", "of it", "longest mean wait / share",
        "p99 / share",
    )  # fmt: skip
    title = f"{CLIENTS} clients on {BOARDS} boards, slowed down {SLOWDOWN:g} times"
    finish(Section(title, columns, rows, figures, targets), as_json=options.json)


if __name__ == "__main__":
    main()
