"""Board processes over Zenoh on loopback, started and ended as a user does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from costless import costless

from keras_concurrent.board import Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.client.connect import connect
from keras_concurrent.edge.testbed.local_boards import (
    LocalBoards,
    answering,
    free_ports,
    slowdown_for,
)
from keras_concurrent.edge.watch.bench import compare, measure_bundle, random_images, reference
from keras_concurrent.errors import BoardError
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.network import Network

COMMAND = [sys.executable, "-m", "keras_concurrent"]


def loopback(count):
    """Boards so slow, on a network so fast, that the plan uses them all."""
    boards = tuple(
        Board(f"b{i}", 0.01, f"tcp/127.0.0.1:{port}", call_ms=0.0)
        for i, port in enumerate(free_ports(count))
    )
    return costless(boards, Network(1e6, 0.0))


@pytest.fixture(scope="module")
def made(small_file, tmp_path_factory):
    cluster = loopback(3)
    folder = tmp_path_factory.mktemp("processes")
    (folder / "cluster.toml").write_text(cluster.to_toml())
    bundle = export_bundle(small_file, cluster, folder / "bundle")
    assert len(bundle.placement("boards").programs) == 3
    return bundle, cluster


def board_processes(bundle):
    """Process ids of boards that run this bundle."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if b"board" in words and str(bundle.path).encode() in words:
                found.append(int(entry))
    return found


def gone(bundle, within_s=5.0):
    deadline = time.monotonic() + within_s
    while board_processes(bundle) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not board_processes(bundle)


def test_processes_answer_as_the_uncut_model_and_end_with_the_context(made):
    bundle, cluster = made
    images = random_images(bundle, 20)
    with answering(bundle, cluster, local=True) as client:
        answers = [client.infer(image) for image in images]
        assert len(board_processes(bundle)) == 3
    assert compare(answers, reference(bundle, images)) == (0.0, 0)
    assert gone(bundle)


def test_emulated_boards_take_the_time_they_are_said_to_take(made):
    bundle, cluster = made
    slowdown = dict.fromkeys((board.name for board in cluster.boards), 20.0)
    measurement, _ = measure_bundle(bundle, cluster, random_images(bundle, 10), slowdown=slowdown)
    plain, _ = measure_bundle(bundle, cluster, random_images(bundle, 10), local=True)
    assert measurement.emulated == slowdown
    assert plain.emulated is None
    assert measurement.max_abs_diff_tflite == 0.0
    run = next(e for e in measurement.runs["one_board"].events if e.kind == "run")
    fast = next(e for e in plain.runs["one_board"].events if e.kind == "run")
    assert run.end_s - run.start_s > 4 * (fast.end_s - fast.start_s)


def test_the_messages_of_the_client_of_emulated_boards_take_what_is_described(made):
    bundle, cluster = made
    slow = replace(
        cluster, boards=tuple(replace(board, message_ms=30.0) for board in cluster.boards)
    )
    image = random_images(bundle, 1)[0]
    slowdown = dict.fromkeys((board.name for board in cluster.boards), 1.0)
    took_s = {}
    described = {
        "laptop": cluster.client,
        "on a board": replace(cluster.client, on="b0"),
        "slow": replace(cluster.client, message_ms=30.0),
    }
    for name, client in described.items():
        with LocalBoards(bundle, replace(slow, client=client), slowdown=slowdown) as boards:
            took_s[name] = min(timed(lambda: boards.client.infer(image)) for _ in range(3))
    # At least the first board's part of the image and the answer are 30 ms each of the client.
    assert took_s["on a board"] > took_s["laptop"] + 0.05
    assert took_s["slow"] > took_s["laptop"] + 0.05


def timed(call):
    start = time.monotonic()
    call()
    return time.monotonic() - start


def test_emulated_boards_share_the_work_anew(made):
    bundle, cluster = made
    image = random_images(bundle, 1)[0]
    slowdown = dict.fromkeys((board.name for board in cluster.boards), 20.0)
    with LocalBoards(bundle, cluster, slowdown=slowdown) as boards:
        planned = boards.client.infer(image)["classes"]
        boards.client.rebalance({"b0": 50.0})  # its segments are new to the others
        boards.client.wait_prepared(10)
        assert boards.client.absent == ()
        assert np.array_equal(boards.client.infer(image)["classes"], planned)
        ran = {e.board for e in boards.client.timeline() if e.kind == "run"}
    assert ran == {"b1", "b2"}


