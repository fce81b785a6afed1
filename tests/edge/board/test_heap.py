"""What a board gives back of its memory after large messages."""

import time
from contextlib import closing
from pathlib import Path

from keras_concurrent.board import Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.board.heap import Heap
from keras_concurrent.edge.link.protocol import Ask
from keras_concurrent.edge.link.questions import File
from keras_concurrent.edge.link.zenoh_channel import ZenohChannel
from keras_concurrent.edge.testbed.local_boards import free_ports
from keras_concurrent.network import Network

MB = 1 << 20


def resident_mb():
    words = Path("/proc/self/statm").read_text().split()
    return int(words[1]) * 4096 / MB


def test_large_messages_leave_no_memory_taken():
    cluster = Cluster(
        (Board("p0", 1.0, f"tcp/127.0.0.1:{free_ports(1)[0]}"),), Network(1000.0, 0.2)
    )
    heap = Heap()
    with (
        closing(ZenohChannel("p0", cluster)) as board,
        closing(ZenohChannel("client", cluster)) as client,
    ):
        deadline = time.monotonic() + 10.0
        while client.unreached() and time.monotonic() < deadline:
            time.sleep(0.02)
        before = resident_mb()
        content = bytes(100 * MB)
        for number in range(2):
            client.send("p0", Ask(1, number, File("0" * 64, content)))
            while (packet := board.receive(1.0)) is None or not isinstance(packet.message, Ask):
                assert time.monotonic() < deadline + 20.0
            del packet
        del content
        heap.look()  # nothing was said to be free
        kept = resident_mb() - before
        heap.much_was_freed()
        heap.look()
        assert kept > 100.0
        assert resident_mb() - before < 30.0
