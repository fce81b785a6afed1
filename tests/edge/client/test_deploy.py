"""Handing bundles to boards: only what is lacking, checked, all or nothing, and back."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from costless import costless

from keras_concurrent import files
from keras_concurrent.cluster import Board as BoardEntry
from keras_concurrent.edge.board.depot import Depot
from keras_concurrent.edge.board.store import Store
from keras_concurrent.edge.board.worker import Board
from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.client.deploy import Deployment, deploy, roll_back
from keras_concurrent.edge.link import questions
from keras_concurrent.edge.link.transport import Exchange
from keras_concurrent.edge.testbed.local_boards import free_ports
from keras_concurrent.edge.watch.bench import random_images, reference
from keras_concurrent.errors import BoardError, BundleError
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.network import Network

NAMES = ("d0", "d1")


def slow_boards(endpoints=("tcp/127.0.0.1:7447", "tcp/127.0.0.1:7448"), latency_ms=0.0):
    boards = (
        BoardEntry(name, 0.01, endpoint, call_ms=0.0)
        for name, endpoint in zip(NAMES, endpoints, strict=True)
    )
    return costless(tuple(boards), Network(1e6, latency_ms))


@pytest.fixture(scope="module")
def bundles(small_file, tmp_path_factory):
    """Two plans of one model: the second is cut otherwise, the uncut model is the same."""
    folder = tmp_path_factory.mktemp("bundles")
    first = export_bundle(small_file, slow_boards(), folder / "first")
    second = export_bundle(small_file, slow_boards(latency_ms=1.0), folder / "second")
    assert first.sha256 != second.sha256
    return first, second


@contextmanager
def boards_with(stores, bundle):
    """A client of boards that keep their bundles in stores."""
    exchange, stopped = Exchange(), threading.Event()
    boards = [
        Board(name, store.current(), exchange.join(name), frozenset(NAMES) - {name}, store=store)
        for name, store in zip(NAMES, stores, strict=True)
    ]
    threads = [threading.Thread(target=board.serve, args=(stopped,)) for board in boards]
    for thread in threads:
        thread.start()
    try:
        with Client(bundle, slow_boards(), exchange.join("client")) as client:
            assert client.reach(NAMES) == NAMES
            yield client, boards
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def stores(tmp_path):
    return [Store(tmp_path / name) for name in NAMES]


def sizes(bundle):
    return {segment.sha256: segment.bytes for segment in bundle.manifest.segments.values()}


def test_a_board_gets_every_file_once_and_a_new_plan_sends_only_what_is_new(bundles, stores):
    first, second = bundles
    with boards_with(stores, first) as (client, _):
        all_of_it = [Deployment(b, len(sizes(first)), sum(sizes(first).values())) for b in NAMES]
        assert list(deploy(client.questions.ask, first, NAMES)) == all_of_it
        assert list(deploy(client.questions.ask, first, NAMES)) == [
            Deployment(b, 0, 0) for b in NAMES
        ]
        new = {sha: size for sha, size in sizes(second).items() if sha not in sizes(first)}
        assert 0 < len(new) < len(sizes(second))  # the uncut model is there already
        sent = [Deployment(b, len(new), sum(new.values())) for b in NAMES]
        assert list(deploy(client.questions.ask, second, NAMES)) == sent


def test_the_boards_answer_with_what_was_deployed_also_after_a_restart(bundles, stores):
    image = random_images(bundles[0], 1)[0]
    expected = reference(bundles[0], [image])[0]["classes"]
    with boards_with(stores, bundles[0]) as (client, _):
        with pytest.raises(BundleError, match="has another bundle"):
            client.wait_ready(3)
        deploy(client.questions.ask, bundles[0], NAMES)
        client.wait_ready(5)
        assert np.array_equal(client.infer(image)["classes"], expected)
    again = [Store(store.folder) for store in stores]
    with boards_with(again, bundles[0]) as (client, _):
        client.wait_ready(5)
        assert np.array_equal(client.infer(image)["classes"], expected)


def test_a_client_of_the_old_bundle_is_told(bundles, stores):
    image = random_images(bundles[0], 1)[0]
    with boards_with(stores, bundles[0]) as (client, _):
        deploy(client.questions.ask, bundles[0], NAMES)
        client.wait_ready(5)
        deploy(client.questions.ask, bundles[1], NAMES)
        with pytest.raises(BoardError, match="its bundle was exchanged: connect anew"):
            client.infer(image, deadline_s=5)


@pytest.mark.parametrize("finish", [True, False])
def test_images_on_their_way_finish_or_end_in_an_error_as_asked(bundles, stores, finish):
    """One board has begun its part of an image, the other has nothing yet when both switch."""
    image = random_images(bundles[0], 1)[0]
    expected = reference(bundles[0], [image])[0]["classes"]
    with boards_with(stores, bundles[0]) as (client, boards):
        deploy(client.questions.ask, bundles[0], NAMES)
        client.wait_ready(5)
        client.infer(image)
        held, accept = [], boards[0]._sessions.accept
        boards[0]._sessions.accept = lambda *tensor: held.append(tensor)
        future = client.submit(image, deadline_s=20)
        began = time.monotonic()
        while not held and time.monotonic() < began + 5:
            time.sleep(0.01)
        assert {sender for sender, *_ in held} == {"d1"}
        time.sleep(0.2)  # it has sent all that it can
        deploy(client.questions.ask, bundles[1], NAMES, finish=finish)
        assert [board._workshop.sha256 for board in boards] == [bundles[1].sha256] * 2
        boards[0]._sessions.accept = accept
        for tensor in held:
            accept(*tensor)  # the board's thread has nothing to do meanwhile
        if finish:
            assert np.array_equal(future.result()["classes"], expected)
        else:
            with pytest.raises(BoardError, match="its bundle was exchanged: connect anew"):
                future.result(5)


def test_times_of_a_bundle_do_not_count_for_the_next(bundles, stores):
    first, second = bundles
    with boards_with(stores, first) as (client, _):
        deploy(client.questions.ask, first, NAMES)
        client.wait_ready(5)
        client.infer(random_images(first, 1)[0])
        assert any(client.questions.ask(name, questions.Status()).p95_s for name in NAMES)
        deploy(client.questions.ask, second, NAMES)
        assert not any(client.questions.ask(name, questions.Status()).p95_s for name in NAMES)


def test_roll_back_returns_to_the_bundle_before_and_again_to_the_later_one(bundles, stores):
    first, second = bundles
    with boards_with(stores, first) as (client, boards):
        with pytest.raises(BoardError, match="there is no bundle before this one; no board"):
            roll_back(client.questions.ask, NAMES)
        for bundle in bundles:
            deploy(client.questions.ask, bundle, NAMES)
        for expected in (first, second):
            roll_back(client.questions.ask, NAMES)
            assert [board._workshop.sha256 for board in boards] == [expected.sha256] * 2
            assert [Store(s.folder).current().sha256 for s in stores] == [expected.sha256] * 2


def test_nothing_is_kept_that_two_bundles_do_not_need(bundles, stores, small_file, tmp_path):
    third = export_bundle(small_file, slow_boards(latency_ms=3.0), tmp_path / "third")
    with boards_with(stores, bundles[0]) as (client, _):
        for bundle in (*bundles, third):
            deploy(client.questions.ask, bundle, NAMES)
    files = {path.name for path in (stores[0].folder / "files").iterdir()}
    assert files == sizes(bundles[1]).keys() | sizes(third).keys()
    assert len(list((stores[0].folder / "bundles").iterdir())) == 2


def test_no_board_switches_when_one_cannot_be_given_its_files(bundles, stores):
    first, second = bundles
    with boards_with(stores, first) as (client, boards):
        deploy(client.questions.ask, first, NAMES)
        boards[1]._depot.store.take = lambda *_: (_ for _ in ()).throw(BundleError("no space left"))
        with pytest.raises(BoardError, match=r"d1 refuses 'file': no space left"):
            deploy(client.questions.ask, second, NAMES)
        assert [board._workshop.sha256 for board in boards] == [first.sha256] * 2


def test_a_failed_deploy_leaves_no_files(bundles, stores):
    first, second = bundles
    with boards_with(stores, first) as (client, boards):
        deploy(client.questions.ask, first, NAMES)
        boards[1]._depot.store.take = lambda *_: (_ for _ in ()).throw(BundleError("no space left"))
        with pytest.raises(BoardError, match="no space left"):
            deploy(client.questions.ask, second, NAMES)
    for store in stores:
        assert {path.name for path in (store.folder / "files").iterdir()} == sizes(first).keys()
        assert [path.name for path in (store.folder / "bundles").iterdir()] == [first.sha256]


def test_a_disk_that_is_full_at_the_switch_leaves_the_board_as_it_was(bundles, stores, monkeypatch):
    first, second = bundles
    image = random_images(first, 1)[0]
    make = tempfile.mkstemp

    def full(*, prefix, dir):
        if dir == stores[1].folder:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return make(prefix=prefix, dir=dir)

    with boards_with(stores, first) as (client, boards):
        deploy(client.questions.ask, first, NAMES)
        with monkeypatch.context() as patch:
            patch.setattr(files.tempfile, "mkstemp", full)
            told = f"d0 did switch: now d0 runs {second.sha256[:12]}, d1 runs {first.sha256[:12]}$"
            with pytest.raises(BoardError, match=f"d1 refuses 'switch': .*No space left.*; {told}"):
                deploy(client.questions.ask, second, NAMES)
        assert [board._workshop.sha256 for board in boards] == [second.sha256, first.sha256]
        kept = {path.name for path in (stores[1].folder / "files").iterdir()}
        assert kept == sizes(first).keys()
        assert stores[1].current().sha256 == first.sha256
        roll_back(client.questions.ask, ["d0"])
        client.wait_ready(5)
        expected = reference(first, [image])[0]["classes"]
        assert np.array_equal(client.infer(image)["classes"], expected)


def test_of_two_deploys_at_once_a_whole_bundle_is_left(bundles, tmp_path):
    """Whatever messages of two clients come in between each other."""
    outcomes = set()
    for seed in range(12):
        store, workshop = Store(tmp_path / str(seed)), Workshop()
        depot = Depot("d0", store, workshop, lambda bundle, w=workshop, **_: w.take(bundle, "d0"))
        waiting = {n: said_by(depot, n, bundle) for n, bundle in enumerate(bundles)}
        done, refusals, rng = [], [], random.Random(seed)
        while waiting:
            number = rng.choice(sorted(waiting))
            try:
                next(waiting[number])
            except StopIteration:
                done.append(number)
                del waiting[number]
            except BundleError as error:
                refusals.append(str(error))
                del waiting[number]
        assert done
        assert all("another client is deploying" in refusal for refusal in refusals)
        assert workshop.sha256 == bundles[done[-1]].sha256 == store.current().sha256
        outcomes.add(tuple(done))
    assert {(0,), (1,)} <= outcomes


def said_by(depot, session, bundle):
    """All that a client asks for to deploy a bundle, one message at a time."""
    manifest = (bundle.path / "manifest.json").read_bytes()
    lacking = depot.answer(questions.Offer(manifest), session).files
    yield
    for name, spec in bundle.manifest.segments.items():
        if spec.sha256 in lacking:
            depot.answer(questions.File(spec.sha256, bundle.content(name)), session)
            yield
    depot.answer(questions.Switch(), session)


def test_who_went_away_in_the_middle_hinders_nobody(bundles, tmp_path):
    depot = Depot("d0", Store(tmp_path), Workshop(), lambda bundle, **_: None)
    left, other = (said_by(depot, n, bundle) for n, bundle in enumerate(bundles))
    next(left)
    with pytest.raises(BundleError, match="another client is deploying to this board"):
        next(said_by(depot, 7, bundles[1]))
    depot.release()
    for _ in other:
        pass
    with pytest.raises(BundleError, match="no bundle was offered, or it was withdrawn"):
        next(left)


def test_a_bundle_altered_on_the_sender_is_not_sent(bundles, stores, tmp_path):
    shutil.copytree(bundles[0].path, tmp_path / "bundle")
    path = tmp_path / "bundle" / "model.tflite"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match="was altered"):
        deploy(lambda *_: pytest.fail("something was sent"), Bundle(tmp_path / "bundle"), NAMES)
    assert list((stores[0].folder / "files").iterdir()) == []


def test_a_board_without_a_store_says_so(bundles, stores):
    with boards_with(stores, bundles[0]) as (client, boards):
        for board in boards:
            board._depot.store = None
        with pytest.raises(BoardError, match="this board has no --store"):
            deploy(client.questions.ask, bundles[0], NAMES)


# ---------------------------------------------------------------- as processes


def test_the_deploy_command_starts_empty_boards_and_a_restart_finds_the_bundle(
    small_file, tmp_path
):
    cluster = slow_boards([f"tcp/127.0.0.1:{port}" for port in free_ports(2)])
    (tmp_path / "cluster.toml").write_text(cluster.to_toml())
    bundle = export_bundle(small_file, cluster, tmp_path / "bundle")
    image = random_images(bundle, 1)[0]
    np.save(tmp_path / "image.npy", image)
    base = [sys.executable, "-m", "keras_concurrent"]
    shared = ["--cluster", str(tmp_path / "cluster.toml")]

    def start():
        return [
            subprocess.Popen(
                [*base, "board", "--name", name, "--store", str(tmp_path / name),
                 "--until-stdin-closes", *shared],
                stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for name in NAMES
        ]  # fmt: skip

    def run(*words):
        done = subprocess.run([*base, *words, *shared], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    everything = len(bundle.manifest.segments)
    for lacking in ((everything, everything), (0, 0), (1, 0)):
        if lacking == (1, 0):
            next((tmp_path / "d0" / "files").iterdir()).write_bytes(b"")  # after a power cut
        processes = start()
        try:
            for process, lacks in zip(processes, lacking, strict=True):
                if lacks == 1:
                    assert "begins without its bundle" in process.stderr.readline()
                assert "is ready" in process.stderr.readline()
            said = json.loads(run("deploy", str(bundle.path), "--json"))
            assert [(d["board"], d["files"]) for d in said] == list(
                zip(NAMES, lacking, strict=True)
            )
            answer = run("infer", str(bundle.path), str(tmp_path / "image.npy"), "--json")
            values = np.float32(json.loads(answer)["outputs"]["classes"]["values"])
            assert np.array_equal(values, reference(bundle, [image])[0]["classes"].ravel())
        finally:
            for process in processes:
                process.stdin.close()
                process.stderr.close()
                process.wait(timeout=20)