def test_a_port_in_use_is_named_and_no_process_is_left(made):
    bundle, cluster = made
    port = int(cluster.boards[1].endpoint.rsplit(":", 1)[1])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(BoardError, match=rf"b1 ended .*cannot listen on .*{port}.*in use"):
            LocalBoards(bundle, cluster).__enter__()
    assert gone(bundle)


def test_the_others_take_over_from_a_killed_and_a_frozen_board_and_at_last_the_client(made):
    bundle, cluster = made
    image = random_images(bundle, 1)[0]
    expected = reference(bundle, [image])[0]["classes"]
    with LocalBoards(bundle, cluster) as boards:
        for victim, number, within_s in (
            ("b1", signal.SIGKILL, 3.0),
            ("b0", signal.SIGSTOP, 4.0),  # noticed when its lease ends
            ("b2", signal.SIGKILL, 3.0),
        ):
            os.kill(boards.processes.process_id(victim), number)
            start = time.monotonic()
            answer = boards.client.infer(image, deadline_s=10.0)
            assert time.monotonic() - start < within_s
            assert np.array_equal(answer["classes"], expected)
        assert boards.client.absent == ("b0", "b1", "b2")
        os.kill(boards.processes.process_id("b0"), signal.SIGCONT)
        deadline = time.monotonic() + 10
        while "b0" in boards.client.absent and time.monotonic() < deadline:
            time.sleep(0.05)
        answer = boards.client.infer(image)
        assert {event.board for event in boards.client.timeline()} == {"b0", "client"}
        assert np.array_equal(answer["classes"], expected)
    assert gone(bundle)


def test_a_client_that_comes_after_a_board_has_died_is_answered_all_the_same(made):
    bundle, cluster = made
    image = random_images(bundle, 1)[0]
    with LocalBoards(bundle, cluster) as boards:
        boards.processes.kill("b1")
        with connect(bundle, cluster, ready="some") as client:
            assert client.absent == ("b1",)
            answer = client.infer(image)
    assert np.array_equal(answer["classes"], reference(bundle, [image])[0]["classes"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_board_outlives_the_command_that_started_it(made, number):
    bundle, _ = made
    command = [
        *COMMAND, "bench", str(bundle.path), "--cluster", str(bundle.path.parent / "cluster.toml"),
        "--local", "--images", "20000",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 20
    while not board_processes(bundle) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert gone(bundle)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "Interrupted" in said
        assert "Traceback" not in said


def test_a_board_command_says_what_is_wrong_with_its_bundle(made, tmp_path):
    bundle, _ = made
    done = subprocess.run(
        [
            *COMMAND, "board", "--name", "b0", "--bundle", str(tmp_path), "--cluster",
            str(bundle.path.parent / "cluster.toml"),
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "is not a bundle: cannot read manifest.json" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("slowdown", ["0.5", "-2"])
def test_a_board_that_cannot_be_emulated_ends_and_leaves_its_port(made, slowdown):
    bundle, _ = made
    done = subprocess.run(
        [
            *COMMAND, "board", "--name", "b0", "--bundle", str(bundle.path), "--cluster",
            str(bundle.path.parent / "cluster.toml"), "--slowdown", slowdown,
        ],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 2
    assert "slowdown must be at least 1, got" in done.stderr


def test_infer_through_started_boards_prints_the_class(made, tmp_path):
    bundle, _ = made
    image = random_images(bundle, 1)[0]
    np.save(tmp_path / "image.npy", image)
    done = subprocess.run(
        [
            *COMMAND, "infer", str(bundle.path), str(tmp_path / "image.npy"), "--cluster",
            str(bundle.path.parent / "cluster.toml"), "--local", "--json",
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)["outputs"]["classes"]["values"]
    assert np.array_equal(np.float32(values), reference(bundle, [image])[0]["classes"].ravel())


def test_boards_too_fast_to_emulate_are_refused(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    eight = Cluster.of("pi4", 8, "1gbit", cores=1)
    rate = eight.boards[0].flops_per_s
    assert slowdown_for(eight, 9 * rate) == pytest.approx(dict.fromkeys(
        (f"pi4-1core-{i}" for i in range(1, 9)), 9.0
    ))  # fmt: skip
    with pytest.raises(ValueError, match=r"8 boards on 2 cores need boards at least 4\.0 times"):
        slowdown_for(eight, 3 * rate)
