"""Several clients of the same boards at once: each gets its own answers, whatever the others do."""

import threading
import time

import numpy as np
from in_process import clock_of, running, serving, slow_boards

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.board.store import Store
from keras_concurrent.edge.board.worker import Board
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.client.deploy import deploy
from keras_concurrent.edge.link.transport import Exchange
from keras_concurrent.edge.watch.bench import compare, random_images, reference
from keras_concurrent.errors import BoardError
from keras_concurrent.export.assemble import export_bundle

NAMES = ("pi3-1", "pi3-2", "pi3-3")


def another(bundle, exchange):
    return Client(bundle, slow_boards(3), exchange.join(CLIENT, clock=clock_of(CLIENT)))


def test_clients_get_the_answers_to_their_own_images(bundle):
    images = random_images(bundle, 30)
    expected = reference(bundle, images)
    found = {}
    with (
        running(bundle) as (first, exchange, _),
        another(bundle, exchange) as second,
        another(bundle, exchange) as third,
    ):

        def ask(client, number):  # each begins elsewhere, so that a mixed-up answer is wrong
            own = [*images[number * 10 :], *images[: number * 10]]
            found[number] = list(client.stream(own, deadline_s=20))

        second.wait_ready(5)
        third.wait_ready(5)
        threads = [
            threading.Thread(target=ask, args=(client, number))
            for number, client in enumerate((first, second, third))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        timeline = second.timeline()
    for number in range(3):
        own = [*expected[number * 10 :], *expected[: number * 10]]
        assert compare(found[number], own) == (0.0, 0)
    assert {e.board for e in timeline if e.kind == "run"} == set(NAMES)


def test_all_clients_go_on_without_a_board_that_is_lost_and_after_one_of_them_ends(bundle):
    image = random_images(bundle, 1)[0]
    expected = reference(bundle, [image])[0]["classes"]
    with running(bundle) as (first, exchange, _), another(bundle, exchange) as second:
        with another(bundle, exchange) as third:
            second.wait_ready(5)
            third.wait_ready(5)
            exchange.leave("pi3-2")
            for client in (first, second, third):
                assert np.array_equal(client.infer(image, deadline_s=10)["classes"], expected)
        for client in (second, first):
            assert np.array_equal(client.infer(image, deadline_s=10)["classes"], expected)
            assert client.absent == ("pi3-2",)


def test_clients_of_another_bundle_do_not_disturb_each_other(small_file, bundle, tmp_path, caplog):
    """Their tensors have other sizes and numbers; over Zenoh each gets to see the other's."""
    from keras_concurrent import Cluster

    other = export_bundle(small_file, Cluster.of("pi3", 3, "1gbit"), tmp_path / "other")
    image = random_images(bundle, 1)[0]
    stores = {name: Store(tmp_path / name) for name in NAMES}
    exchange = Exchange()
    boards = [
        Board(n, bundle, exchange.join(n), frozenset(NAMES) - {n}, store=stores[n]) for n in NAMES
    ]
    with serving(*boards), another(bundle, exchange) as older:
        older.wait_ready(5)
        expected = older.infer(image)["classes"]
        with another(other, exchange) as newer:
            assert newer.reach(NAMES) == NAMES
            stopped, ended = threading.Event(), []

            def stream():
                while not stopped.is_set():
                    asked = time.monotonic()
                    try:
                        ended.append(older.infer(image, deadline_s=5)["classes"])
                    except BoardError as error:
                        ended.append(str(error))
                        assert time.monotonic() - asked < 1.0

            thread = threading.Thread(target=stream)
            thread.start()
            deploy(newer.questions.ask, other, NAMES)
            newer.wait_ready(5)
            answer = newer.infer(image)["classes"]
            time.sleep(0.1)
            stopped.set()
            thread.join()
    assert np.array_equal(answer, expected)
    told = [end for end in ended if isinstance(end, str)]
    assert told
    assert all("its bundle was exchanged: connect anew" in end for end in told)
    assert all(np.array_equal(end, expected) for end in ended if not isinstance(end, str))
    assert "sent what was refused" not in caplog.text
