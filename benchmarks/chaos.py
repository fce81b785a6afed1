"""Boards killed, restarted, frozen and cut off at random under load; strangers; endurance.

No answer may be wrong, no image without an answer or a named error by its deadline. Times are from
the fault to the first right answer to an image that was asked for after it.

python benchmarks/chaos.py --minutes 5
python benchmarks/chaos.py --quick     # within a minute
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from outcome import Section, Target, finish
from relays import Relays

from keras_concurrent import (
    Bundle,
    Cluster,
    TfliteFile,
    build_model,
    export_bundle,
    generate,
    stage,
    to_tflite,
)
from keras_concurrent.board import CLIENT, Board
from keras_concurrent.cluster import Network
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.client.connect import connect
from keras_concurrent.edge.link.protocol import Ask, Drop, Echo, Message, Probe, Tensor, encode
from keras_concurrent.edge.link.questions import Offer, Ping, Route, Switch, Trace
from keras_concurrent.edge.link.zenoh_channel import TO
from keras_concurrent.edge.manifest import Program
from keras_concurrent.edge.testbed.local_boards import Processes, free_ports
from keras_concurrent.edge.watch.bench import random_images, reference
from keras_concurrent.errors import BoardError

BOARDS = 4
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
            Board(f"b{i}", 0.01, f"tcp/127.0.0.1:{port}", call_ms=0.0)
            for i, port in enumerate(ports)
        ),
        Network(1e6, 0.0, 0.0),
    )


def bundle_for(cluster: Cluster, folder: Path) -> Bundle:
    """A small network, cut for the boards."""
    architecture = stage(generate("lanes", 16, seed=1), (32, 32, 3), 10, filters=16, seed=1)
    return export_bundle(TfliteFile(to_tflite(build_model(architecture))), cluster, folder)


@dataclass
class Tally:
    """What became of the images."""

    answered: int = 0
    wrong: int = 0
    errors: list[str] = field(default_factory=list)
    overdue: int = 0
    right: list[tuple[float, float]] = field(default_factory=list)  # asked, answered
    lock: threading.Lock = field(default_factory=threading.Lock)


def load(client: Client, images: list[Any], expected: list[Any], tally: Tally,
         stopped: threading.Event) -> None:  # fmt: skip
    """Ask for images one after another, as many at a time as the client lets."""
    number = 0
    while not stopped.is_set():
        index = number % len(images)
        number += 1
        future = client.submit(images[index], deadline_s=DEADLINE_S)
        asked = time.monotonic()

        def ended(done: Future[Any], index: int = index, asked: float = asked) -> None:
            now = time.monotonic()
            with tally.lock:
                tally.overdue += now - asked > DEADLINE_S + LATE_S
                error = done.exception()
                if error is not None:
                    tally.errors.append(str(error))
                    return
                tally.answered += 1
                right = all(
                    np.array_equal(value, expected[index][name])
                    for name, value in done.result().items()
                )
                tally.wrong += not right
                if right:
                    tally.right.append((asked, now))

        future.add_done_callback(ended)


def chaos(folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Faults at random under load."""
    rng = random.Random(seed)
    cluster = described(BOARDS)
    bundle = bundle_for(cluster, folder / "bundle")
    images = random_images(bundle, 20)
    expected = reference(bundle, images)
    tally, stopped = Tally(), threading.Event()
    faults: list[tuple[str, str, float]] = []
    mend: list[tuple[float, str, Any]] = []
    names = [board.name for board in cluster.boards]
    processes = Processes()
    with Relays(cluster) as relays:

        def start(name: str) -> None:
            file = folder / f"{name}.toml"
            file.write_text(relays.seen_by(name).to_toml())
            processes.start(name, ["--bundle", bundle.path, "--cluster", file])

        try:
            for name in names:
                start(name)
            processes.wait_started()
            client = connect(bundle, relays.seen_by(CLIENT), in_flight=IN_FLIGHT)
            with client:
                worker = threading.Thread(
                    target=load, args=(client, images, expected, tally, stopped)
                )
                worker.start()
                end = time.monotonic() + seconds
                next_fault = time.monotonic() + 1.0
                while time.monotonic() < end or mend:
                    now = time.monotonic()
                    for entry in [entry for entry in mend if entry[0] <= now or now >= end]:
                        mend.remove(entry)
                        _mend(entry[1], entry[2], processes, relays, start)
                    busy = {name for _, _, what in mend for name in np.ravel(what).tolist()}
                    if now >= next_fault and now < end and len(mend) < MOST_FAULTS:
                        next_fault = now + SETTLE_S + rng.random()
                        kind = rng.choice(("kill", "freeze", "cut"))
                        free = [name for name in names if name not in busy]
                        pairs = [p for p in relays.pairs if not busy & set(p)]
                        target: Any = rng.choice(pairs) if kind == "cut" else rng.choice(free)
                        faults.append((kind, str(target), time.monotonic()))
                        if kind == "kill":
                            processes.kill(target)
                        elif kind == "freeze":
                            os.kill(processes.process_id(target), signal.SIGSTOP)
                        else:
                            relays.cut(target)
                        mend.append((now + 1.0 + 2.0 * rng.random(), kind, target))
                    time.sleep(0.01)
                time.sleep(3.0)
                stopped.set()
                worker.join()
                back_s = _back(client, time.monotonic())
                client.infer(images[0])
                time.sleep(LATE_S)  # what was asked for before is answered
        finally:
            processes.stop()
    return {**_recoveries(faults, tally), "back_s": back_s, "tally": tally, "faults": len(faults)}


