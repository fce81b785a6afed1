"""The client of boards in one process: answers, order, failures. No socket is opened."""

import threading
import time

import numpy as np
import pytest
from in_process import running, serving, slow_boards

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.board.worker import Board
from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.link import answers, questions
from keras_concurrent.edge.link.protocol import PROTOCOL_VERSION
from keras_concurrent.edge.link.transport import Exchange
from keras_concurrent.edge.watch.bench import (
    compare,
    random_images,
    reference,
)
from keras_concurrent.errors import BoardError, BundleError, ProtocolError
from keras_concurrent.export.assemble import export_bundle


def test_the_boards_answer_bit_for_bit_as_the_uncut_model(bundle):
    images = random_images(bundle, 10)
    for placement in ("boards", "one_board"):
        with running(bundle, placement) as (client, _, _):
            answers = [client.infer(image) for image in images]
        assert compare(answers, reference(bundle, images)) == (0.0, 0)


def test_an_image_is_taken_with_or_without_its_batch_axis(bundle):
    image = random_images(bundle, 1)[0]
    with running(bundle) as (client, _, _):
        with_axis, without = client.infer(image), client.infer(image[0])
    assert np.array_equal(with_axis["classes"], without["classes"])


@pytest.mark.parametrize(
    "image",
    [np.zeros((16, 16, 1), np.float32), np.zeros((1, 16, 16, 3), np.float64), np.float32(0)],
)
def test_a_wrong_image_is_refused_with_what_was_expected(bundle, image):
    message = r"'image' must be float32 of shape \(16, 16, 3\), got"
    with running(bundle) as (client, _, _), pytest.raises(ValueError, match=message):
        client.infer(image)


def test_the_timeline_holds_every_planned_run_and_send_in_planned_order(bundle):
    placement = bundle.placement("boards")
    with running(bundle) as (client, _, _):
        client.infer(random_images(bundle, 1)[0])
        time.sleep(0.05)  # the last sends are noted just after they are received
        events = client.timeline()
    for board, program in placement.programs.items():
        own = [event for event in events if event.board == board]
        assert [e.name for e in own if e.kind == "run"] == list(program.segments)
        assert [(e.name, e.receiver) for e in own if e.kind == "send"] == [
            (send.tensor, send.receiver) for send in program.sends
        ]
    sizes = {e.name: e.bytes for e in events if e.kind == "send"}
    for name, size in sizes.items():
        assert size == bundle.manifest.tensors[name].bytes
    # By one clock, though each board's is hours from the client's.
    assert all(-0.05 < e.start_s <= e.end_s + 0.05 < 5.0 for e in events)
    arrivals = {(e.name, e.receiver): e.end_s for e in events if e.kind == "send"}
    for event in events:
        if event.kind == "run":
            for tensor in bundle.manifest.segments[event.name].inputs:
                assert arrivals.get((tensor, event.board), 0.0) <= event.start_s + 1e-6


def test_a_board_that_fails_is_named_with_segment_and_cause_and_lives_on(bundle):
    image = random_images(bundle, 1)[0]
    with running(bundle) as (client, _, boards):
        expected = client.infer(image)
        victim = boards[0]
        name, segment = next(iter(victim._workshop._segments.items()))
        healthy = segment.run_in_place

        def fail(inputs):
            raise RuntimeError("out of memory")

        segment.run_in_place = fail
        with pytest.raises(BoardError, match=f"{victim.name} failed in {name}: out of memory"):
            client.infer(image, deadline_s=2)
        segment.run_in_place = healthy
        assert np.array_equal(client.infer(image)["classes"], expected["classes"])


def test_no_answer_in_time_names_who_owes_it(bundle):
    with running(bundle) as (client, _, boards):
        for board in boards:
            board._handle = lambda packet: None  # they take packets and never answer
        with pytest.raises(BoardError, match=r"no answer after 0.2 s: classes did not come from p"):
            client.infer(random_images(bundle, 1)[0], deadline_s=0.2)
        with pytest.raises(BoardError, match=r"pi3-1 does not answer 'ping' within 0\.1 s"):
            client.questions.ask("pi3-1", questions.Ping(), timeout_s=0.1)


