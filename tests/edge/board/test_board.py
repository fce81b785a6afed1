"""Boards and client in one process: answers, order, failures. No socket is opened."""

import dataclasses
import itertools
import json
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

from keras_concurrent import cluster
from keras_concurrent.cluster import Cluster, Link, Network
from keras_concurrent.edge.board.stretch import Stretch
from keras_concurrent.edge.board.worker import Board
from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.client.questions import Questions
from keras_concurrent.edge.images import check_image
from keras_concurrent.edge.link.pacing import EmulatedInterface, Medium
from keras_concurrent.edge.link.protocol import Session
from keras_concurrent.edge.link.transport import Exchange, Packet
from keras_concurrent.edge.testbed.local_boards import slowdown_for
from keras_concurrent.edge.watch.bench import (
    Measurement,
    compare,
    measure,
    random_images,
    reference,
)
from keras_concurrent.errors import BoardError, BundleError
from keras_concurrent.export.assemble import export_bundle


def slow_boards(count):
    """Boards so slow, on a network so fast, that even a tiny network is planned on all of them."""
    boards = tuple(
        cluster.Board(f"pi3-{i}", 0.01, f"tcp/127.0.0.1:{7447 + i}", call_ms=0.0)
        for i in range(1, count + 1)
    )
    return Cluster(boards, Network(1e6, 0.0, 0.0))


