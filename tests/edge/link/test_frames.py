"""Headers of frames: what is written is read, and nothing else is taken for one."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_concurrent.edge.link.frames import HEADER_BYTES, Session, header, read_header
from keras_concurrent.edge.link.protocol import (
    MOST_CONTENT_BYTES,
    PROTOCOL_VERSION,
    Echo,
    Probe,
    Tensor,
)
from keras_concurrent.errors import ProtocolError

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
SIZES = st.integers(0, MOST_CONTENT_BYTES)
FRAMES = (
    st.tuples(st.builds(Tensor, U64, U64, U32, U32), SIZES)
    | st.tuples(st.builds(Probe, U64, U64), SIZES)
    | st.tuples(st.builds(Echo, U64, U64) | st.builds(Session, U64), st.just(0))
)


@given(frame=FRAMES)
def test_what_is_written_is_read(frame):
    written = header(*frame)
    assert len(written) == HEADER_BYTES == 32
    assert read_header(b"before" + written + b"after", 6) == frame


def test_a_tensors_header_is_what_the_layout_says():
    written = header(Tensor(session=7, image=9, route=3, tensor=5), 1000)
    expected = b"Kc" + bytes([PROTOCOL_VERSION, 1])
    for value, size in ((5, 4), (3, 4), (1000, 4), (7, 8), (9, 8)):
        expected += value.to_bytes(size, "little")
    assert written == expected


def test_of_a_hundred_thousand_malformed_headers_each_is_refused_or_says_what_it_is():
    """Random ones, and right ones with a byte changed or the version of another protocol."""
    rng = random.Random(0)
    refused = 0
    for number in range(100_000):
        content = bytearray(rng.randbytes(HEADER_BYTES))
        if number % 2:
            frame = rng.choice((Tensor(1, 2, 3, 4), Probe(1, 2), Echo(1, 2), Session(1)))
            content = bytearray(header(frame, 0))
            content[rng.randrange(HEADER_BYTES)] = rng.randrange(256)
        try:
            message, size = read_header(content)
        except ProtocolError:
            refused += 1
            continue
        assert size <= MOST_CONTENT_BYTES
        assert header(message, size) == content
    assert refused > 60_000


@pytest.mark.parametrize(
    ("frame", "size"), [(Tensor(1, 1, 2**32, 0), 0), (Tensor(1, 1, 0, 2**32), 0), (Probe(1, 1), -1)]
)
def test_numbers_that_have_no_place_are_refused_where_they_are_sent(frame, size):
    with pytest.raises(ProtocolError, match="too large for a frame"):
        header(frame, size)