def test_a_board_that_is_there_and_does_nothing_is_left_out_until_it_answers(bundle):
    image = random_images(bundle, 1)[0]
    with running(bundle) as (client, _, boards):
        expected = client.infer(image)["classes"]
        stuck, goes_on = boards[1], threading.Event()
        handle = stuck._handle

        def hang(packet):
            goes_on.wait(20)
            handle(packet)

        stuck._handle = hang
        with pytest.raises(BoardError, match=r"no answer after 0\.3 s"):
            client.infer(image, deadline_s=0.3)
        answer = client.infer(image, deadline_s=10)["classes"]  # begun anew without it
        assert np.array_equal(answer, expected)
        assert client.absent == (stuck.name,)
        goes_on.set()
        deadline = time.monotonic() + 10
        while client.absent and time.monotonic() < deadline:
            time.sleep(0.02)
        assert np.array_equal(client.infer(image)["classes"], expected)
        assert stuck.name in {event.board for event in client.timeline()}


def test_a_board_that_computes_for_long_is_busy_and_not_left_out(bundle, monkeypatch):
    image = random_images(bundle, 1)[0]
    with running(bundle) as (client, _, boards):
        expected = client.infer(image)["classes"]
        busy, compute = boards[1], Workshop.run
        computing = threading.Event()

        def run(*what):
            if threading.current_thread().name == busy.name:
                computing.set()
                time.sleep(2.0)  # four times the lease
            compute(*what)

        with monkeypatch.context() as patch:
            patch.setattr(Workshop, "run", run)
            with pytest.raises(BoardError, match=r"no answer after 0\.3 s"):
                client.infer(image, deadline_s=0.3)
            assert computing.wait(1.0)
            deadline = time.monotonic() + 1.2
            while time.monotonic() < deadline:
                assert client.absent == ()
                identity = client.questions.ask(busy.name, questions.Ping(), timeout_s=0.3)
                assert identity.board == busy.name
        assert np.array_equal(client.infer(image)["classes"], expected)


def test_the_others_take_over_from_a_board_that_leaves_and_from_a_cut_link(bundle):
    image = random_images(bundle, 1)[0]
    expected = reference(bundle, [image])[0]["classes"]
    with running(bundle) as (client, exchange, boards):
        names = {board.name for board in boards}

        def used():
            assert np.array_equal(client.infer(image, deadline_s=10)["classes"], expected)
            return {event.board for event in client.timeline() if event.kind == "run"}

        def settles(absent):
            deadline = time.monotonic() + 5
            while client.absent != absent and time.monotonic() < deadline:
                time.sleep(0.01)
            return client.absent == absent

        assert used() == names
        exchange.cut("pi3-1", "pi3-3")
        assert settles(("pi3-3",))  # of two that do not reach each other the later by name
        assert used() == {"pi3-1", "pi3-2"}
        exchange.cut("pi3-1", "pi3-3", restore=True)
        assert settles(())
        assert used() == names
        exchange.leave("pi3-2")
        assert settles(("pi3-2",))
        assert used() == {"pi3-1", "pi3-3"}


def test_several_images_are_in_flight_and_one_more_waits(bundle):
    images = random_images(bundle, 12)
    expected = reference(bundle, images)
    with running(bundle) as (client, _, boards):
        answers = list(client.stream(images))
        assert compare(answers, expected) == (0.0, 0)  # in the order of the images
        handle, goes_on = boards[0]._handle, threading.Event()

        def hold(packet):
            goes_on.wait(20)
            handle(packet)

        boards[0]._handle = hold
        futures = [client.submit(image) for image in images[:4]]
        begun = threading.Event()
        late = []

        def one_more():
            begun.set()
            late.append(client.submit(images[4]))

        thread = threading.Thread(target=one_more)
        thread.start()
        begun.wait()
        time.sleep(0.2)
        assert late == []  # four are in flight
        goes_on.set()
        thread.join()
        answers = [future.result() for future in (*futures, *late)]
    assert compare(answers, expected[:5]) == (0.0, 0)
    with pytest.raises(BoardError, match="the client is closed"):
        client.infer(images[0])


