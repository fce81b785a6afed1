"""Boards killed, restarted, frozen and cut off at random under load; strangers; endurance.

Two clients ask at once. No answer may be wrong, no image without an answer or a named error by its
deadline. Times are from the fault to when every client has had a right answer to an image that it
asked for after it. Every image has an answer of its own, and each client plants a wrong one: who
does not see it has seen nothing.

python benchmarks/chaos.py --minutes 5
python benchmarks/chaos.py --quick     # within a minute
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import random
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cables import Cables
from distinct import References, distinct_bundle
from outcome import Section, Target, finish

from keras_concurrent import Cluster
from keras_concurrent.board import CLIENT, Board
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.client.connect import connect
from keras_concurrent.edge.client.flights import Outputs
from keras_concurrent.edge.link.frames import header
from keras_concurrent.edge.link.meeting import GREETING
from keras_concurrent.edge.link.protocol import (
    PROTOCOL_VERSION,
    Ask,
    Drop,
    Echo,
    Message,
    Probe,
    Tensor,
    encode,
)
from keras_concurrent.edge.link.questions import Offer, Ping, Route, Switch, Trace
from keras_concurrent.edge.link.zenoh_channel import TO
from keras_concurrent.edge.placement import Program
from keras_concurrent.edge.testbed.local_boards import Processes, free_ports
from keras_concurrent.errors import BoardError
from keras_concurrent.network import Network

BOARDS = 4
CLIENTS = 2
DEADLINE_S = 5.0
LATE_S = 0.25  # after its deadline an error may come, by the client's clock tick
IN_FLIGHT = 4
MOST_FAULTS = 2  # at a time
SETTLE_S = 1.5  # between faults, so that each has its own answer


def described(boards: int) -> Cluster:
    """Boards so slow, on a network so fast, that the plan uses them all."""
    ports = free_ports(boards)
    return Cluster(
        tuple(
            Board(f"b{i}", 0.01, f"tcp/127.0.0.1:{port}", call_ms=0.0, message_ms=0.0)
            for i, port in enumerate(ports)
        ),
        Network(1e6, 0.0),
    )


@dataclass
class Tally:
    """What became of the images."""

    references: References
    answered: int = 0
    wrong: int = 0
    planted: int = 0
    caught: int = 0
    errors: list[str] = field(default_factory=list)
    overdue: int = 0
    right: list[tuple[float, float]] = field(default_factory=list)  # asked, answered
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ended(self, done: Future[Outputs], index: int, planted: bool, asked: float) -> None:
        """An image has its answer or its error."""
        now = time.monotonic()
        with self.lock:
            self.overdue += now - asked > DEADLINE_S + LATE_S
            error = done.exception()
            if error is not None:
                self.errors.append(str(error))
                return
            self.answered += 1
            right = self.references.fits(index, done.result())
            self.planted += planted
            if planted:
                self.caught += not right
            elif right:
                self.right.append((asked, now))
            else:
                self.wrong += 1


def load(client: Client, tally: Tally, stopped: threading.Event) -> None:
    """Ask for images one after another, as many at a time as the client lets.

    Until one is answered, every 50th image is planted: the boards are fed the one after it.
    """
    images = tally.references.images
    number = 0
    while not stopped.is_set():
        index = number % len(images)
        number += 1
        planted = tally.planted == 0 and number % 50 == 0
        future = client.submit(images[(index + planted) % len(images)], deadline_s=DEADLINE_S)
        asked = time.monotonic()
        future.add_done_callback(partial(tally.ended, index=index, planted=planted, asked=asked))


def chaos(folder: Path, seconds: float, seed: int, clients: int) -> dict[str, Any]:
    """Faults at random under the load of several clients."""
    rng = random.Random(seed)
    cluster = described(BOARDS)
    bundle = distinct_bundle(cluster, folder / "bundle")
    references, stopped = References.of(bundle), threading.Event()
    tallies = [Tally(references) for _ in range(clients)]
    faults: list[tuple[str, str, float]] = []
    mend: list[tuple[float, str, Any]] = []
    names = [board.name for board in cluster.boards]
    processes = Processes()
    with Cables(cluster) as cables:

        def start(name: str) -> None:
            file = folder / f"{name}.toml"
            file.write_text(cables.seen_by(name).to_toml())
            processes.start(name, ["--bundle", bundle.path, "--cluster", file])

        try:
            for name in names:
                start(name)
            processes.wait_started()
            with contextlib.ExitStack() as ends:
                asking = [
                    ends.enter_context(connect(bundle, cables.seen_by(CLIENT), in_flight=IN_FLIGHT))
                    for _ in tallies
                ]
                workers = [
                    threading.Thread(target=load, args=(client, tally, stopped))
                    for client, tally in zip(asking, tallies, strict=True)
                ]
                for worker in workers:
                    worker.start()
                end = time.monotonic() + seconds
                next_fault = time.monotonic() + 1.0
                while time.monotonic() < end or mend:
                    now = time.monotonic()
                    for entry in [entry for entry in mend if entry[0] <= now or now >= end]:
                        mend.remove(entry)
                        _mend(entry[1], entry[2], processes, cables, start)
                    busy = {name for _, _, what in mend for name in np.ravel(what).tolist()}
                    if now >= next_fault and now < end and len(mend) < MOST_FAULTS:
                        next_fault = now + SETTLE_S + rng.random()
                        kind = rng.choice(("kill", "freeze", "cut"))
                        free = [name for name in names if name not in busy]
                        pairs = [p for p in cables.pairs if not busy & set(p)]
                        target: Any = rng.choice(pairs) if kind == "cut" else rng.choice(free)
                        faults.append((kind, str(target), time.monotonic()))
                        if kind == "kill":
                            processes.kill(target)
                        elif kind == "freeze":
                            os.kill(processes.process_id(target), signal.SIGSTOP)
                        else:
                            cables.cut(target)
                        mend.append((now + 1.0 + 2.0 * rng.random(), kind, target))
                    time.sleep(0.01)
                time.sleep(3.0)
                stopped.set()
                for worker in workers:
                    worker.join()
                begun = time.monotonic()
                back_s = max(_back(client, begun) for client in asking)
                for client in asking:
                    client.infer(references.images[0])
                time.sleep(LATE_S)  # what was asked for before is answered
        finally:
            processes.stop()
    return {
        **_recoveries(faults, tallies), "back_s": back_s, "tallies": tallies, "faults": len(faults)
    }  # fmt: skip


def _mend(kind: str, target: Any, processes: Processes, cables: Cables, start: Any) -> None:
    if kind == "kill":
        start(target)
    elif kind == "freeze":
        os.kill(processes.process_id(target), signal.SIGCONT)
    else:
        cables.cut(target, restore=True)


def _back(client: Client, begun: float) -> float:
    """Seconds until all boards are used again."""
    while client.absent and time.monotonic() < begun + 20:
        time.sleep(0.02)
    return time.monotonic() - begun


def _recoveries(faults: list[tuple[str, str, float]], tallies: list[Tally]) -> dict[str, Any]:
    found: dict[str, list[float]] = {"kill": [], "freeze": [], "cut": []}
    for kind, _, moment in faults:
        firsts = (
            min((answered for asked, answered in tally.right if asked >= moment),
                default=float("inf"))
            for tally in tallies
        )  # fmt: skip
        found[kind].append(max(firsts) - moment)
    return {"recovery_s": found}


def fuzz(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Malformed messages at a board, on both planes; whether it lives on, and how it complained."""
    import zenoh

    rng = random.Random(seed)
    cluster = described(1)
    bundle = distinct_bundle(cluster, folder / "fuzzed")
    references = References.of(bundle)
    (folder / "one.toml").write_text(cluster.to_toml())
    processes = Processes()
    tensors = sorted(bundle.manifest.tensors)

    def message() -> Message:
        session, number = rng.choice((0, 1, 1 << 62)), rng.randrange(9)
        route = Route(
            rng.randrange(3), bundle.sha256, Program((rng.choice(tensors),), ()), {}, (0,)
        )
        question = rng.choice((Ping(), Trace(number), route, Offer(), Switch()))
        tensor = Tensor(session, number, rng.randrange(3), rng.randrange(9))
        return rng.choice((
            tensor, Ask(session, number, question), Drop(session, number), Probe(session, number),
            Echo(session, number),
        ))  # fmt: skip

    def text() -> bytes:
        kind = rng.random()
        if kind < 0.3:
            return rng.randbytes(rng.randrange(64))
        if kind < 0.4:
            return b'{"Tensor":' * rng.randrange(1, 400)
        written = bytearray(encode(message())[0])
        if kind < 0.7:
            written[rng.randrange(len(written))] = rng.randrange(256)
        return bytes(written)

    try:
        processes.start("b0", ["--bundle", bundle.path, "--cluster", folder / "one.toml"])
        processes.wait_started()
        config = zenoh.Config()
        config.insert_json5("connect/endpoints", f'["{cluster.boards[0].endpoint}"]')
        config.insert_json5("scouting/multicast/enabled", "false")
        begun = time.monotonic()
        with zenoh.open(config) as session:
            for number in range(count):
                name = rng.choice(("client", "b1", "stranger"))
                session.put(
                    f"{TO}/b0/{name}",
                    rng.randbytes(rng.randrange(40)),
                    attachment=text() if rng.random() < 0.95 else None,
                    congestion_control=zenoh.CongestionControl.BLOCK,
                )
                if number % 1000 == 0:
                    time.sleep(0.02)  # the board looks at one after another
        _fuzz_direct(rng, cluster.boards[0].tensor_port_used, count // 10)
        with connect(bundle, cluster) as client:
            alive = references.fits(0, client.infer(references.images[0]))
        lines = [line for line in processes.said("b0").splitlines() if "WARNING" in line]
    finally:
        processes.stop()
    return {
        "messages": count,
        "alive": bool(alive),
        "complaints": len(lines),
        "said_twice": len(lines) - len({line.split("WARNING", 1)[1] for line in lines}),
        "seconds": time.monotonic() - begun,
    }


def _fuzz_direct(rng: random.Random, port: int, count: int) -> None:
    """Connections to where tensors come: greeted or not, then frames with wrong bytes."""
    for _ in range(count):
        name = rng.choice(("client", "b1", "stranger", ""))
        said = bytearray(GREETING.pack(b"kcTL", PROTOCOL_VERSION, name.encode(), b"b0") + b"!")
        if rng.random() < 0.2:
            said = bytearray(rng.randbytes(rng.randrange(200)))
        for _ in range(rng.randrange(9)):
            frame = bytearray(header(Tensor(1, rng.randrange(9), rng.randrange(3), 0), 8))
            frame[rng.randrange(len(frame))] = rng.randrange(256)
            said += frame + rng.randbytes(8)
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port)) as stranger,
        ):
            stranger.sendall(said)


