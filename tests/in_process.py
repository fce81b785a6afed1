"""Boards and their client in one process: no socket is opened, every clock is another."""

import threading
import time
from contextlib import contextmanager

from costless import costless

from keras_concurrent.board import CLIENT
from keras_concurrent.board import Board as BoardEntry
from keras_concurrent.edge.board.worker import Board
from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.link.transport import Exchange
from keras_concurrent.network import Network


def slow_boards(count, gflops_per_s=0.01):
    """Boards so slow, on a network so fast, that even a tiny network is planned on all of them."""
    boards = tuple(
        BoardEntry(f"pi3-{i}", gflops_per_s, f"tcp/127.0.0.1:{7447 + i}", call_ms=0.0)
        for i in range(1, count + 1)
    )
    return costless(boards, Network(1e6, 0.0))


def clock_of(name):
    """A participant's clock: boards are hours ahead of the client, each otherwise."""
    hours = 0 if name == CLIENT else int(name.rsplit("-", 1)[-1])
    return lambda: time.monotonic() + 3600.0 * hours


@contextmanager
def serving(*boards):
    """Boards at work in threads of this process, which are named like them."""
    stopped = threading.Event()
    threads = [
        threading.Thread(target=board.serve, args=(stopped,), name=board.name) for board in boards
    ]
    for thread in threads:
        thread.start()
    try:
        yield
        assert all(thread.is_alive() for thread in threads)  # whatever they were sent
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


@contextmanager
def running(bundle, placement="boards", stretch=None, cluster=None):
    """The client of three boards, the exchange, and those of the boards that have work."""
    exchange = Exchange()
    cluster = cluster or slow_boards(3)
    everyone = frozenset(board.name for board in cluster.boards)
    boards = [
        Board(
            name, bundle, exchange.join(name, clock=clock_of(name)), everyone - {name},
            Workshop(stretch),
        )
        for name in sorted(bundle.placement(placement).programs)
    ]  # fmt: skip
    with serving(*boards):
        channel = exchange.join(CLIENT, clock=clock_of(CLIENT))
        with Client(bundle, cluster, channel, placement) as client:
            client.wait_ready(5)
            yield client, exchange, boards
