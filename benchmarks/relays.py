"""A hop: what a tensor costs on its way through a board, beside what the network alone costs.

A board relays tensors: one comes in, a segment of one operator runs, one goes out. Beside it, in
turns, the same bytes go over bare TCP, bare TLS and bare Zenoh between two processes. Warm, image
after image; and after a pause, since what sleeps takes long to wake.

A hop of ours is from when a tensor has come at one board to when the next one has come at the
following board, by the clock that processes of a machine share. A bare one is half a round trip.
Processor time is that of both ends together for one message, engine and segment included.

python benchmarks/relays.py
python benchmarks/relays.py --quick     # within a minute
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from bare_links import bare_peer
from outcome import Section, Target, finish

from keras_concurrent import Bundle, Cluster, TfliteFile
from keras_concurrent.board import CLIENT, Board
from keras_concurrent.edge.bundle import MODEL, digest
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.client.connect import connect
from keras_concurrent.edge.link.keys import make_keys
from keras_concurrent.edge.link.questions import Trace
from keras_concurrent.edge.manifest import WHOLE, Manifest, SegmentSpec, TensorSpec
from keras_concurrent.edge.placement import Event, Placement, Program, Send
from keras_concurrent.edge.testbed.local_boards import Processes, free_ports
from keras_concurrent.interpreter import quiet
from keras_concurrent.network import Network

SIZES = {"1 kB": 1_000, "100 kB": 100_000, "1 MB": 1_000_000}
PAUSE_S = 0.2
MOST_US = {"1 kB": 100.0, "100 kB": 130.0, "1 MB": 450.0}
BATCH = 50  # images whose traces boards still have


def relaying_bundle(size: int, cluster: Cluster, folder: Path) -> Bundle:
    """Two segments of one operator each, on two boards one after the other.

    Args:
        size: bytes of each of the three tensors.
        cluster: two boards.
        folder: the bundle's.
    """
    shape = (1, size // 4)
    file = _two_operators(shape)
    names = (*file.inputs, *file.operators[0].outputs, *file.outputs)
    files = {MODEL: file.data}
    segments = {WHOLE: _segment(file.data, MODEL, names[:1], names[2:])}
    for number in range(2):
        ends = names[number : number + 1], names[number + 1 : number + 2]
        content = file.cut([number], *ends)
        files[f"relay_{number}.tflite"] = content
        segments[f"relay_{number}"] = _segment(content, f"relay_{number}.tflite", *ends)
    first, second = (board.name for board in cluster.boards)
    boards = Placement(
        {
            first: Program(("relay_0",), (Send(names[1], second),)),
            second: Program(("relay_1",), (Send(names[2], CLIENT),)),
        },
        (Send(names[0], first),), 1e-3,
        (Event("run", "relay_0", first, 0.0, 4e-4), Event("run", "relay_1", second, 5e-4, 9e-4)),
    )  # fmt: skip
    alone = Placement(
        {first: Program((WHOLE,), (Send(names[2], CLIENT),))}, (Send(names[0], first),), 1e-3,
        (Event("run", WHOLE, first, 0.0, 9e-4),),
    )  # fmt: skip
    tensors = dict.fromkeys(names, TensorSpec(shape, "float32"))
    manifest = Manifest(
        names[:1], names[2:], tensors, segments, {"boards": boards, "one_board": alone}
    )
    return Bundle.write(folder, manifest, files)


@cache
def _two_operators(shape: tuple[int, ...]) -> TfliteFile:
    import tensorflow as tf

    signature = [tf.TensorSpec(shape, name="x")]
    function = tf.function(lambda x: -tf.abs(x), input_signature=signature)
    with quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [function.get_concrete_function()]
        )
        return TfliteFile(converter.convert(), "a relay")


def _segment(
    content: bytes, file: str, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> SegmentSpec:
    return SegmentSpec(file, digest(content), len(content), inputs, outputs)


@dataclass
class Found:
    """What was measured of one way to carry one size.

    Args:
        warm_us: of each message, one after another.
        paused_us: of each message that came after a pause.
        cpu_us: processor time of both ends, of each message of a round.
    """

    warm_us: list[float] = field(default_factory=list)
    paused_us: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


Way = Callable[[int, float, Found], None]
"""Carries so many messages, each after a pause, and notes what they took."""


@contextmanager
def ours(size: int, folder: Path, *, tls: bool) -> Iterator[Way]:
    """Two boards of this package, and the client that sends to the first and hears the second."""
    scheme = "tls" if tls else "tcp"
    cluster = Cluster(
        tuple(
            Board(f"b{i}", 1.0, f"{scheme}/127.0.0.1:{port}", call_ms=0.0)
            for i, port in enumerate(free_ports(2))
        ),
        Network(1e6, 0.0),
    )
    bundle = relaying_bundle(size, cluster, folder / "bundle")
    (folder / "cluster.toml").write_text(cluster.to_toml())
    keys = folder / "keys" if tls else None
    options: list[Any] = ["--bundle", bundle.path, "--cluster", folder / "cluster.toml"]
    if keys is not None:
        make_keys(cluster, keys)
        options += ["--keys", keys]
    processes = Processes()
    try:
        for board in cluster.boards:
            processes.start(board.name, options)
        processes.wait_started()
        ids = [processes.process_id(board.name) for board in cluster.boards]
        with connect(bundle, cluster, in_flight=1, keys=keys) as client:

            def carry(count: int, pause_s: float, found: Found) -> None:
                before = sum(map(cpu_s, ids))
                images = []
                for _ in range(count):
                    time.sleep(pause_s)
                    client.infer(np.full((1, size // 4), 0.5, np.float32))
                    images.append(client._dispatch.flights.last.image)
                after = sum(map(cpu_s, ids))
                hops_us = [_hop_us(client, image) for image in images[-BATCH:]]
                if pause_s:
                    found.paused_us += hops_us
                else:
                    found.warm_us += hops_us
                    found.cpu_us.append((after - before) / (2 * count) * 1e6)

            yield carry
    finally:
        processes.stop()


def _hop_us(client: Client, image: int) -> float:
    """From a tensor's arrival at the first board to the next one's at the second."""
    arrivals = [
        next(e.start_s for e in client.questions.ask(b, Trace(image)).events if e.kind == "arrival")
        for b in ("b0", "b1")
    ]
    return (arrivals[1] - arrivals[0]) * 1e6


@contextmanager
def bare(size: int, folder: Path, *, kind: str) -> Iterator[Way]:
    """Two processes that throw the same bytes to and fro."""
    with bare_peer(kind, size, folder) as (throw, peer):

        def carry(count: int, pause_s: float, found: Found) -> None:
            ids = (os.getpid(), peer)
            before = sum(map(cpu_s, ids))
            times_us = []
            for _ in range(count):
                if pause_s:
                    time.sleep(pause_s)
                start = time.perf_counter()
                throw()
                times_us.append((time.perf_counter() - start) / 2 * 1e6)
            after = sum(map(cpu_s, ids))
            if pause_s:
                found.paused_us += times_us
            else:
                found.warm_us += times_us
                found.cpu_us.append((after - before) / (2 * count) * 1e6)

        yield carry


def cpu_s(process: int) -> float:
    """Processor time of a process so far."""
    total = 0
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:  # the thread has ended
            continue
    return total / 1e9


WAYS = {
    "ours, TCP": lambda size, folder: ours(size, folder, tls=False),
    "bare TCP": lambda size, folder: bare(size, folder, kind="tcp"),
    "ours, TLS": lambda size, folder: ours(size, folder, tls=True),
    "bare TLS": lambda size, folder: bare(size, folder, kind="tls"),
    "bare Zenoh": lambda size, folder: bare(size, folder, kind="zenoh"),
}


def measure(folder: Path, size: int, rounds: int, pauses: int) -> dict[str, Found]:
    """All ways in turns, so that a loaded machine is so for all of them."""
    found = {name: Found() for name in WAYS}
    with ExitStack() as stack:
        ways = {}
        for number, (name, way) in enumerate(WAYS.items()):
            own = folder / f"{number}"
            own.mkdir()
            ways[name] = stack.enter_context(way(size, own))
        for carry in ways.values():
            carry(BATCH, 0.0, Found())  # the first are slower
        for _ in range(rounds):
            for name, carry in ways.items():
                carry(BATCH, 0.0, found[name])
        for name, carry in ways.items():
            carry(pauses, PAUSE_S, found[name])
    return found


def section(found: dict[str, dict[str, Found]]) -> Section:
    """The table, and what must be reached."""
    rows, figures, targets = [], {}, []
    for size, ways in found.items():
        middle = {name: statistics.median(one.warm_us) for name, one in ways.items()}
        paused = {name: statistics.median(one.paused_us) for name, one in ways.items()}
        for name, one in ways.items():
            p99, cpu = float(np.percentile(one.warm_us, 99)), statistics.median(one.cpu_us)
            rows.append((size, name, *(f"{v:.0f}" for v in (middle[name], p99, paused[name], cpu))))
            figures[f"{size}, {name}"] = {
                "median_us": middle[name], "p99_us": p99, "paused_us": paused[name], "cpu_us": cpu,
            }  # fmt: skip
        mine, tls = middle["ours, TCP"], middle["ours, TLS"]
        targets += [
            Target(f"hop of {size}, us", MOST_US[size], mine, False),
            Target(f"hop of {size}, of bare TCP", 1.8, mine / middle["bare TCP"], False),
            Target(f"hop of {size} with TLS, of bare TLS", 1.5, tls / middle["bare TLS"], False),
            Target(f"{size} after a pause, of warm", 1.3, paused["ours, TCP"] / mine, False),
        ]
    first = statistics.median(found["1 kB"]["ours, TCP"].cpu_us)
    targets.append(Target("processor time of a message of 1 kB, us", 60.0, first, False))
    columns = ("size", "way", "median us", "p99", "after a pause", "processor us")
    return Section("One hop", columns, rows, figures, targets)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    rounds, pauses = (3, 5) if options.quick else (20, 40)
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for number, (title, size) in enumerate(SIZES.items()):
            folder = Path(name) / f"size-{number}"
            folder.mkdir()
            found[title] = measure(folder, size, rounds, pauses)
    sys.stdout.flush()
    finish(section(found), as_json=options.json)


if __name__ == "__main__":
    main()
