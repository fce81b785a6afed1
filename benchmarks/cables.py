"""Cables that can be cut: TCP relays for each pair of participants, in a process of their own.

One relay carries what Zenoh says, another the tensors.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.testbed.local_boards import free_ports

Pair = tuple[str, str]


class Cables:
    """A context in which each pair of participants has a cable of its own.

    A cut cable swallows what is sent, as one that was pulled out does: no connection is closed.

    Args:
        cluster: the boards; a board connects to those before it, the client to all.
    """

    def __init__(self, cluster: Cluster) -> None:
        names = [board.name for board in cluster.boards]
        self.pairs: list[Pair] = [(a, b) for i, b in enumerate(names) for a in names[:i]]
        self.pairs += [(name, CLIENT) for name in names]
        self._cluster = cluster
        self._ports = dict(zip(self.pairs, free_ports(len(self.pairs)), strict=True))
        self._tensor_ports = dict(zip(self.pairs, free_ports(len(self.pairs)), strict=True))

    def seen_by(self, name: str) -> Cluster:
        """The cluster as a participant must see it: the others behind its cables."""
        boards = tuple(
            replace(
                board,
                endpoint=f"tcp/127.0.0.1:{self._ports[board.name, name]}",
                tensor_port=self._tensor_ports[board.name, name],
            )
            if (board.name, name) in self._ports
            else board
            for board in self._cluster.boards
        )
        return replace(self._cluster, boards=boards)

    def __enter__(self) -> Cables:
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        relays: list[tuple[Pair, int, int]] = []  # the port of each, and where it leads
        for pair in self.pairs:
            board = self._cluster.board(pair[0])
            endpoint_port = int(board.endpoint.rsplit(":", 1)[1])
            relays += [
                (pair, self._ports[pair], endpoint_port),
                (pair, self._tensor_ports[pair], board.tensor_port_used),
            ]
        self._process = context.Process(target=_serve, args=(theirs, relays), daemon=True)
        self._process.start()
        self._orders.recv()
        return self

    def cut(self, pair: Pair, *, restore: bool = False) -> None:
        """Cut a cable, or mend it."""
        self._orders.send((pair, restore))
        self._orders.recv()

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()


def _serve(orders: Connection, relays: Sequence[tuple[Pair, int, int]]) -> None:
    asyncio.run(_relay(orders, relays))


async def _relay(orders: Connection, relays: Sequence[tuple[Pair, int, int]]) -> None:
    whole = {pair: asyncio.Event() for pair, _, _ in relays}
    open_writers: dict[Pair, set[asyncio.StreamWriter]] = {pair: set() for pair in whole}
    for event in whole.values():
        event.set()

    async def pump(pair: Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers[pair].add(writer)
        with contextlib.suppress(OSError):
            while content := await reader.read(1 << 16):
                await whole[pair].wait()
                writer.write(content)
                await writer.drain()
        open_writers[pair].discard(writer)
        writer.close()

    async def accept(
        pair: Pair, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await whole[pair].wait()
        try:
            onward = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(pair, reader, onward[1]), pump(pair, onward[0], writer))

    for pair, port, target in relays:
        await asyncio.start_server(partial(accept, pair, target), "127.0.0.1", port)
    orders.send("ready")
    loop = asyncio.get_running_loop()
    while True:
        pair, restore = await loop.run_in_executor(None, orders.recv)
        if restore:
            for writer in list(open_writers[pair]):
                writer.transport.abort()  # what was on its way is lost, as on a pulled cable
            whole[pair].set()
        else:
            whole[pair].clear()
        orders.send("done")
