"""Searches in a folder: settings, workers, and one whole search through the command line."""

import json
import os
import stat
import sys
from types import SimpleNamespace

import grpc
import keras_tuner
import numpy as np
import pytest
from click.testing import CliRunner

from keras_concurrent.cli import main
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.errors import ConcurrentError
from keras_concurrent.interpreter import Segment
from keras_concurrent.networks.architecture import Architecture
from keras_concurrent.search import ConcurrentHyperModel, Space, architecture_of, workers
from keras_concurrent.search.results import read_results
from keras_concurrent.search.settings import Settings, load_data
from keras_concurrent.search.tuning.optuna_oracle import OptunaOracle
from keras_concurrent.search.tuning.session import Session
from keras_concurrent.search.workers import Role, supervise

CLUSTER = Cluster.of("pi4", 2, "1gbit")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three kinds of stripes, as bytes."""
    path = tmp_path_factory.mktemp("data") / "stripes.npz"
    rng = np.random.default_rng(0)

    def some(count):
        labels = np.arange(count) % 3
        pixels = rng.integers(0, 60, (count, 8, 8, 1))
        for row, label in enumerate(labels):
            pixels[row, :: label + 1] += 120
        return pixels.astype(np.uint8), labels

    (train_images, train_labels), (test_images, test_labels) = some(60), some(30)
    np.savez(
        path, train_images=train_images, train_labels=train_labels, test_images=test_images,
        test_labels=test_labels, class_names=["one", "two", "three"],
    )  # fmt: skip
    return path


def run(*arguments):
    done = CliRunner().invoke(main, ["search", *map(str, arguments)])
    assert done.exit_code == 0, done.output + done.stderr
    return done


def test_from_images_to_a_bundle_through_a_kill(images, tmp_path, monkeypatch):
    folder, bundle = tmp_path / "search", tmp_path / "bundle"
    asked = (
        "--data", images, "--boards", 2, "--trials", 2, "--epochs", 1, "--samples", 30,
        "--vertices", "2,3", "--kinds", "DP", "--filters", "4", "--channel-caps", "8",
        "--convolutions", "separable", "--latency-ms", 2,
    )  # fmt: skip
    # The process dies in its second trial.
    fit, calls = ConcurrentHyperModel.fit, []

    def dying(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(*args, **kwargs)

    monkeypatch.setattr(ConcurrentHyperModel, "fit", dying)
    done = CliRunner().invoke(main, ["search", *map(str, asked), "--out", str(folder)])
    assert done.exit_code == 130
    again = CliRunner().invoke(main, ["search", *map(str, asked), "--out", str(folder)])
    assert again.exit_code == 2
    assert "go on with --resume" in again.stderr
    other = CliRunner().invoke(main, ["search", "--resume", str(folder), "--trials", "9"])
    assert other.exit_code == 2
    assert "goes on as it was asked for: leave out --trials" in other.stderr
    figures = json.loads(run("--resume", folder, "--export", bundle, "--json").stdout)
    assert len(calls) == 3  # the first trial was not repeated
    results = read_results(folder / "trials")
    assert [r.status for r in results] == ["COMPLETED"] * 2
    first = json.loads((folder / "first.json").read_text())
    assert [dict(r.values) for r in results] == first
    best = max(results, key=lambda r: r.score)
    assert figures["val_accuracy"] == best.score
    assert figures["latency_s"] <= 0.002
    network = architecture_of(figures["values"])
    made = Bundle(bundle)
    assert Architecture.from_json(made.manifest.architecture) == network
    # The exported model is the trained one.
    data = load_data(str(images))
    segment = Segment((bundle / "model.tflite").read_bytes())
    answers = [segment.run([image[None]])[0].argmax() for image in data.test_images]
    assert np.mean(answers == data.test_labels) == pytest.approx(figures["test_accuracy"])
    # And boards answer from the bundle, with the cluster file that the search kept.
    np.save(tmp_path / "image.npy", data.test_images[0])
    told = CliRunner().invoke(
        main,
        [
            "infer", str(bundle), str(tmp_path / "image.npy"), "--cluster",
            str(folder / "cluster.toml"), "--local", "--json",
        ],
    )  # fmt: skip
    assert told.exit_code == 0, told.output + told.stderr
    said = np.float32(json.loads(told.stdout)["values"])
    np.testing.assert_allclose(said, segment.run([data.test_images[:1]])[0][0], atol=1e-6)
    for name in ("leaderboard.csv", "pareto.png", "importance.csv", "screening.csv"):
        assert (folder / name).stat().st_size > 10
    assert list((folder / "tensorboard").rglob("*tfevents*"))
    # Without its checkpoint a trial is trained again, to the same weights.
    session = Session(folder)
    kept = session.model(best).get_weights()
    (folder / "trials" / f"trial_{best.trial}" / "checkpoint.weights.h5").unlink()
    for one, other in zip(kept, session.model(best).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_settings_are_read_as_they_were_written(tmp_path):
    settings = Settings(
        CLUSTER, "digits", images=50, limits=("latency_s <= 0.01",), space={"kinds": ["DP"]}
    )
    settings.write(tmp_path)
    assert Settings.read(tmp_path) == settings
    assert settings.searched() == Space((8, 8, 1), 10, kinds=("DP",))
    assert len(settings.dataset.train_labels) == 50
    with pytest.raises(ValueError, match="must be a search's folder"):
        Settings.read(tmp_path / "nothing")
    told = json.loads((tmp_path / "search.json").read_text())
    for wrong in ({**told, "schema_version": 9}, {**told, "nonsense": 1}):
        (tmp_path / "search.json").write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match="is no search"):
            Settings.read(tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"tuner": "x"}, {"trials": 0}, {"images": 3}, {"limits": ("latency < 1",)}]
)
def test_settings_check_themselves(wrong):
    with pytest.raises(ValueError, match=r"must"):
        Settings(CLUSTER, **wrong)


def test_a_file_of_images_says_what_it_lacks(tmp_path):
    np.savez(tmp_path / "a.npz", train_images=np.zeros((2, 4, 4, 1)))
    with pytest.raises(ValueError, match="it lacks train_labels, test_images, test_labels"):
        load_data(str(tmp_path / "a.npz"))


def test_a_limit_that_no_screening_knows_is_left_to_the_trials(images, tmp_path):
    Settings(
        CLUSTER, str(images), limits=("concurrency_score <= 99",), samples=20, trials=2,
        space={"vertices": [4], "kinds": ["DP"]},
    ).write(tmp_path)  # fmt: skip
    assert len(Session(tmp_path).screen()) == 2


def test_limits_that_nothing_keeps_are_told_before_any_training(images, tmp_path):
    Settings(
        CLUSTER, str(images), limits=("latency_s <= 0.000001",), samples=20,
        space={"vertices": [4], "kinds": ["DP"]},
    ).write(tmp_path)  # fmt: skip
    with pytest.raises(
        ConcurrentError, match=r"none of .* keeps the limits \(latency_s <= 1e-06: least 0\.0"
    ):
        Session(tmp_path).screen()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("tuner", ["hyperband", "bayesian", "grid", "optuna"])
def test_every_tuner_can_be_asked_for(tuner, images, tmp_path):
    Settings(
        CLUSTER, str(images), tuner=tuner, samples=0, epochs=2, trials=3,
        space={"vertices": [2], "kinds": ["DP"], "filters": [4], "channel_caps": [8]},
    ).write(tmp_path)  # fmt: skip
    made = Session(tmp_path).tuner()
    made.run_trial = lambda trial, **fit: {
        "val_accuracy": trial.hyperparameters.values["graph_seed"] / 1000, "latency_s": 0.1,
    }  # fmt: skip
    made.search(verbose=0)
    assert len(made.oracle.trials) == (2 if tuner == "hyperband" else 3)
    # And it can be gone on with, though there is nothing left to do.
    again = Session(tmp_path).tuner()
    assert again.oracle.end_order == made.oracle.end_order


def test_optuna_finds_both_ends_of_a_front(tmp_path):
    """Accuracy wants x at 1, latency at 0; y only harms accuracy: the front is y at 0."""
    aims = {"accuracy": "max", "latency_s": "min"}
    hps = keras_tuner.HyperParameters()
    hps.Choice("kind", ["a", "b"])
    hps.Fixed("image", "8x8x1")
    with hps.conditional_scope("kind", ["a"]):
        hps.Float("x", 0.01, 1.0, sampling="log")
        hps.Int("y", 0, 9)
        hps.Boolean("z")

    class Tuner(keras_tuner.Tuner):
        def run_trial(self, trial, **fit):
            values = trial.hyperparameters.values
            assert ("x" in values) == (values["kind"] == "a")
            assert values["image"] == "8x8x1"
            x, y = values.get("x", 0.01), values.get("y", 9)
            return {"accuracy": x - y / 10, "latency_s": x}

    def tuner(trials):
        oracle = OptunaOracle(aims, trials, seed=3, hyperparameters=hps)
        return Tuner(oracle, None, directory=tmp_path)

    tuner(12).search(verbose=0)
    whole = tuner(40)  # goes on from the records alone
    assert len(whole.oracle.trials) == 12
    whole.search(verbose=0)
    late = [t.hyperparameters.values for t in whole.oracle.trials.values()][12:]
    assert np.mean([values["kind"] == "a" for values in late]) > 0.6
    ys = [values["y"] for values in late if "y" in values]
    assert np.mean(ys) < 3  # 4.5 by chance
    with pytest.raises(ValueError, match="aims must say"):
        OptunaOracle({"accuracy": "up"}, 3)


def test_a_role_says_what_kerastuner_reads(monkeypatch):
    for name in ("TUNER_ID", "ORACLE_IP", "ORACLE_PORT"):
        monkeypatch.delenv(f"KERASTUNER_{name}", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    Role().take()
    assert not any(name.startswith("KERASTUNER") for name in os.environ)
    Role(worker="10.0.0.1:99", worker_name="pi-3").take()
    assert os.environ["KERASTUNER_TUNER_ID"] == "pi-3"
    assert os.environ["KERASTUNER_ORACLE_IP"] == "10.0.0.1"
    assert os.environ["KERASTUNER_ORACLE_PORT"] == "99"
    assert Role(chief="127.0.0.1:1").name == "chief"
    for wrong in (
        {"chief": "a:1", "worker": "a:1"}, {"chief": "8642"}, {"worker_name": "my-chief"},
        {"worker_name": "a/b"},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"got"):
            Role(**wrong)


def test_a_worker_waits_for_a_chief_that_comes_again(monkeypatch):
    class Away(grpc.RpcError):
        def __init__(self, status):
            self.code = lambda: status

    answers = [Away(grpc.StatusCode.UNAVAILABLE), Away(grpc.StatusCode.UNAVAILABLE), "a trial"]

    def create_trial(tuner_id):
        assert tuner_id == "worker-1"
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(workers, "_POLL_S", 0.01)
    names = ("get_space", "update_space", "update_trial", "end_trial", "get_trial",
             "get_best_trials")  # fmt: skip
    client = SimpleNamespace(create_trial=create_trial, **dict.fromkeys(names, print))
    workers.patient(SimpleNamespace(oracle=client))
    assert client.create_trial("worker-1") == "a trial"
    answers.append(Away(grpc.StatusCode.INTERNAL))
    with pytest.raises(Away):
        client.create_trial("worker-1")


def program(tmp_path, monkeypatch, text):
    """Let a shell script stand for every process of a search."""
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\ncd {tmp_path}\necho $@ >>started\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(path))
    monkeypatch.setattr(workers, "_POLL_S", 0.02)
    return tmp_path / "started"


def test_the_dead_are_started_again_and_the_chief_stopped_at_the_end(tmp_path, monkeypatch):
    # A worker is killed twice, then ends well; the chief is killed once, then waits.
    started = program(
        tmp_path,
        monkeypatch,
        'case "$*" in *--chief*) mkdir c 2>/dev/null && kill -9 $$; exec sleep 60;; esac\n'
        'mkdir "a$9" 2>/dev/null && kill -9 $$; mkdir "b$9" 2>/dev/null && kill -9 $$; sleep 0.2',
    )
    supervise(tmp_path, 2, 8642, lambda: 0)
    lines = started.read_text().splitlines()
    assert sum("--chief 127.0.0.1:8642" in line for line in lines) == 2
    for name in ("worker-0", "worker-1"):
        assert sum(f"--worker 127.0.0.1:8642 --name {name}" in line for line in lines) == 3


def test_only_one_process_hands_out_the_trials(tmp_path):
    with workers.sole(tmp_path), pytest.raises(ConcurrentError, match="another process hands out"):
        workers.sole(tmp_path).__enter__()
    with workers.sole(tmp_path):
        pass


def test_one_that_always_dies_is_given_up(tmp_path, monkeypatch):
    started = program(tmp_path, monkeypatch, "exit 3")
    with pytest.raises(ConcurrentError, match=r"died 6 times while no trial ended"):
        supervise(tmp_path, 1, 8642, lambda: 0)
    assert len(started.read_text().splitlines()) <= 2 * 6