@pytest.fixture(scope="module")
def bundle(small_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "bundle"
    made = export_bundle(small_file, slow_boards(3), path)
    assert len(made.placement("boards").programs) == 3
    return made


@contextmanager
def running(bundle, placement="boards", stretch=None):
    """The client of boards that run in threads of this process."""
    exchange, stopped = Exchange(), threading.Event()
    names = sorted(bundle.placement(placement).programs)
    everyone = frozenset(board.name for board in slow_boards(3).boards)
    boards = [
        Board(name, bundle, exchange.join(name), everyone - {name}, Workshop(stretch))
        for name in names
    ]
    threads = [
        threading.Thread(target=board.serve, args=(stopped,), name=board.name) for board in boards
    ]
    for thread in threads:
        thread.start()
    channel = exchange.join("client")
    try:
        with Client(bundle, slow_boards(3), channel, placement) as client:
            client.wait_ready(5)
            yield client, exchange, boards
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


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
        healthy = segment.run

        def fail(inputs):
            raise RuntimeError("out of memory")

        segment.run = fail
        with pytest.raises(BoardError, match=f"{victim.name} failed in {name}: out of memory"):
            client.infer(image, deadline_s=2)
        segment.run = healthy
        assert np.array_equal(client.infer(image)["classes"], expected["classes"])


def test_no_answer_in_time_names_who_owes_it(bundle):
    with running(bundle) as (client, _, boards):
        for board in boards:
            board._handle = lambda packet: None  # they take packets and never answer
        with pytest.raises(BoardError, match=r"no answer after 0.2 s: classes did not come from p"):
            client.infer(random_images(bundle, 1)[0], deadline_s=0.2)
        with pytest.raises(BoardError, match=r"pi3-1 does not answer 'ping' within 0\.1 s"):
            client.questions.ask("pi3-1", "ping", timeout_s=0.1)


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


def test_strange_and_wrong_tensors_are_ignored_and_said_once(bundle, caplog):
    image = random_images(bundle, 1)[0]
    with running(bundle) as (client, exchange, boards):
        board = boards[0]
        other = exchange.join("pi3-9")
        client_too = exchange.join("client-2")
        wanted = next(iter(board._engine.expected(0)))
        for number in range(3):
            for name, payload in ((wanted, b"short"), (f"nonsense {number}", b"")):
                for sender in ("pi3-2", "a stranger"):
                    packet = Packet(
                        "tensor", sender, client._session.number, 10**9, 0, name, payload
                    )
                    other.send(board.name, packet)
            client_too.send(board.name, Packet("ask", "client", name=f"dance {number}"))
        answer = client.infer(image)
    assert np.array_equal(answer["classes"], reference(bundle, [image])[0]["classes"])
    warnings = [record.message for record in caplog.records if record.message.startswith("pi3-1:")]
    size = bundle.manifest.tensors[wanted].bytes
    assert sorted(warnings) == [
        "pi3-1: a stranger sent messages that are none of ours: refused",
        "pi3-1: client asked for what cannot be done: nothing is known of 'dance 0'",
        f"pi3-1: pi3-2 sent {wanted!r} in 5 bytes, expected {size}",
        "pi3-1: pi3-2 sent a tensor that is not mine",
    ]


@pytest.mark.parametrize(
    "payload", [b"[1]", b"[[]]", b'"pi3-2"', b"{}", b"null", b"{", b"[" * 100_000]
)
def test_a_client_outlives_links_that_are_none(bundle, caplog, payload):
    image = random_images(bundle, 1)[0]
    with running(bundle) as (client, exchange, _):
        exchange.hand_over("pi3-1", "client", Packet("links", "pi3-1", payload=payload))
        answer = client.infer(image, deadline_s=5)
        assert client.absent == ()
    assert np.array_equal(answer["classes"], reference(bundle, [image])[0]["classes"])
    assert "pi3-1 sent a message that is none of ours" in caplog.text


def test_a_board_cannot_answer_for_another(bundle):
    sent = []

    class Outbox:
        def put(self, receiver, packet):
            sent.append(packet)

    questions = Questions(Outbox(), Session(7))
    future = questions.put("pi3-1", "ping")
    number = sent[0].image
    with pytest.raises(ValueError, match="an answer to what pi3-1 was asked"):
        questions.answered(Packet("answer", "pi3-2", 7, number, payload=b"2"))
    assert not future.done()
    questions.answered(Packet("answer", "pi3-1", 7, number, payload=b"1"))
    assert future.result(0) == 1


def test_a_route_that_a_board_acknowledges_with_nonsense_is_not_used(bundle, monkeypatch):
    monkeypatch.setattr(Board, "_take_route", lambda self, packet: [1])
    message = "pi3-1 does not take its part: its answer is none of ours"
    with pytest.raises(BoardError, match=message), running(bundle):
        pass


def test_a_newer_client_takes_over_and_the_older_one_is_told(bundle):
    image = random_images(bundle, 1)[0]
    with running(bundle) as (older, exchange, _):
        channel = exchange.join("client")  # answers go to the newer from now on
        with Client(bundle, slow_boards(3), channel) as newer:
            newer.wait_ready(5)
            answer = newer.infer(image)
            exchange._queues["client"] = older._channel._own
            with pytest.raises(BoardError, match="a newer client has taken over"):
                older.infer(image, deadline_s=2)
    assert np.array_equal(answer["classes"], reference(bundle, [image])[0]["classes"])


def test_the_clients_clocks_do_not_decide_whom_the_boards_follow(bundle, monkeypatch):
    image = random_images(bundle, 1)[0]
    with running(bundle) as (older, exchange, _):
        hour_ago_ns = time.time_ns() - 3600 * 10**9
        monkeypatch.setattr(time, "time_ns", lambda: hour_ago_ns)  # on the second client's machine
        with Client(bundle, slow_boards(3), exchange.join("client")) as newer:
            newer.wait_ready(5)
            assert newer.absent == ()
            answer = newer.infer(image)
            exchange._queues["client"] = older._channel._own
            with pytest.raises(BoardError, match="a newer client has taken over"):
                older.infer(image, deadline_s=2)
    assert np.array_equal(answer["classes"], reference(bundle, [image])[0]["classes"])


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
        assert all(len(board._engine.routes) <= 8 for board in boards)


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


def test_an_altered_segment_is_refused_when_the_board_starts(small_file, tmp_path):
    bundle = export_bundle(small_file, Cluster.of("pi3", 1, "1gbit"), tmp_path / "bundle")
    path = bundle.path / "model.tflite"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"model.tflite was altered"):
        Board("pi3-1", Bundle(bundle.path), Exchange().join("pi3-1"), frozenset())


