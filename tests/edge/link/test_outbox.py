"""What is sent at once and what waits its turn; in either case in order, and as it was."""

import threading
import time

import numpy as np
import pytest

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.link.outbox import Outbox
from keras_concurrent.edge.link.pacing import EmulatedInterface, RealInterface
from keras_concurrent.edge.link.protocol import Drop, Tensor


class Wire:
    """A channel that keeps what is sent, and in which thread."""

    clock = staticmethod(time.monotonic)

    def __init__(self, direct=True):
        self.sent = []
        self._direct = direct

    def send_at_once(self, receiver, message):
        if self._direct:
            self.send(receiver, message)
        return self._direct

    def send(self, receiver, message):
        if isinstance(message, Tensor):
            message = Tensor(message.session, message.image, 0, 0, bytes(message.content))
        self.sent.append((message, threading.current_thread().name))


def two_boards(mbit):
    return Cluster.of("pi4", 2, f"{mbit}mbit")


@pytest.mark.parametrize(
    ("pacer", "direct", "at_once"),
    [
        (None, True, True),
        (None, False, False),  # it may have to wait for Zenoh
        (EmulatedInterface(two_boards(100), "pi4-1"), True, False),
        (RealInterface(two_boards(100), "pi4-1"), True, True),
    ],
)
def test_a_tensor_goes_at_once_where_nothing_is_in_its_way(pacer, direct, at_once):
    wire = Wire(direct)
    outbox, told = Outbox(wire, pacer), []
    outbox.put("pi4-2", Tensor(1, 1, 0, 0, b"1"), lambda start, end: told.append((start, end)))
    if at_once:
        assert len(wire.sent) == len(told) == 1
    outbox.put("pi4-2", Drop(1, 1))
    outbox.close()
    assert [message for message, _ in wire.sent] == [Tensor(1, 1, 0, 0, b"1"), Drop(1, 1)]
    assert [thread == "outbox" for _, thread in wire.sent] == [not at_once, True]
    assert all(start <= end for start, end in told)


def test_those_that_wait_keep_their_order_and_their_values():
    """On a real interface the first goes at once, and the rest when it has passed."""
    wire, values = Wire(), np.zeros(1250, np.uint8)  # 0.1 ms at 100 Mbit/s
    outbox = Outbox(wire, RealInterface(two_boards(100), "pi4-1"))
    for number in range(50):
        values[:] = number
        outbox.put("pi4-2", Tensor(1, number, 0, 0, values.data))
    outbox.close()
    assert [message.image for message, _ in wire.sent] == list(range(50))
    assert [set(message.content) for message, _ in wire.sent] == [{n} for n in range(50)]
    assert {thread == "outbox" for _, thread in wire.sent} == {True, False}
