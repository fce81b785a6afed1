import io
import math
import sys

import keras
import numpy as np
import pytest

from keras_concurrent import datasets, training
from keras_concurrent.layers import ConvBlock
from keras_concurrent.models import build_model
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.training import fitting


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


def tiny(seed=0):
    keras.utils.set_random_seed(seed)
    architecture = stage(
        generate("DP", 4, seed=1), (8, 8, 1), 10, filters=16, channel_cap=32, separable=False
    )
    return build_model(architecture)


def dense(shape=(8, 8, 1), classes=10):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )


def test_a_tiny_concurrent_network_learns_the_digits(digits):
    model = tiny()
    result = training.train(model, digits, epochs=10, batch_size=32, learning_rate=1e-2)
    assert result.test_accuracy > 0.8  # guessing gives 0.1
    predicted = model.predict(digits.test_images, verbose=0).argmax(axis=1)
    assert np.mean(predicted == digits.test_labels) == pytest.approx(result.test_accuracy)
    assert 0 < result.first_step_seconds < result.seconds
    assert set(result.history) == {"loss", "accuracy"}
    assert len(result.history["loss"]) == 10
    assert result.history["loss"][-1] < result.history["loss"][0]


def test_normalisation_is_settled_on_the_training_images(digits):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    normal = ConvBlock(4, momentum=0.999)
    x = keras.layers.GlobalAveragePooling2D()(normal(image))
    model = keras.Model(image, keras.layers.Dense(10, activation="softmax")(x))
    training.train(model, digits, epochs=1, batch_size=16)
    convolved = normal.convolution(digits.train_images).numpy()
    found = normal.normalization
    # The 90 steps at 0.999 alone would have moved them by 9 % only.
    np.testing.assert_allclose(found.moving_mean, convolved.mean(axis=(0, 1, 2)), atol=0.02)
    np.testing.assert_allclose(found.moving_variance, convolved.var(axis=(0, 1, 2)), rtol=0.1)
    assert found.momentum == 0.999


def test_the_seed_decides_the_training(digits):
    runs = [
        training.train(dense(), digits, epochs=2, batch_size=64, seed=seed).history["loss"]
        for seed in (3, 3, 4)
    ]
    assert runs[0] == pytest.approx(runs[1], rel=1e-5)
    assert runs[0] != pytest.approx(runs[2], rel=1e-5)


def test_the_rate_climbs_and_falls(digits):
    model = dense()
    training.train(model, digits, epochs=2, batch_size=64, learning_rate=0.01)
    steps = 2 * math.ceil(1438 / 64)  # 46, the first 4 of them warm up
    assert int(model.optimizer.iterations) == steps
    rates = [float(model.optimizer._learning_rate(step)) for step in range(steps)]
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == pytest.approx(0.01)
    assert rates.index(max(rates)) == 4
    assert rates[-1] < 0.0003


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "shown"),
    [
        (io.StringIO, None, False),
        (io.StringIO, True, True),
        (Terminal, None, True),
        (Terminal, False, False),
    ],
)
def test_the_progress_bar_goes_to_standard_error(
    digits, monkeypatch, capsys, stream, progress, shown
):
    error = stream()
    monkeypatch.setattr(sys, "stderr", error)
    training.train(dense(), digits, epochs=1, batch_size=256, progress=progress)
    assert ("epoch 1/1" in error.getvalue()) is shown
    assert ("100 %" in error.getvalue()) is shown
    assert capsys.readouterr().out == ""


def test_the_bar_is_closed_when_training_breaks(digits, monkeypatch):
    bars = []
    monkeypatch.setattr(sys, "stderr", io.StringIO())

    class Breaking(fitting.ProgressBar):
        def on_train_batch_end(self, batch, logs=None):
            bars.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "ProgressBar", Breaking)
    with pytest.raises(KeyboardInterrupt):
        training.train(dense(), digits, epochs=1, batch_size=256, progress=True)
    assert bars[0]._progress is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number of at least 1, got 2.5"),
        ({"learning_rate": 0}, "learning_rate must be positive, got 0"),
        ({"learning_rate": math.nan}, "learning_rate must be positive, got nan"),
    ],
)
def test_bad_arguments(digits, change, message):
    with pytest.raises(ValueError, match=message):
        training.train(dense(), digits, **{"epochs": 1, **change})


def test_a_model_for_other_images(digits):
    with pytest.raises(ValueError, match=r"\(28, 28, 1\) expected by the model, got \(8, 8, 1\)"):
        training.train(dense((28, 28, 1)), digits, epochs=1)
    with pytest.raises(ValueError, match="3 expected by the model, got 10 in digits"):
        training.train(dense(classes=3), digits, epochs=1)


def test_a_saved_model_answers_the_same(digits, tmp_path):
    model = tiny()
    path = training.save_model(model, tmp_path / "network.keras")
    assert [file.name for file in tmp_path.iterdir()] == ["network.keras"]
    images = digits.test_images[:5]
    loaded = keras.saving.load_model(path)
    np.testing.assert_allclose(model(images), loaded(images), rtol=1e-5, atol=1e-6)


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = training.save_model(dense(), tmp_path / "network.keras")
    old = path.read_bytes()
    model = dense(classes=3)

    def broken(beside, *args, **kwargs):
        assert beside.suffix == ".keras"
        beside.write_bytes(old[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "save", broken)
    with pytest.raises(KeyboardInterrupt):
        training.save_model(model, path)
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["network.keras"]


def test_a_path_without_the_suffix(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in \.keras, got .*network\.h5"):
        training.save_model(dense(), tmp_path / "network.h5")
