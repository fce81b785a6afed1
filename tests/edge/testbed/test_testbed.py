"""Emulated boards for any command, with paced links and with the kernel's."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from costless import costless

from keras_concurrent.board import Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.client.connect import connect
from keras_concurrent.edge.client.deploy import deploy
from keras_concurrent.edge.testbed.namespaces import Namespaces
from keras_concurrent.edge.testbed.testbed import Testbed
from keras_concurrent.edge.watch.bench import random_images
from keras_concurrent.errors import TransportError
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.measured.host import _mobilenet
from keras_concurrent.network import Network
from keras_concurrent.tflite.file import TfliteFile

COMMAND = [sys.executable, "-m", "keras_concurrent"]
kernel_links = pytest.mark.skipif(
    os.geteuid() != 0, reason="namespaces need root: they are the second way to check the first"
)


def slow_boards():
    """So slow that the plan uses both; where they listen is the testbed's choice."""
    boards = tuple(Board(f"t{i}", 0.01, f"tcp/127.0.0.1:{7000 + i}", call_ms=0.0) for i in range(2))
    return costless(boards, Network(1000.0, 0.0))


@pytest.fixture(scope="module")
def described(small_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("testbed")
    (folder / "cluster.toml").write_text(slow_boards().to_toml())
    return export_bundle(small_file, slow_boards(), folder / "bundle"), folder


def left_over(mark):
    """Processes whose command line holds a mark, this one aside."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                if mark.encode() in file.read() and int(entry) != os.getpid():
                    found.append(int(entry))
        except OSError:
            continue
    return found


def interfaces(process_id):
    """Namespaces and interfaces that a testbed's process made."""
    mark = f"kcc{process_id}"
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
    spaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    return [line for line in (links + spaces).splitlines() if mark in line]


@pytest.mark.parametrize("links", [[], pytest.param(["--namespaces"], marks=kernel_links)])
def test_a_command_deploys_to_and_asks_emulated_boards_that_end_with_it(described, links):
    bundle, folder = described
    script = (
        f"{sys.executable} -m keras_concurrent deploy {bundle.path} && "
        f"{sys.executable} -m keras_concurrent bench {bundle.path} --images 5 --json"
    )
    process = subprocess.Popen(
        [*COMMAND, "testbed", "--cluster", str(folder / "cluster.toml"), "--full-speed", *links,
         "--", "sh", "-c", script],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    said, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    assert '"classes_differ": 0' in said
    assert said.count("files,") == 2
    assert interfaces(process.pid) == []


def test_boards_as_described_take_for_each_segment_what_the_plan_says(described):
    bundle, _ = described
    factors = {"t0": 3.0, "t1": 200.0}  # of this machine's time, which does not count
    with Testbed(slow_boards(), factors, as_described=True) as testbed:
        names, there = list(factors), testbed.cluster
        with connect(bundle, there, pace=testbed.pace, ready="none") as client:
            client.reach(names)
            deploy(client.questions.ask, bundle, names)
        with connect(bundle, there, pace=testbed.pace) as client:
            assert client.slowdowns == factors
            for image in random_images(bundle, 3):
                client.infer(image)
            ran = {e.name: e.end_s - e.start_s for e in client.timeline() if e.kind == "run"}
    planned = {
        event.name: event.end_s - event.start_s
        for event in bundle.placement("boards").predicted
        if event.kind == "run"
    }
    assert ran.keys() == planned.keys()
    assert {event.board for event in bundle.placement("boards").predicted} >= set(names)
    for name, seconds in planned.items():
        assert seconds <= ran[name] < seconds + 0.02  # what a loaded machine adds


def test_the_commands_status_is_the_testbeds(described):
    _, folder = described
    words = ["testbed", "--cluster", str(folder / "cluster.toml"), "--full-speed", "--"]
    done = subprocess.run([*COMMAND, *words, "sh", "-c", "exit 7"], timeout=60)
    assert done.returncode == 7


@pytest.mark.parametrize("links", [[], pytest.param(["--namespaces"], marks=kernel_links)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_stays_after_an_interrupt(described, links, number):
    _, folder = described
    process = subprocess.Popen(
        [*COMMAND, "testbed", "--cluster", str(folder / "cluster.toml"), "--full-speed", *links,
         "--", "sh", "-c", "echo begun; exec sleep 60"],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    process.wait(timeout=30)
    process.stdout.close()
    assert process.returncode == 130
    assert interfaces(process.pid) == []


@kernel_links
def test_what_a_killed_testbed_left_behind_goes_with_the_next(described):
    _, folder = described
    process = subprocess.Popen(
        [*COMMAND, "testbed", "--cluster", str(folder / "cluster.toml"), "--full-speed",
         "--namespaces", "--", "sh", "-c", "echo begun; sleep 5"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "begun\n"
    process.kill()
    process.communicate(timeout=30)
    assert interfaces(process.pid)
    deadline = time.monotonic() + 10  # the boards end with it
    while left_over(f"kcc{process.pid}n") and time.monotonic() < deadline:
        time.sleep(0.05)
    with Namespaces(["one"], 100.0):
        assert interfaces(process.pid) == []
        assert interfaces(os.getpid())
    assert interfaces(os.getpid()) == []


@pytest.mark.parametrize(
    ("memory_mb", "said"),
    [
        (8.0, r"t0 refuses 'offer': its segments have 12\.8 MB of weights, and it has 8\.0 MB"),
        # The weights would fit, but not the interpreter's second copy of them: the system refuses.
        (20.0, r"t0 (refuses|disappeared before it answered) '"),
    ],
)
def test_a_board_has_no_more_memory_than_the_cluster_file_says(tmp_path, memory_mb, said):
    heavy = TfliteFile(_mobilenet()[0])
    roomy = Cluster((Board("t0", 1.0, "tcp/127.0.0.1:7447"),), Network(1000.0, 0.0))
    bundle = export_bundle(heavy, roomy, tmp_path / "bundle")
    scarce = dataclasses.replace(roomy.boards[0], memory_mb=memory_mb)
    (tmp_path / "cluster.toml").write_text(Cluster((scarce,), roomy.network).to_toml())
    words = ["testbed", "--cluster", str(tmp_path / "cluster.toml"), "--full-speed", "--"]
    done = subprocess.run(
        [*COMMAND, *words, *COMMAND, "deploy", str(bundle.path)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(said, done.stderr), done.stderr


def test_namespaces_without_root_or_on_wifi_say_so(monkeypatch):
    with pytest.raises(ValueError, match="one rate for all interfaces"):
        Testbed(Cluster.of("pi4", 2, "54mbit-wifi"), None, namespaces=True)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name: name)
    with pytest.raises(TransportError, match="need root; without it messages are paced"):
        Namespaces(["one"], 100.0)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(TransportError, match="install iproute2"):
        Namespaces(["one"], 100.0)
