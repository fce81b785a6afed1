"""A board among strangers, liars and clients of its past: what it takes, refuses and says."""

import dataclasses
import logging
import queue
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import running, serving, slow_boards
from messages import values

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.board.worker import Board
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.link import answers, questions
from keras_concurrent.edge.link.protocol import (
    MOST_MANIFEST_BYTES,
    PROTOCOL_VERSION,
    Answer,
    Ask,
    Message,
    Tensor,
    encode,
)
from keras_concurrent.edge.link.transport import Exchange
from keras_concurrent.edge.placement import Program, Send
from keras_concurrent.edge.watch.bench import (
    random_images,
    reference,
)
from keras_concurrent.errors import BundleError
from keras_concurrent.export.assemble import export_bundle


def test_strange_and_wrong_tensors_are_ignored_and_said_once(bundle, caplog):
    image = random_images(bundle, 1)[0]
    with running(bundle) as (client, exchange, boards):
        board = boards[0]
        senders = bundle.placement("boards").senders_to(board.name)
        wanted, other = min(pair for pair in senders.items() if pair[1] != "client")
        session, numbers = client._dispatch.session, bundle.manifest.tensor_numbers
        for number in range(3):
            for tensor, content in ((numbers[wanted], b"short"), (10**6 + number, b"")):
                for sender in (other, "a stranger"):
                    message = Tensor(session, 10**9, 0, tensor, content)
                    exchange.hand_over(sender, board.name, *encode(message))
            ask = Ask(session, number, questions.Measure((f"dance {number}",)))
            exchange.hand_over("client", board.name, *encode(ask))
        answer = client.infer(image)
    assert np.array_equal(answer["classes"], reference(bundle, [image])[0]["classes"])
    warnings = [record.message for record in caplog.records if record.message.startswith("pi3-1:")]
    size = bundle.manifest.tensors[wanted].bytes
    assert sorted(warnings) == [
        "pi3-1: a stranger sent messages that are none of ours: refused",
        "pi3-1: client asked for what cannot be done: the bundle has no segment 'dance 0'",
        f"pi3-1: {other} sent {wanted!r} in 5 bytes, expected {size}",
        f"pi3-1: {other} sent a tensor that is not mine",
    ]


def test_an_altered_segment_is_refused_when_the_board_starts(small_file, tmp_path):
    bundle = export_bundle(small_file, Cluster.of("pi3", 1, "1gbit"), tmp_path / "bundle")
    path = bundle.path / "model.tflite"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"model.tflite was altered"):
        Board("pi3-1", Bundle(bundle.path), Exchange().join("pi3-1"), frozenset())


@pytest.fixture(scope="module")
def board(bundle):
    """A board that works in this process, and the exchange on which it does."""
    exchange = Exchange()
    own = Board("pi3-1", bundle, exchange.join("pi3-1"), frozenset({"pi3-2"}))
    with serving(own):
        yield own, exchange


def answer_to(exchange, session, question):
    """What the board answers to a client's question."""
    client = exchange.join("client")
    client.send("pi3-1", Ask(session, 77, question))
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        packet = client.receive(0.5)
        message = packet.message if packet is not None else None
        if isinstance(message, Answer) and message.number == 77:
            return message.result
    return None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sender=st.sampled_from(["client", "pi3-2", "pi3-1", "stranger", ""]),
    said=values(Message).map(encode) | st.tuples(st.binary(max_size=40), st.binary(max_size=9)),
)
def test_whatever_is_sent_the_board_goes_on_and_says_it_once(board, sender, said):
    _, exchange = board
    records = queue.SimpleQueue()
    handler = logging.Handler()
    handler.emit = lambda record: records.put(record.getMessage())
    logging.getLogger("keras_concurrent.edge").addHandler(handler)
    try:
        for _ in range(2):
            exchange.hand_over(sender, "pi3-1", *said)
        assert isinstance(answer_to(exchange, 0, questions.Ping()), answers.Identity)
        messages = [records.get() for _ in range(records.qsize())]
        assert len(set(messages)) == len(messages)
    finally:
        logging.getLogger("keras_concurrent.edge").removeHandler(handler)


