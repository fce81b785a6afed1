"""From a folder of JPEGs to a bundle on the command line, killed within a trial and resumed."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.learnt import read_learnt
from keras_concurrent.edge.preprocessing import Preprocessing
from keras_concurrent.search.results import read_results

CLASSES = ("across", "down")
FIRST_LINE_S = 10.0  # what was promised


@pytest.fixture
def folder(tmp_path):
    """JPEGs of several sizes: stripes across, and stripes down."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(60):
            height, width = rng.integers(20, 40, 2)
            pixels = rng.integers(0, 120, (height, width, 3)).astype(np.uint8)
            (pixels if name == "across" else pixels.swapaxes(0, 1))[::4] += 130
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.jpg")
    return tmp_path / "pictures"


class Told:
    """A command in a process of its own; its lines with the seconds after which they came."""

    def __init__(self, *words):
        self._begun = time.monotonic()
        self.lines = []
        self._queue = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "keras_concurrent", *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self):
        for line in self.process.stderr:
            self._queue.put((time.monotonic() - self._begun, line.rstrip()))
        self._queue.put(None)

    def until(self, word):
        """Lines up to one that holds a word, or all; whether there was one."""
        while (heard := self._queue.get(timeout=240)) is not None:
            self.lines.append(heard)
            if word is not None and word in heard[1]:
                return True
        return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self._end()

    def _end(self):
        self.process.wait()
        self._listener.join()  # its end of the pipe is closed
        self.process.stdout.close()
        self.process.stderr.close()

    def done(self):
        """Its standard output, when it has ended well."""
        self.until(None)
        output = self.process.stdout.read()
        self._end()
        assert self.process.returncode == 0, self.lines
        return output


@pytest.mark.timeout(400)  # three processes that load TensorFlow
def test_from_a_folder_of_jpegs_to_a_bundle_through_a_kill_within_a_trial(folder, tmp_path):
    search, bundle = tmp_path / "search", tmp_path / "bundle"
    first = Told(
        "search", "--data", folder, "--size", 24, "--boards", 4, "--latency-ms", 5, "--trials", 1,
        "--epochs", 12, "--samples", 40, "--kinds", "DP", "--vertices", "2,3", "--filters", 4,
        "--channel-caps", 8, "--augmentation", "auto", "--averaging", 0.05, "--final-epochs", 3,
        "--out", search, "--export", bundle,
    )  # fmt: skip
    kept = search / "trials" / "trial_0" / "training.npz"
    try:
        assert first.until("trial 0: epoch")
        deadline = time.monotonic() + 60
        while not kept.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        first.kill()
    said = [line for _, line in first.lines]
    assert first.lines[0][0] < FIRST_LINE_S
    assert said[0] == f"reading {folder}"
    assert "120 pictures of 2 classes" in " ".join(said)
    assert any(line.startswith("screened: 40 of 40") for line in said)
    assert said[-1].startswith("trial 0: epoch ")
    assert " left; all 1 trials: about " in said[-1]
    with np.load(kept) as file:
        told = json.loads(str(file["told"]))
    assert 1 <= len(told["logs"]) < 12
    last = Told("search", "--resume", search, "--export", bundle, "--json")
    figures = json.loads(last.done())
    (result,) = read_results(search / "trials")
    assert result.status == "COMPLETED"
    assert not kept.exists()
    assert not list(search.glob("*.npz"))
    # The history of the trial reaches back to before the kill: what was seen then is not forgotten.
    assert figures["val_accuracy"] >= max(logs["val_accuracy"] for logs in told["logs"])
    assert figures["test_accuracy"] > 0.8
    assert figures["bundle_latency_s"] <= 0.005
    manifest = Bundle(bundle).manifest
    assert manifest.class_names == CLASSES
    assert manifest.preprocessing == Preprocessing("0..1")
    assert read_learnt(search / "model.keras").class_names == CLASSES
    answer = Told(
        "infer", bundle, folder / "down" / "3.jpg", "--cluster", search / "cluster.toml",
        "--local", "--json",
    )  # fmt: skip
    assert "down" in answer.done()
