"""Messages in their order and time: on real interfaces, emulated ones, and a shared medium."""

import dataclasses
import time

import pytest
from in_process import slow_boards

from keras_concurrent.board import Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.link.pacing import EmulatedInterface, Medium, RealInterface, pacer_of
from keras_concurrent.network import Link, Network


def test_paced_messages_queue_for_the_bandwidth_and_share_the_latency():
    slow = Link(("pi4-1", "client"), 10.0, 3.0)
    cluster = dataclasses.replace(Cluster.of("pi4", 2, "100mbit"), links=(slow,))
    pacer = EmulatedInterface(
        cluster, "pi4-1"
    )  # 12.5 MB/s and 0.5 ms; to the client 1.25 MB/s and 3 ms
    begun = time.monotonic()
    first = pacer.pass_on("pi4-2", 125_000, begun)  # 10 ms on the interface
    second = pacer.pass_on("client", 12_500, begun)  # queues behind it for 10 ms of its own
    elapsed = time.monotonic() - begun
    assert first == begun
    assert second == pytest.approx(begun + 0.010)
    assert (
        0.023 <= elapsed < 1.0
    )  # 2 x 10 ms and the client's latency, and what a loaded machine adds


def test_on_a_shared_medium_one_message_goes_at_a_time_whoever_sends_it(tmp_path):
    wifi = dataclasses.replace(Cluster.of("pi4", 2, "100mbit-wifi"))  # 12.5 MB/s and 2 ms
    file = Medium.make(tmp_path / "medium")
    ready = time.monotonic()
    senders = [EmulatedInterface(wifi, name, Medium(file)) for name in ("pi4-1", "pi4-2", "client")]
    starts = [sender.pass_on("pi4-1", 125_000, ready) for sender in senders]
    assert starts == pytest.approx([ready, ready + 0.010, ready + 0.020])
    medium = Medium(file)
    assert medium.take(ready + 1.0, 0.5) == ready + 1.0  # free long before
    assert medium.take(ready, 0.5) == ready + 1.5
    medium.close()
    for sender in senders:
        sender.close()
    with pytest.raises(ValueError, match="a shared medium needs the file"):
        EmulatedInterface(wifi, "client")


def test_a_real_interface_hands_the_next_message_over_when_the_one_before_has_passed():
    boards = (Board("a", 1.0, "tls/10.0.0.1:1"), Board("b", 1.0, "tls/10.0.0.2:1"))
    interface = pacer_of(Cluster(boards, Network(8.0, 5.0)), "a", None)  # 1 MB/s
    assert isinstance(interface, RealInterface)
    begun = time.monotonic()
    assert interface.pass_on("b", 20_000, begun) == begun
    assert time.monotonic() - begun < 0.02  # at once: the wire takes the time, not the sender
    second = interface.pass_on("client", 0, begun)
    assert 0.02 <= second - begun < 1.0  # the first has passed
    assert time.monotonic() >= second
    assert pacer_of(slow_boards(1), "pi3-1", None) is None  # loopback has no bandwidth to keep to