def test_no_more_images_are_in_flight_than_boards_work_on(bundle):
    channel = Exchange().join("client")
    for number, limit in ((0, "at least 1"), (33, "at most 32")):
        with pytest.raises(ValueError, match=f"in_flight must be {limit}.*, got {number}"):
            Client(bundle, slow_boards(3), channel, in_flight=number)
    Client(bundle, slow_boards(3), channel, in_flight=32).close()


def test_an_image_that_was_sent_cannot_be_cancelled(bundle):
    image = random_images(bundle, 1)[0]
    expected = reference(bundle, [image])[0]["classes"]
    with running(bundle) as (client, _, _):
        future = client.submit(image)
        assert not future.cancel()
        assert np.array_equal(future.result(5)["classes"], expected)
        assert np.array_equal(client.infer(image, deadline_s=5)["classes"], expected)


def test_a_board_that_is_not_there_is_named(bundle):
    message = r"not ready after 0\.3 s: .*does not answer"
    client = Client(bundle, slow_boards(3), Exchange().join("client"))
    with client, pytest.raises(BoardError, match=message):
        client.wait_ready(0.3)


@pytest.mark.parametrize(
    "unreached", [b"[1]", b"[[]]", b'"pi3-2"', b"{}", b"null", b"{", b"[" * 100_000]
)
def test_a_client_outlives_links_that_are_none(bundle, caplog, unreached):
    image = random_images(bundle, 1)[0]
    with running(bundle) as (client, exchange, _):
        for _ in range(1000):
            exchange.hand_over("pi3-1", "client", b'{"Links":{"unreached":%s}}' % unreached)
        answer = client.infer(image, deadline_s=5)
        assert client.absent == ()
    assert np.array_equal(answer["classes"], reference(bundle, [image])[0]["classes"])
    assert caplog.text.count("client: pi3-1 sent what was refused: a message that is none") == 1


def lose(exchange, words, count):
    """Lose the next messages in which some words are."""
    hand_over = exchange.hand_over
    lost = []

    def lossy(sender, receiver, text, *rest, **named):
        if words in text and len(lost) < count:
            lost.append(text)
        else:
            hand_over(sender, receiver, text, *rest, **named)

    exchange.hand_over = lossy
    return lost


@pytest.mark.parametrize("words", [b'"Route"', b'"RouteTaken"'])
def test_a_route_that_is_lost_on_its_way_or_its_answer_is_repeated(bundle, words):
    image = random_images(bundle, 1)[0]
    with running(bundle) as (client, exchange, _):
        lost = lose(exchange, words, 3)
        client.rebalance({"pi3-1": 5.0})
        client.wait_prepared(5)
        assert len(lost) == 3
        assert client.absent == ()
        answer = client.infer(image, deadline_s=5)
    assert np.array_equal(answer["classes"], reference(bundle, [image])[0]["classes"])


def test_links_that_are_lost_on_their_way_are_told_again(bundle):
    with running(bundle) as (client, exchange, _):
        exchange.cut("pi3-1", "pi3-3")
        assert settles(client, ("pi3-3",))
        lost = lose(exchange, b'"Links"', 2)
        exchange.cut("pi3-1", "pi3-3", restore=True)
        assert settles(client, ())
        assert len(lost) == 2


def settles(client, absent):
    deadline = time.monotonic() + 5
    while client.absent != absent and time.monotonic() < deadline:
        time.sleep(0.01)
    return client.absent == absent


def test_a_route_that_a_board_acknowledges_with_nonsense_is_not_used(bundle, monkeypatch):
    monkeypatch.setattr(Board, "_take_route", lambda *_: answers.FileKept())
    message = "pi3-1 does not take its part: expected RouteTaken, got FileKept"
    with pytest.raises(BoardError, match=message), running(bundle):
        pass


