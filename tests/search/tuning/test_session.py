"""Searches in a folder: each tuner, and one whole search through the command line."""

import json

import keras_tuner
import numpy as np
import pytest
from click.testing import CliRunner

from keras_concurrent import datasets
from keras_concurrent.cli import main
from keras_concurrent.cluster import Cluster
from keras_concurrent.datasets.scaling import values_of
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.errors import ConcurrentError
from keras_concurrent.interpreter import Segment
from keras_concurrent.networks.architecture import Architecture
from keras_concurrent.recipe import Recipe
from keras_concurrent.search import ConcurrentHyperModel, architecture_of
from keras_concurrent.search.results import read_results
from keras_concurrent.search.settings import Settings
from keras_concurrent.search.tuning.optuna_oracle import OptunaOracle
from keras_concurrent.search.tuning.session import Session

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
        "--convolutions", "separable", "--latency-ms", 5, "--final-epochs", 0,
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
    assert figures["latency_s"] <= 0.005
    assert figures["bundle_latency_s"] <= 0.005
    assert figures["missed"] == []
    network = architecture_of(figures["values"])
    made = Bundle(bundle)
    assert Architecture.from_json(made.manifest.architecture) == network
    # The exported model is the trained one.
    data = datasets.load(images)
    segment = Segment((bundle / "model.tflite").read_bytes())
    pictures = values_of(data.test_images)
    answers = [segment.run([image[None]])[0].argmax() for image in pictures]
    assert np.mean(answers == data.test_labels) == pytest.approx(figures["test_accuracy"])
    # And boards answer from the bundle, with the cluster file that the search kept.
    np.save(tmp_path / "image.npy", pictures[0])
    told = CliRunner().invoke(
        main,
        [
            "infer", str(bundle), str(tmp_path / "image.npy"), "--cluster",
            str(folder / "cluster.toml"), "--local", "--json",
        ],
    )  # fmt: skip
    assert told.exit_code == 0, told.output + told.stderr
    said = np.float32(json.loads(told.stdout)["outputs"]["classes"]["values"])
    np.testing.assert_allclose(said, segment.run([pictures[:1]])[0][0], atol=1e-6)
    for name in ("leaderboard.csv", "pareto.png", "importance.csv", "screening.csv"):
        assert (folder / name).stat().st_size > 10
    assert list((folder / "tensorboard").rglob("*tfevents*"))
    # Without its checkpoint a trial is trained again, to the same weights.
    session = Session(folder)
    kept = session.model(best).get_weights()
    (folder / "trials" / f"trial_{best.trial}" / "checkpoint.weights.h5").unlink()
    for one, other in zip(kept, session.model(best).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_bundle_that_misses_the_wish_is_written_and_told_of(images, tmp_path):
    folder, bundle = tmp_path / "search", tmp_path / "bundle"
    Settings(
        CLUSTER, str(images), samples=0, trials=1, recipe=Recipe(epochs=1), final_epochs=0,
        space={"vertices": [2], "kinds": ["DP"], "filters": [4], "channel_caps": [8]},
    ).write(folder)  # fmt: skip
    figures = json.loads(run("--resume", folder, "--json").stdout)
    settings = folder / "search.json"
    wish = json.loads(settings.read_text()) | {"limits": ["latency_s <= 1e-05", "flops <= 1e9"]}
    settings.write_text(json.dumps(wish))
    done = CliRunner().invoke(main, ["search", "--resume", str(folder), "--export", str(bundle)])
    assert done.exit_code == 1
    promised, come_to = figures["latency_s"], Bundle(bundle).placement("boards").predicted_latency_s
    assert done.stderr.splitlines()[-1] == (
        f"{bundle} misses latency_s <= 1e-05: {come_to * 1e3:.2f} ms, "
        f"the search promised {promised * 1e3:.2f} ms"
    )


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
        CLUSTER, str(images), tuner=tuner, samples=0, recipe=Recipe(epochs=2), trials=3,
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