def endurance(folder: Path, count: int) -> dict[str, Any]:
    """Memory growth of a board over many images in a row, each answer compared."""
    cluster = described(2)
    bundle = distinct_bundle(cluster, folder / "endured")
    (folder / "two.toml").write_text(cluster.to_toml())
    references = References.of(bundle)
    processes = Processes()
    try:
        for board in cluster.boards:
            options = ["--bundle", bundle.path, "--cluster", folder / "two.toml"]
            processes.start(board.name, options)
        processes.wait_started()
        with connect(bundle, cluster, in_flight=IN_FLIGHT) as client:

            def send(number: int, planted: int | None = None) -> list[int]:
                """Ask for images, instead of one for the next; whose answers are wrong."""
                images = references.images
                asked = ((i + (i == planted)) % len(images) for i in range(number))
                answers = client.stream(images[index] for index in asked)
                return [i for i, a in enumerate(answers) if not references.fits(i % len(images), a)]

            def resident() -> dict[str, int]:
                return {b.name: _resident(processes.process_id(b.name)) for b in cluster.boards}

            wrong = send(max(500, count // 10))
            before = resident()
            begun = time.monotonic()
            wrong += send(count)
            seconds = time.monotonic() - begun
            after = resident()
            caught = send(20, planted=7) == [7]
    finally:
        processes.stop()
    growth = max(after[name] - before[name] for name in before)
    return {
        "images": count, "growth_bytes": growth, "images_per_s": count / seconds,
        "wrong": len(wrong), "caught": caught,
    }  # fmt: skip


def _resident(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise BoardError(f"process {process} has ended")


def main() -> None:
    """Run the three parts and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="of faults")
    parser.add_argument("--clients", type=int, default=CLIENTS, help="that ask at once")
    parser.add_argument("--seed", type=int, default=0, help="of faults and messages")
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    seconds = 15.0 if options.quick else options.minutes * 60
    logging.disable(logging.WARNING)  # losses are what this is about
    with tempfile.TemporaryDirectory() as name:
        found = chaos(Path(name), seconds, options.seed, options.clients)
        fuzzed = fuzz(Path(name), 5_000 if options.quick else 100_000, options.seed)
        endured = endurance(Path(name), 500 if options.quick else 10_000)
    tallies, recovery_s = found["tallies"], found["recovery_s"]
    answered = [tally.answered for tally in tallies]
    errors = [error for tally in tallies for error in tally.errors]
    wrong, overdue = sum(t.wrong for t in tallies), sum(t.overdue for t in tallies)
    rows = [
        ("clients at once", f"{len(tallies)}"),
        ("images answered, by client", ", ".join(f"{count:,}" for count in answered)),
        ("named errors", f"{len(errors):,}"),
        *(
            (f"{kind}: {len(times)} times, median and longest",
             f"{statistics.median(times):.2f} s, {max(times):.2f} s")
            for kind, times in recovery_s.items() if times
        ),
        ("all boards used again", f"{found['back_s']:.2f} s after the last fault"),
        ("malformed messages", f"{fuzzed['messages']:,} in {fuzzed['seconds']:.0f} s"),
        ("complaints in the board's log", f"{fuzzed['complaints']}"),
        (f"{endured['images']:,} images in a row", f"{endured['growth_bytes'] / 1e6:.2f} MB more"),
        ("at", f"{endured['images_per_s']:.0f} images/s"),
    ]  # fmt: skip
    targets = [
        Target("wrong answers", 0, wrong + endured["wrong"], at_least=False),
        Target(
            "planted wrong answers caught under faults, of each client",
            1,
            min(t.caught for t in tallies),
        ),
        Target("planted wrong answers caught in a row", 1, endured["caught"]),
        Target("images past their deadline", 0, overdue, at_least=False),
        Target("right answer after a kill, s", 1.0, max(recovery_s["kill"], default=0.0), False),
        Target("right answer after a cut link, s", 2.0, max(recovery_s["cut"], default=0.0), False),
        Target("a board lives on after malformed messages", 1, fuzzed["alive"]),
        Target("complaints said twice", 0, fuzzed["said_twice"], at_least=False),
        Target("memory growth of a board, MB", 5.0, endured["growth_bytes"] / 1e6, False),
    ]
    figures = {
        "seconds": seconds, "faults": found["faults"], "recovery_s": recovery_s,
        "answered": answered, "errors": errors, "back_s": found["back_s"],
        "fuzz": fuzzed, "endurance": endured,
    }  # fmt: skip
    sys.stdout.flush()
    section = Section("Boards under attack", ("", ""), rows, figures, targets)
    finish(section, as_json=options.json)


if __name__ == "__main__":
    main()