def test_work_can_be_shared_anew_as_often_as_wanted(bundle, monkeypatch):
    monkeypatch.setattr(
        "keras_concurrent.edge.board.worker._MOST_ROUTES", 12
    )  # 4 routes a time, twice over
    image = random_images(bundle, 1)[0]
    with running(bundle) as (client, _, boards):
        expected = client.infer(image)["classes"]
        for number in range(10):
            client.rebalance({"pi3-1": 1.0 + number})
            client.wait_prepared(5)
            assert client.absent == ()
            assert np.array_equal(client.infer(image)["classes"], expected)
        assert all(len(work.engine.routes) <= 8 for board in boards for work in board._sessions)


def test_a_board_that_cannot_do_more_than_its_part_does_its_part(bundle, monkeypatch):
    image = random_images(bundle, 1)[0]
    planned = bundle.placement("boards").programs["pi3-2"].segments
    monkeypatch.setattr(Workshop, "load", _full("pi3-2", planned, Workshop.load))
    with running(bundle) as (client, exchange, _):
        assert client.absent == ()
        expected = client.infer(image)["classes"]
        exchange.leave("pi3-3")
        assert np.array_equal(client.infer(image, deadline_s=10)["classes"], expected)
        assert {e.board for e in client.timeline() if e.kind == "run"} <= {"pi3-1", "pi3-2"}


def test_a_board_that_does_not_take_its_part_is_named_with_its_reason(bundle, monkeypatch):
    monkeypatch.setattr(Workshop, "load", _full("pi3-2", (), Workshop.load))
    message = "pi3-2 does not take its part: there is no memory for segment_"
    with pytest.raises(BoardError, match=message), running(bundle):
        pass


def _full(board, segments, load):
    """`Workshop.load` where one board has memory for these segments alone."""

    def loaded(self, name):
        if threading.current_thread().name == board and name not in segments:
            raise BundleError(f"there is no memory for {name}")
        return load(self, name)

    return loaded


def test_a_board_with_another_bundle_is_refused(small_file, bundle, tmp_path):
    other = export_bundle(small_file, Cluster.of("pi3", 3, "1gbit"), tmp_path / "other")
    exchange, stopped = Exchange(), threading.Event()
    board = Board("pi3-1", other, exchange.join("pi3-1"), frozenset({"pi3-2", "pi3-3"}))
    thread = threading.Thread(target=board.serve, args=(stopped,))
    thread.start()
    try:
        client = Client(bundle, slow_boards(3), exchange.join("client"), "one_board")
        with client, pytest.raises(BundleError, match="pi3-1 has another bundle"):
            client.wait_ready(3)
    finally:
        stopped.set()
        thread.join()


@pytest.mark.parametrize("protocol", [1, 2, PROTOCOL_VERSION + 1])
def test_a_board_of_another_version_is_named_within_a_second(bundle, caplog, protocol):
    exchange = Exchange()
    old = exchange.join("pi3-2", protocol=protocol)
    everyone = frozenset({"pi3-1", "pi3-2", "pi3-3"})
    boards = [
        Board(name, bundle, exchange.join(name), everyone - {name}) for name in ("pi3-1", "pi3-3")
    ]
    fault = f"board pi3-2 speaks protocol {protocol}, this client {PROTOCOL_VERSION}: "
    with serving(*boards), Client(bundle, slow_boards(3), exchange.join("client")) as client:
        begun = time.monotonic()
        assert set(client.reach(everyone)) == {"pi3-1", "pi3-3"}
        with pytest.raises(ProtocolError, match=fault):
            client.questions.ask("pi3-2", questions.Ping())
        for all_boards in (True, False):
            with pytest.raises(ProtocolError, match=fault):
                client.wait_ready(20, all_boards=all_boards)
        assert time.monotonic() - begun < 1.0
        while old.receive(0.0) is not None:
            pass
        exchange.leave("pi3-2")
        new = Board("pi3-2", bundle, exchange.join("pi3-2"), everyone - {"pi3-2"})
        with serving(new):
            client.wait_ready(5)
            assert client.absent == ()
    assert caplog.text.count("client: pi3-2 is not used: board pi3-2 speaks protocol") == 1