def test_stretched_compute_takes_slowdown_times_its_cpu_time():
    stretch = Stretch(5.0)

    def step():
        start = time.thread_time()
        while time.thread_time() - start < 0.01:
            pass

    stretch.learn("step", step)
    start = time.monotonic()
    stretch.run("step", step)
    assert 0.05 <= time.monotonic() - start < 1.0  # 5 x 10 ms, and what a loaded machine adds
    with pytest.raises(ValueError, match=r"slowdown must be at least 1, got 0\.5"):
        Stretch(0.5)


def test_emulated_boards_measure_one_at_a_time(tmp_path):
    turn = tmp_path / "cluster.toml"
    turn.write_text("kept")
    steps = []

    def learn(board):
        def step():
            steps.append(board)
            time.sleep(0.002)  # the others would come in between

        stretches[board].learn("step", step)

    stretches = {name: Stretch(2.0, turn) for name in ("a", "b", "c")}
    boards = [threading.Thread(target=learn, args=(name,)) for name in stretches]
    for board in boards:
        board.start()
    for board in boards:
        board.join()
    assert len(list(itertools.groupby(steps))) == 3
    assert turn.read_text() == "kept"
    turn.unlink()  # as when the command that started them has gone on
    learn("a")
    assert list(steps)[-1] == "a"
    for stretch in stretches.values():
        stretch.close()


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


def test_boards_too_fast_to_emulate_are_refused(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    eight = Cluster.of("pi4", 8, "1gbit")
    assert slowdown_for(eight, 9 * 3.7e9) == pytest.approx(dict.fromkeys(
        (f"pi4-{i}" for i in range(1, 9)), 9.0
    ))  # fmt: skip
    with pytest.raises(ValueError, match=r"8 boards on 2 cores need boards at least 4\.0 times"):
        slowdown_for(eight, 3 * 3.7e9)


def test_a_measurement_survives_its_json(bundle):
    with running(bundle, stretch=Stretch(2.0)) as (client, _, _):
        run, answers = measure(client, random_images(bundle, 4))
    assert len(run.latencies_s) == len(answers) == 4
    assert run.median_s == pytest.approx(np.median(run.latencies_s))
    measurement = Measurement({"boards": run}, 4, 0.0, 0, {"pi3-1": 2.0}, {"boards": 0.5})
    assert Measurement.from_json(measurement.to_json()) == measurement
    for broken in ("", "[]", "{}", json.dumps({"schema_version": 99})):
        with pytest.raises(ValueError, match="not a measurement file"):
            Measurement.from_json(broken)


def test_compare_finds_the_largest_difference_and_counts_images_whose_class_differs():
    ours = [{"y": np.array([[0.1, 0.9]])}, {"y": np.array([[0.6, 0.4]])}]
    theirs = [{"y": np.array([[0.1, 0.8]])}, {"y": np.array([[0.4, 0.6]])}]
    largest, differ = compare(ours, theirs)
    assert largest == pytest.approx(0.2)
    assert differ == 1


@pytest.mark.parametrize(
    ("mine", "other", "largest"),
    [
        ([np.nan, 1.0], [0.5, 1.0], np.inf),
        ([0.5, 1.0], [0.5, np.nan], np.inf),
        ([np.nan, 1.0], [np.nan, 1.5], 0.5),
        ([np.nan, np.nan], [np.nan, np.nan], 0.0),
        ([np.inf, -np.inf], [np.inf, -np.inf], 0.0),
        ([np.inf, 0.0], [-np.inf, 0.0], np.inf),
    ],
)
def test_compare_takes_no_broken_answer_for_an_equal_one(mine, other, largest):
    assert compare([{"y": np.array(mine)}], [{"y": np.array(other)}])[0] == largest


def test_check_image_keeps_a_right_image_as_it_is(bundle):
    spec = bundle.manifest.tensors["image"]
    image = random_images(bundle, 1)[0]
    assert np.array_equal(check_image("image", image, spec), image)
