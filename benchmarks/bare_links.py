"""Bare TCP, TLS and Zenoh between two processes: what any hop must be compared with."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from keras_concurrent import Cluster
from keras_concurrent.board import Board
from keras_concurrent.edge.link.keys import AUTHORITY, CERTIFICATE, KEY, make_keys
from keras_concurrent.edge.testbed.local_boards import free_ports
from keras_concurrent.network import Network

_HEADER = bytes(32)
_THERE, _BACK = "bare/there", "bare/back"

Throw = Callable[[], None]
"""Sends the bytes and waits until as many have come back."""


@contextmanager
def bare_peer(kind: str, size: int, folder: Path) -> Iterator[tuple[Throw, int]]:
    """A process that throws back what it gets.

    Args:
        kind: ``"tcp"``, ``"tls"`` or ``"zenoh"``.
        size: bytes.
        folder: for keys.

    Yields:
        What throws, and the other process.
    """
    (port,) = free_ports(1)
    if kind == "tls":
        make_keys(Cluster((Board("b", 1.0, f"tls/127.0.0.1:{port}"),), Network(1.0, 0.0)), folder)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    target = _zenoh_peer if kind == "zenoh" else _socket_peer
    process = context.Process(target=target, args=(theirs, kind, size, port, folder), daemon=True)
    process.start()
    theirs.close()  # where the process ends, waiting for it ends too
    try:
        ours.recv()
        if kind == "zenoh":
            with _zenoh_thrower(size, port) as throw:
                yield throw, process.pid or 0
        else:
            connection = _prepared(socket.create_connection(("127.0.0.1", port)), kind, folder)
            with connection:
                yield _socket_thrower(connection, size), process.pid or 0
    finally:
        process.terminate()
        process.join()


def _prepared(connection: socket.socket, kind: str, folder: Path, name: str = "") -> socket.socket:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if kind == "tcp":
        return connection
    server = bool(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    own = folder / (name or "client")
    context.load_cert_chain(own / CERTIFICATE, own / KEY)
    context.load_verify_locations(own / AUTHORITY)
    context.verify_mode = ssl.CERT_REQUIRED
    if server:
        return context.wrap_socket(connection, server_side=True)
    return context.wrap_socket(connection, server_hostname="127.0.0.1")


def _take(connection: socket.socket, room: memoryview) -> None:
    have = 0
    while have < len(room):
        count = connection.recv_into(room[have:])
        if not count:
            raise ConnectionResetError
        have += count


def _give(connection: socket.socket, content: memoryview) -> None:
    if isinstance(connection, ssl.SSLSocket):
        first = 16384 - len(_HEADER)
        connection.sendall(_HEADER + content[:first])
        if len(content) > first:
            connection.sendall(content[first:])
        return
    sent = connection.sendmsg([_HEADER, content])
    if sent < len(_HEADER) + len(content):
        connection.sendall(content[sent - len(_HEADER) :])


def _socket_thrower(connection: socket.socket, size: int) -> Throw:
    content, header = np.zeros(size, np.uint8).data, memoryview(bytearray(len(_HEADER)))

    def throw() -> None:
        _give(connection, content)
        _take(connection, header)
        _take(connection, content)

    return throw


def _socket_peer(ready: Connection, kind: str, size: int, port: int, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", port)) as listener:
        ready.send("ready")
        connection = _prepared(listener.accept()[0], kind, folder, "b")
        content, header = np.zeros(size, np.uint8).data, memoryview(bytearray(len(_HEADER)))
        with contextlib.suppress(OSError):  # until the other end has enough
            while True:
                _take(connection, header)
                _take(connection, content)
                _give(connection, content)


def _zenoh_session(**settings: str) -> Any:
    import zenoh

    config = zenoh.Config()
    config.insert_json5("scouting/multicast/enabled", "false")
    for key, value in settings.items():
        config.insert_json5(key.replace("_", "/"), value)
    return zenoh.open(config)


def _publisher(session: Any, key: str) -> Any:
    import zenoh

    return session.declare_publisher(
        key, congestion_control=zenoh.CongestionControl.BLOCK, express=True
    )


def _zenoh_peer(ready: Connection, kind: str, size: int, port: int, folder: Path) -> None:
    session = _zenoh_session(listen_endpoints=f'["tcp/127.0.0.1:{port}"]')
    back = _publisher(session, _BACK)
    _subscriber = session.declare_subscriber(
        _THERE, lambda sample: back.put(sample.payload.to_bytes())
    )
    ready.send("ready")
    threading.Event().wait()


@contextmanager
def _zenoh_thrower(size: int, port: int) -> Iterator[Throw]:
    came: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    with _zenoh_session(connect_endpoints=f'["tcp/127.0.0.1:{port}"]') as session:
        _subscriber = session.declare_subscriber(
            _BACK, lambda sample: came.put(sample.payload.to_bytes())
        )
        there, content = _publisher(session, _THERE), bytes(size)
        for _ in range(50):  # until the peer's subscription is known here
            there.put(content)
            try:
                came.get(timeout=0.1)
                break
            except queue.Empty:
                continue

        def throw() -> None:
            there.put(content)
            came.get()

        yield throw