def _mend(kind: str, target: Any, processes: Processes, relays: Relays, start: Any) -> None:
    if kind == "kill":
        start(target)
    elif kind == "freeze":
        os.kill(processes.process_id(target), signal.SIGCONT)
    else:
        relays.cut(target, restore=True)


def _back(client: Client, begun: float) -> float:
    """Seconds until all boards are used again."""
    while client.absent and time.monotonic() < begun + 20:
        time.sleep(0.02)
    return time.monotonic() - begun


def _recoveries(faults: list[tuple[str, str, float]], tally: Tally) -> dict[str, Any]:
    found: dict[str, list[float]] = {"kill": [], "freeze": [], "cut": []}
    for kind, _, moment in faults:
        answers = [answered for asked, answered in tally.right if asked >= moment]
        found[kind].append(min(answers, default=float("inf")) - moment)
    return {"recovery_s": found}


def fuzz(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Malformed messages at a board; whether it lives on, and how often it complained."""
    import zenoh

    rng = random.Random(seed)
    cluster = described(1)
    bundle = bundle_for(cluster, folder / "fuzzed")
    (folder / "one.toml").write_text(cluster.to_toml())
    processes = Processes()
    tensors = sorted(bundle.manifest.tensors)

    def message() -> Message:
        session, number = rng.choice((0, 1, 1 << 62)), rng.randrange(9)
        route = Route(rng.randrange(3), bundle.sha256, Program((rng.choice(tensors),), ()), (0,))
        question = rng.choice((Ping(), Trace(number), route, Offer(), Switch()))
        tensor = Tensor(session, number, rng.randrange(3), rng.choice(tensors[:9]))
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
        with connect(bundle, cluster) as client:
            image = random_images(bundle, 1)[0]
            alive = np.array_equal(
                next(iter(client.infer(image).values())),
                next(iter(reference(bundle, [image])[0].values())),
            )
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


def endurance(folder: Path, count: int) -> dict[str, Any]:
    """Memory growth of a board over many images in a row."""
    cluster = described(2)
    bundle = bundle_for(cluster, folder / "endured")
    (folder / "two.toml").write_text(cluster.to_toml())
    images = random_images(bundle, 20)
    processes = Processes()
    try:
        for board in cluster.boards:
            options = ["--bundle", bundle.path, "--cluster", folder / "two.toml"]
            processes.start(board.name, options)
        processes.wait_started()
        with connect(bundle, cluster, in_flight=IN_FLIGHT) as client:

            def send(number: int) -> None:
                for _ in client.stream(images[i % 20] for i in range(number)):
                    pass

            def resident() -> dict[str, int]:
                return {b.name: _resident(processes.process_id(b.name)) for b in cluster.boards}

            send(max(500, count // 10))
            before = resident()
            begun = time.monotonic()
            send(count)
            seconds = time.monotonic() - begun
            after = resident()
    finally:
        processes.stop()
    growth = max(after[name] - before[name] for name in before)
    return {"images": count, "growth_bytes": growth, "images_per_s": count / seconds}


def _resident(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise BoardError(f"process {process} has ended")


def main() -> None:
    """Run the three parts and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="of faults")
    parser.add_argument("--seed", type=int, default=0, help="of faults and messages")
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    seconds = 15.0 if options.quick else options.minutes * 60
    logging.disable(logging.WARNING)  # losses are what this is about
    with tempfile.TemporaryDirectory() as name:
        found = chaos(Path(name), seconds, options.seed)
        fuzzed = fuzz(Path(name), 5_000 if options.quick else 100_000, options.seed)
        endured = endurance(Path(name), 500 if options.quick else 10_000)
    tally, recovery_s = found["tally"], found["recovery_s"]
    rows = [
        ("images answered", f"{tally.answered:,}"),
        ("named errors", f"{len(tally.errors):,}"),
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
        Target("wrong answers", 0, tally.wrong, at_least=False),
        Target("images past their deadline", 0, tally.overdue, at_least=False),
        Target("right answer after a kill, s", 1.0, max(recovery_s["kill"], default=0.0), False),
        Target("right answer after a cut link, s", 2.0, max(recovery_s["cut"], default=0.0), False),
        Target("a board lives on after malformed messages", 1, fuzzed["alive"]),
        Target("complaints said twice", 0, fuzzed["said_twice"], at_least=False),
        Target("memory growth of a board, MB", 5.0, endured["growth_bytes"] / 1e6, False),
    ]
    figures = {
        "seconds": seconds, "faults": found["faults"], "recovery_s": recovery_s,
        "answered": tally.answered, "errors": tally.errors, "back_s": found["back_s"],
        "fuzz": fuzzed, "endurance": endured,
    }  # fmt: skip
    sys.stdout.flush()
    section = Section("Boards under attack", ("", ""), rows, figures, targets)
    finish(section, as_json=options.json)


if __name__ == "__main__":
    main()