def test_a_thousand_wrong_messages_are_one_line(bundle, caplog):
    exchange = Exchange()
    own = Board("pi3-1", bundle, exchange.join("pi3-1"), frozenset({"pi3-2"}))
    with serving(own):
        for number in range(1000):
            exchange.hand_over("pi3-2", "pi3-1", b"nonsense %d" % number)
        status = answer_to(exchange, 1, questions.Status())
    assert status.refused == 1000
    assert len([record for record in caplog.records if "pi3-2" in record.message]) == 1


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"bundle_sha256": "0" * 64}, "another bundle is here"),
        ({"program": Program(("../../etc/passwd",), ())}, "a segment that is not there"),
        ({"program": Program(("model",), (Send("classes", "p7"),))}, "to no one"),
        ({"program": Program(("model",), (Send("nonsense", "client"),))}, "what is not there"),
        ({"program": Program(("model", "model"), ())}, "runs a segment twice"),
        ({"program": Program(("model",), (Send("classes", "client"),) * 2)}, "a tensor twice"),
        ({"senders": {}}, "does not say who sends what it needs"),
        ({"senders": {"image": "p7"}}, "does not say who sends what it needs"),
    ],
)
def test_a_route_that_names_what_is_not_there_is_refused(board, bundle, change, cause):
    _, exchange = board
    route = questions.Route(0, bundle.sha256, Program(("model",), ()), {"image": "client"}, (0,))
    refusal = answer_to(exchange, 2**60, dataclasses.replace(route, **change))
    assert cause in refusal.cause


def test_whatever_number_a_session_has_it_locks_no_client_out(bundle):
    image = random_images(bundle, 1)[0]
    route = questions.Route(0, bundle.sha256, Program(("model",), ()), {"image": "client"}, (0,))
    exchange, everyone = Exchange(), {"pi3-1", "pi3-2", "pi3-3"}
    boards = [Board(n, bundle, exchange.join(n), everyone - {n}) for n in sorted(everyone)]
    with serving(*boards):
        for session in (2**64 - 1, 0, 1):
            assert isinstance(answer_to(exchange, session, route), answers.RouteTaken)
        with Client(bundle, slow_boards(3), exchange.join("client")) as client:
            client.wait_ready(5)
            answer = client.infer(image, deadline_s=5)["classes"]
            assert client.absent == ()
    assert np.array_equal(answer, reference(bundle, [image])[0]["classes"])


def test_more_content_than_a_message_may_have_is_not_taken(board, bundle):
    own, _ = board
    session, tensors = 77, bundle.manifest.tensors
    own._sessions.served(session).engine.learn(1000, Program(("model",), ()))
    for number, name in enumerate(bundle.manifest.tensor_names):
        assert own._largest("client", Tensor(session, 1, 1000, number)) == tensors[name].bytes
    assert own._largest("client", Tensor(session, 1, 1000, len(tensors))) == 0
    most = max(spec.bytes for spec in tensors.values())  # of another bundle's, to be told so
    assert own._largest("client", Tensor(session, 1, 1001, len(tensors))) == most
    assert own._largest("client", Tensor(session + 1, 1, 1000, 0)) == most
    assert own._largest("client", Ask(1, 1, questions.File("0" * 64))) == 0
    assert own._largest("client", Ask(1, 1, questions.Offer())) == MOST_MANIFEST_BYTES
    assert own._largest("pi3-2", Ask(1, 1, questions.Offer())) == 0


def test_participants_of_another_version_are_named_once_and_not_heard(bundle, caplog):
    exchange = Exchange()
    own = Board("pi3-1", bundle, exchange.join("pi3-1"), frozenset({"pi3-2"}))
    with serving(own):
        for _ in range(3):
            other = exchange.join("pi3-2", protocol=1)
            exchange.join("client", protocol=PROTOCOL_VERSION + 1)
        other.send("pi3-1", Tensor(1, 1, 0, 0))
        identity = answer_to(exchange, 1, questions.Ping())
        assert identity.unreached == ("pi3-2",)
    assert [record.message for record in caplog.records] == [
        f"pi3-1: {name} is not heard: {called} speaks protocol {spoken}, this board "
        f"{PROTOCOL_VERSION}: install the same version of keras-concurrent on both"
        for name, called, spoken in (
            ("pi3-2", "board pi3-2", 1),
            ("client", "the client", PROTOCOL_VERSION + 1),
        )
    ]
