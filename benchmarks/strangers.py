"""Strangers at a board's two ports: how soon a client is served meanwhile, and afterwards.

A board with keys listens; strangers without a certificate call it, and hold the line, or come one
after another. Then a client with its certificate comes and asks. Targets: served within 5 s while
the strangers are there, and within 30 s after 10,000 of them, with no descriptor left taken.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from outcome import Section, Target, finish_each

from keras_concurrent.board import CLIENT, Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.link.direct import DirectChannel
from keras_concurrent.edge.link.keys import keys_of, make_keys
from keras_concurrent.edge.link.meeting import address_of
from keras_concurrent.edge.link.protocol import Answer, Ask
from keras_concurrent.edge.link.questions import Ping
from keras_concurrent.edge.testbed.local_boards import Processes, free_ports
from keras_concurrent.network import Network

NAME = "pi"
LIMIT_S = 60.0
THREADS = 8
SERVED_S, RECOVERED_S = 5.0, 30.0
SPARE_DESCRIPTORS = 40

Held = list[socket.socket]


def silent(address: tuple[str, int], held: Held) -> None:
    """Call and say nothing."""
    held.append(socket.create_connection(address, 5.0))


def half(address: tuple[str, int], held: Held) -> None:
    """Begin a handshake and say no more."""
    silent(address, held)
    held[-1].sendall(b"\x16\x03\x01\x02\x00\x01")


def greeting(address: tuple[str, int], held: Held) -> None:
    """A handshake without a certificate, and hang up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(address, 5.0) as plain, context.wrap_socket(plain) as stranger:
        stranger.settimeout(1.0)
        stranger.recv(1)


KINDS: dict[str, Callable[[tuple[str, int], Held], None]] = {
    "say nothing": silent, "half a greeting": half, "no certificate": greeting,
}  # fmt: skip


@contextlib.contextmanager
def board(folder: Path) -> Iterator[tuple[Cluster, int]]:
    """A board with keys and the usual thousand descriptors: its cluster, and its process."""
    (port,) = free_ports(1)
    cluster = Cluster((Board(NAME, 1.0, f"tls/127.0.0.1:{port}"),), Network(1000.0, 0.2))
    (folder / "cluster.toml").write_text(cluster.to_toml())
    make_keys(cluster, folder / "keys")
    processes = Processes()
    processes.start(
        NAME,
        ["--cluster", folder / "cluster.toml", "--store", folder / "store",
         "--keys", folder / "keys"],
        within=["sh", "-c", 'ulimit -n 1024; exec "$@"', "sh"],
    )  # fmt: skip
    try:
        processes.wait_started()
        yield cluster, processes.process_id(NAME)
    finally:
        processes.stop()


def served_s(cluster: Cluster, keys: Path) -> float:
    """Seconds until a client that comes now has an answer; ``LIMIT_S`` if it has none by then."""
    start = time.monotonic()
    with contextlib.closing(DirectChannel(CLIENT, cluster, keys_of(CLIENT, cluster, keys))) as one:
        while time.monotonic() < start + LIMIT_S:
            if not one.unreached():
                one.send(NAME, Ask(1, 1, Ping()))
            packet = one.receive(0.05)
            if packet is not None and isinstance(packet.message, Answer):
                return time.monotonic() - start
    return LIMIT_S


def attacked(kind: str, port: str, count: int) -> tuple[float, float, int]:
    """Seconds until served while strangers are there, and after; descriptors left taken."""
    with tempfile.TemporaryDirectory() as name, board(Path(name)) as (cluster, process):
        keys = Path(name) / "keys"
        served_s(cluster, keys)
        before = len(os.listdir(f"/proc/{process}/fd"))
        host, tensors = address_of(cluster.board(NAME))
        zenoh = int(cluster.board(NAME).endpoint.rpartition(":")[2])
        address = host, zenoh if port == "endpoint" else tensors
        held: Held = []

        def call(_: int) -> None:
            with contextlib.suppress(OSError):
                KINDS[kind](address, held)

        with ThreadPoolExecutor(THREADS) as pool:
            calls = [pool.submit(call, i) for i in range(count)]
            if kind == "no certificate":  # they hang up: a client comes in between
                time.sleep(0.5)
                during_s = served_s(cluster, keys)
            for one in calls:
                one.result()
        if kind != "no certificate":
            during_s = served_s(cluster, keys)
        for stranger in held:
            stranger.close()
        after_s = served_s(cluster, keys)
        left = len(os.listdir(f"/proc/{process}/fd")) - before
    return during_s, after_s, left


def sections(count: int) -> Iterator[Section]:
    """A table for each port."""
    for port in ("endpoint", "tensors"):
        rows, figures, targets = [], {}, []
        for kind in KINDS:
            during_s, after_s, left = attacked(kind, port, count)
            rows.append((kind, f"{during_s:.2f}", f"{after_s:.2f}", str(left)))
            figures[f"{port}, {kind}"] = {"during_s": during_s, "after_s": after_s, "left": left}
            name = f"{port}, {kind}"
            targets += [
                Target(f"{name}: served, s", SERVED_S, during_s, at_least=False),
                Target(f"{name}: recovered, s", RECOVERED_S, after_s, at_least=False),
                Target(f"{name}: descriptors", SPARE_DESCRIPTORS, left, at_least=False),
            ]
        columns = ("strangers", "served meanwhile, s", "served after, s", "descriptors left")
        yield Section(f"{count} strangers at the port of the {port}", columns, rows, figures,
                      targets)  # fmt: skip


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strangers", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="1,100 strangers")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    count = 1100 if options.quick else options.strangers
    if count + 100 > most:
        sys.exit(f"{count} strangers need as many descriptors, and this process may have {most}")
    finish_each(sections(count), as_json=options.json)


if __name__ == "__main__":
    main()
