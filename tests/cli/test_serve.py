"""`serve` as a user starts and ends it."""

import http.client
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
from command_line import run
from in_process import slow_boards

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.testbed.local_boards import free_ports
from keras_concurrent.edge.watch.bench import random_images, reference
from keras_concurrent.export.assemble import export_bundle

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")


@pytest.fixture(scope="module")
def folder(small_file, tmp_path_factory):
    """A bundle, and a cluster file."""
    folder = tmp_path_factory.mktemp("serve")
    export_bundle(small_file, slow_boards(3), folder / "small")
    boards = Cluster.of("pi3", 3, ports=free_ports(3))
    (folder / "cluster.toml").write_text(boards.to_toml())
    return folder


def test_it_serves_until_it_is_told_to_end(folder):
    from keras_concurrent.edge.bundle import Bundle

    bundle = Bundle(folder / "small")
    image = random_images(bundle, 1)[0]
    words = ["serve", "small", "--cluster", "cluster.toml", "--local", "--port", "0"]
    command = [sys.executable, "-m", "keras_concurrent", *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        ended = threading.Timer(50, process.kill)
        ended.start()
        try:
            line = process.stdout.readline()
            said = re.fullmatch(
                r"serving 'small' on 3 boards at http://127\.0\.0\.1:(\d+)/\n", line
            )
            assert said, line
            connection = http.client.HTTPConnection("127.0.0.1", int(said[1]), timeout=20)
            path, headers = "/v2/models/small/infer", {"Inference-Header-Content-Length": "0"}
            connection.request("POST", path, image.tobytes(), headers)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            expected = reference(bundle, [image])[0]["classes"].tobytes()
            assert body[int(answer.headers["Inference-Header-Content-Length"]) :] == expected
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            ended.cancel()
            process.kill()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--host", "0.0.0.0"], 1, "whoever reaches it could ask the boards: give a token"),
        (["--certificate", "cluster.toml"], 1, "a certificate and its private key, got one of"),
        (["--model", "a/b", "--local"], 2, "a model's name must fit into an address, got 'a/b'"),
        (["--token-file", "cluster.toml"], 1, "can be read by others"),
    ],
)
def test_what_would_be_open_or_wrong_is_refused_in_a_sentence(folder, words, status, message):
    paths = [folder / word if word == "cluster.toml" else word for word in words]
    said = run(
        "serve", folder / "small", "--cluster", folder / "cluster.toml", *paths, status=status
    )
    assert message in said.stderr
