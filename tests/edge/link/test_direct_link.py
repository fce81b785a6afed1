"""One direct link: frames come whole, in order, and only so, however the bytes come."""

import socket
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent.edge.link import direct_link
from keras_concurrent.edge.link.direct_link import DirectLink, memory_of
from keras_concurrent.edge.link.frames import HEADER_BYTES, header
from keras_concurrent.edge.link.protocol import Probe, Tensor
from keras_concurrent.errors import ProtocolError, TransportError


def admit(link, message, size):
    return memory_of(size)


class Taken(list):
    """What a link gave."""

    def __call__(self, link, message, content):
        self.append((message, bytes(content)))


def read_all(link, taken, count, timeout_s=10.0):
    """Read until so many messages have come."""
    deadline = time.monotonic() + timeout_s
    while len(taken) < count and time.monotonic() < deadline:
        link.read(admit, taken)
    assert len(taken) == count


@pytest.fixture
def links():
    one, other = socket.socketpair()
    pair = DirectLink("b", one), DirectLink("a", other)
    yield pair
    for link in pair:
        link.close()


def content_of(seed, size):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(
        st.sampled_from([0, 1, 31, 1000, 16351, 16352, 16353, 40_000])
        | st.integers(0, 70_000),
        min_size=1, max_size=6,
    ),
    chunks=st.lists(st.integers(1, 40_000), min_size=1, max_size=8),
    wanted=st.sets(st.integers(0, 5)),
)  # fmt: skip
def test_messages_come_whole_however_the_bytes_come(sizes, chunks, wanted):
    """Those that no memory is given for are left out, and the ones behind them still come."""
    stream, expected = b"", []
    for number, size in enumerate(sizes):
        message, content = Tensor(1, number, 2, 3), content_of(number, size)
        stream += header(message, size) + content
        if number in wanted:
            expected.append((message, content))
    ours, theirs = socket.socketpair()
    link, taken = DirectLink("a", ours), Taken()
    given = lambda link, message, size: memory_of(size) if message.image in wanted else None  # noqa: E731
    try:
        theirs.setblocking(False)
        at, number = 0, 0
        while at < len(stream):
            at += theirs.send(stream[at : at + chunks[number % len(chunks)]])
            number += 1
            while link.read(given, taken):
                pass
        assert taken == expected
    finally:
        link.close()
        theirs.close()


def test_two_that_send_each_other_megabytes_wait_for_nothing(links):
    one, other = links
    big = [content_of(number, 8_000_000) for number in range(4)]
    begun = time.monotonic()
    for link, contents in ((one, big[:2]), (other, big[2:])):
        for number, content in enumerate(contents):
            link.send(Tensor(1, number, 0, 0), content)
    assert time.monotonic() - begun < 2.0  # nobody has read
    for link, contents in ((one, big[2:]), (other, big[:2])):
        taken = Taken()
        read_all(link, taken, 2)
        assert taken == [(Tensor(1, n, 0, 0), content) for n, content in enumerate(contents)]


def test_the_memory_of_what_was_sent_is_free_at_once(links):
    one, other = links
    values = np.arange(2_000_000, dtype=np.int32)
    sent = values.copy()
    one.send(Tensor(1, 1, 0, 0), sent.view(np.uint8).data)
    sent[:] = -1
    taken = Taken()
    read_all(other, taken, 1)
    assert np.array_equal(np.frombuffer(taken[0][1], np.int32), values)


def test_half_a_tensor_is_never_given():
    ours, theirs = socket.socketpair()
    link, taken = DirectLink("a", ours), Taken()
    theirs.sendall(header(Tensor(1, 1, 0, 0), 50_000) + bytes(49_999))
    while link.read(admit, taken):
        pass
    theirs.close()
    with pytest.raises(OSError, match="has closed its end"):
        link.read(admit, taken)
    assert taken == []
    link.close()


def test_what_is_no_frame_ends_a_link():
    ours, theirs = socket.socketpair()
    link, taken = DirectLink("a", ours), Taken()
    theirs.sendall(header(Probe(1, 1), 3) + b"abc" + bytes(HEADER_BYTES))
    with pytest.raises(ProtocolError, match="expected a frame of protocol"):
        link.read(admit, taken)
    assert taken == [(Probe(1, 1), b"abc")]
    link.close()
    theirs.close()


def test_a_peer_that_takes_nothing_gets_no_more_and_holds_no_memory(links, monkeypatch):
    monkeypatch.setattr(direct_link, "MOST_UNSENT_BYTES", 3_000_000)
    one, _ = links
    for number in range(3):
        one.send(Tensor(1, number, 0, 0), bytes(1_000_000))
    assert one._unsent_bytes < 3_000_000 + 3 * HEADER_BYTES
    one.send(Tensor(1, 4, 0, 0), bytes(1_000_000))
    with pytest.raises(TransportError, match=r"b has yet to take \d+ bytes, at most 3000000 may"):
        one.send(Tensor(1, 5, 0, 0), b"1")


def test_nothing_is_sent_on_a_link_that_has_ended(links):
    one, other = links
    other.close()
    with pytest.raises(TransportError, match="the direct link to b has ended"):
        one.send(Tensor(1, 1, 0, 0), b"1")
    one.close()
    with pytest.raises(TransportError, match="the direct link to b has ended"):
        one.send(Tensor(1, 1, 0, 0), b"1")
