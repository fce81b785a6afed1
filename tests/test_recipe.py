"""What a recipe does to a training: each part by itself, and a training killed and gone on with."""

import math

import keras
import numpy as np
import pytest

from keras_concurrent import datasets, training
from keras_concurrent.durations import about
from keras_concurrent.edge.learnt import Learnt, read_learnt
from keras_concurrent.edge.preprocessing import Preprocessing
from keras_concurrent.layers import BranchBlock, ConvBlock
from keras_concurrent.recipe import Recipe
from keras_concurrent.training.augmentation import Augmentation, fitting
from keras_concurrent.training.backup import Backup
from keras_concurrent.training.batches import Batches, balanced
from keras_concurrent.training.progress import in_lines
from keras_concurrent.training.settling import settle_normalization


@pytest.fixture(scope="module")
def stripes():
    """Three kinds of stripes in bytes, of which one is rare, sorted by class."""
    rng = np.random.default_rng(0)

    def some(counts):
        labels = np.repeat(np.arange(3), counts)
        pixels = rng.integers(0, 200, (len(labels), 8, 8, 1))
        for row, label in enumerate(labels):
            pixels[row, :: label + 1] += 55
        return pixels.astype(np.uint8), labels

    return datasets.from_arrays(*some((60, 60, 12)), *some((20, 20, 20)))


def network(normalised=False, dropout=0.0):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    x = ConvBlock(4)(image) if normalised else image
    x = keras.layers.Dropout(dropout)(keras.layers.Flatten()(x))
    return keras.Model(image, keras.layers.Dense(3, activation="softmax")(x))


def test_bytes_train_as_their_values_do(stripes):
    values = stripes.train_images / np.float32(255)
    floats = datasets.Dataset(
        "floats", values, stripes.train_labels, stripes.test_images / np.float32(255),
        stripes.test_labels, stripes.class_names, "The same.",
    )  # fmt: skip
    losses = [
        training.train(network(), data, epochs=2).history["loss"] for data in (stripes, floats)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_batches_hold_every_image_once_an_epoch_in_an_order_of_its_own(stripes):
    batches = Batches(stripes.train_images, stripes.train_labels, 3, 50, shuffle_seed=1)

    def epoch(number):
        batches.begin(number)
        return [batches[i] for i in range(batches.num_batches)]

    first, second, again = epoch(0), epoch(1), epoch(0)
    assert [len(images) for images, _ in first] == [50, 50, 32]
    orders = [np.concatenate([x.reshape(len(x), -1) for x, _ in e]) for e in (first, second, again)]
    assert np.array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(*(np.unique(order, axis=0) for order in orders[:2]))
    one_hot = np.concatenate([labels for _, labels in first])
    assert one_hot.sum(axis=0).tolist() == [60, 60, 12]


def test_a_rare_class_counts_as_much_as_the_others(stripes):
    weights = balanced(stripes.train_labels, 4)
    assert weights.tolist() == pytest.approx([132 / 180, 132 / 180, 132 / 36, 0])
    batches = Batches(stripes.train_images, stripes.train_labels, 3, 132, class_weights=weights)
    _, one_hot, counted = batches[0]
    assert (one_hot * counted[:, None]).sum(axis=0) == pytest.approx([44, 44, 44], rel=1e-5)
    rare = [
        training.train(network(), stripes, epochs=4, class_weights=weighted)
        for weighted in (False, True)
    ]
    assert rare[0].history["loss"] != rare[1].history["loss"]


def test_smoothing_is_keras_own(stripes):
    model = network()
    training.train(model, stripes, epochs=1, label_smoothing=0.3)
    answer = np.float32([[0.7, 0.2, 0.1]])
    # 0.7 + 0.1 of the label stay with the first class, 0.1 goes to each other.
    expected = -(0.8 * math.log(0.7) + 0.1 * math.log(0.2) + 0.1 * math.log(0.1))
    assert float(model.loss(np.float32([[1, 0, 0]]), answer)) == pytest.approx(expected, rel=1e-4)


def test_decay_shrinks_kernels_alone(stripes):
    model = network(normalised=True)
    before = {v.name: np.array(v) for v in model.trainable_variables}
    # Steps so small that gradients change nothing, and a decay of 0.9 of each.
    training.train(
        model, stripes, epochs=1, weight_decay=0.9, learning_rate=1e-4, optimizer="sgd", warmup=0.0
    )
    steps = [1e-4 * (0.01 + 0.99 * (1 + math.cos(math.pi * step / 5)) / 2) for step in range(5)]
    kept = math.prod(1 - 0.9 * step for step in steps)
    after = {v.name: np.array(v) for v in model.trainable_variables}
    plain = network(normalised=True)
    training.train(plain, stripes, epochs=1, learning_rate=1e-4, optimizer="sgd", warmup=0.0)
    for variable in plain.trainable_variables:
        name, expected = variable.name, np.array(variable)
        if "kernel" in name:  # what the decay took off is a share of what was there
            lost = expected - after[name]
            np.testing.assert_allclose(lost, before[name] * (1 - kept), rtol=0.02, atol=1e-6)
        else:
            np.testing.assert_allclose(after[name], expected, rtol=1e-5, atol=1e-7)


def test_averaged_weights_are_the_mean_of_the_last_steps(stripes):
    seen = []

    class Steps(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.get_weights()[0])

    model = network()
    training.train(model, stripes, epochs=4, batch_size=33, averaging=0.25, callbacks=[Steps()])
    momentum = 1 - 1 / (0.25 * 16)  # 132 images: 16 steps
    expected = seen[0]
    for weights in seen[1:]:
        expected = momentum * expected + (1 - momentum) * weights
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("averaging", [0.0, 0.1])
def test_early_stopping_leaves_the_best_epochs_weights(stripes, averaging):
    recipe = Recipe(
        epochs=60, patience=2, validation=0.3, learning_rate=0.1, averaging=averaging,
        optimizer="sgd",
    )  # fmt: skip
    model = network()
    result = training.train(model, stripes, recipe)
    accuracies = result.history["val_accuracy"]
    assert len(accuracies) < 60
    assert max(accuracies) == max(accuracies[:-2])
    _, held = stripes.split(0.3)
    answers = model.predict(stripes.train_images[held] / np.float32(255), verbose=0).argmax(axis=1)
    assert np.mean(answers == stripes.train_labels[held]) == pytest.approx(max(accuracies))
    assert len(held) == 18 + 18 + 4  # of every class, though the images are sorted


def test_augmentation_is_drawn_anew_but_the_same_again():
    images = np.random.default_rng(0).random((6, 20, 20, 3)).astype(np.float32)
    every = ("flip", "shift", "zoom", "rotate", "brightness")
    change = Augmentation(every, seed=3)
    first, other, again = change(images, 0, 0), change(images, 0, 1), change(images, 0, 0)
    assert first.shape == images.shape
    assert (first.min() >= 0, first.max() <= 1) == (True, True)
    assert np.array_equal(first, again)
    assert np.array_equal(first, Augmentation(every, seed=3)(images, 0, 0))
    for different in (images, other, change(images, 1, 0), Augmentation(every, 4)(images, 0, 0)):
        assert not np.allclose(first, different)
    mirrored = Augmentation(("flip",), 0)(images, 0, 0)
    flipped = [
        np.array_equal(after, before[:, ::-1])
        for after, before in zip(mirrored, images, strict=True)
    ]
    same = [np.array_equal(a, b) for a, b in zip(mirrored, images, strict=True)]
    assert np.array_equal(flipped, np.logical_not(same))
    assert 0 < sum(flipped) < 6


def test_flips_only_where_they_are_sensible():
    assert fitting("auto", (96, 96, 3)) == ("shift", "flip")
    assert fitting("auto", (28, 28, 1)) == ("shift",)  # a mirrored 3 is none
    assert fitting("auto", (8, 8, 1)) == ()
    assert fitting("flip,zoom", (28, 28, 1)) == ("flip", "zoom")
    assert fitting("none", (96, 96, 3)) == ()


# Killed and gone on with


class Killed(BaseException):
    """Stands for a kill: no callback of Keras hears of it."""


class KillAt(keras.callbacks.Callback):
    """Kills in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch
        self.begun = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begun.append(epoch)

    def on_train_batch_end(self, batch, logs=None):
        if self.begun[-1] == self.epoch and batch == 1:
            raise Killed


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"averaging": 0.2, "augmentation": "shift", "class_weights": True, "weight_decay": 0.01},
        {"averaging": 0.1, "patience": 3, "validation": 0.3},
    ],
)
def test_a_killed_training_goes_on_as_if_nothing_had_happened(stripes, tmp_path, how, monkeypatch):
    monkeypatch.setattr("keras_concurrent.training.backup._LEAST_PACE", 0)  # keep every epoch
    recipe = Recipe(epochs=6, learning_rate=0.02, **how)
    whole = network(normalised=True, dropout=0.3)
    expected = training.train(whole, stripes, recipe)
    kept = tmp_path / "training.npz"
    with pytest.raises(Killed):
        training.train(
            network(normalised=True, dropout=0.3), stripes, recipe, backup=kept,
            callbacks=[KillAt(3)],
        )  # fmt: skip
    resumed, watch = network(normalised=True, dropout=0.3), KillAt(None)
    result = training.train(resumed, stripes, recipe, backup=kept, callbacks=[watch])
    assert watch.begun[0] == 3  # nothing was trained twice but the epoch that was cut off
    assert set(result.history) == set(expected.history)
    for name, values in expected.history.items():
        assert result.history[name] == pytest.approx(values, rel=1e-4, abs=1e-5), name
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    assert not kept.exists()  # nothing is left to go on with


def test_a_state_of_another_training_is_refused(stripes, tmp_path):
    kept = tmp_path / "training.npz"
    with pytest.raises(Killed):
        training.train(network(), stripes, epochs=4, backup=kept, callbacks=[KillAt(2)])
    with pytest.raises(ValueError, match=r"must be the state of this training, .*'epochs': 5"):
        training.train(network(), stripes, epochs=5, backup=kept)
    kept.write_bytes(kept.read_bytes()[:100])
    with pytest.raises(ValueError, match="is no training's state"):
        training.train(network(), stripes, epochs=4, backup=kept)


def test_a_kill_while_the_state_is_written_leaves_the_state_before(stripes, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_concurrent.training.backup._LEAST_PACE", 0)
    kept, saves, save = tmp_path / "training.npz", [], Backup._save

    def dying(self):
        saves.append(1)
        if len(saves) == 2:
            monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(Killed))
        save(self)

    monkeypatch.setattr(Backup, "_save", dying)
    with pytest.raises(Killed):
        training.train(network(), stripes, epochs=4, backup=kept)
    monkeypatch.undo()
    watch = KillAt(None)
    training.train(network(), stripes, epochs=4, backup=kept, callbacks=[watch])
    assert watch.begun == [1, 2, 3]


# Around it


def test_normalisations_are_found_however_deep(stripes):
    inner = keras.Sequential([keras.layers.BatchNormalization(momentum=0.999)])
    outer = keras.Sequential([keras.Input((8, 8, 1)), inner, keras.layers.Flatten()])
    settle_normalization(outer, stripes.train_images, batch_size=66)
    mean = float(inner.layers[0].moving_mean[0])
    assert mean == pytest.approx(stripes.train_images.mean() / 255, rel=1e-3)


def test_a_pace_is_told_from_the_second_batch_on(stripes):
    said = []
    training.train(network(), stripes, epochs=2, callbacks=[in_lines(said.append, every_s=0)])
    assert len(said) == 2 * 5 - 1
    assert said[0].startswith("epoch 1/2, 20 % of the training, accuracy 0.")
    assert said[0].endswith(" left")
    assert said[-1].startswith("epoch 2/2, 100 % of the training")
    rare = []
    training.train(network(), stripes, epochs=2, callbacks=[in_lines(rare.append, every_s=60)])
    assert len(rare) == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "about 1 s"), (40.2, "about 40 s"), (200, "about 3 min"), (9000, "about 2.5 h")],
)
def test_durations_in_words(seconds, words):
    assert about(seconds) == words


def test_a_saved_model_says_what_it_learnt(stripes, tmp_path):
    model = network()
    path = training.save_model(model, tmp_path / "network.keras", stripes)
    assert read_learnt(path) == Learnt(("0", "1", "2"), Preprocessing("0..1"))
    loaded = keras.saving.load_model(path)
    image = stripes.test_images[:1] / np.float32(255)
    np.testing.assert_allclose(model(image), loaded(image), rtol=1e-6)
    plain = training.save_model(model, tmp_path / "plain.keras")
    assert read_learnt(plain) == Learnt()
    plain.write_bytes(b"no zip")
    with pytest.raises(ValueError, match="is damaged, or of another version"):
        read_learnt(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"patience": 0}, "patience must be a whole number of at least 1, got 0"),
        ({"optimizer": "magic"}, "optimizer must be one of adam, sgd, got 'magic'"),
        ({"label_smoothing": 1}, "label_smoothing must be from 0 to below 1, got 1"),
        ({"averaging": -0.1}, "averaging must be from 0 to below 1, got -0.1"),
        ({"validation": 0}, "validation must be above 0 and below 1, got 0"),
        ({"augmentation": "flip,spin"}, "some of flip, shift, .*, got 'spin'"),
    ],
)
def test_a_recipe_checks_itself(change, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**change)


def test_every_normalisation_of_a_branch_is_settled():
    rng = np.random.default_rng(0)
    images = rng.random((32, 8, 8, 3), np.float32)
    branch = BranchBlock(4, "plain", depth=2)
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, branch(image))
    settle_normalization(model, images, batch_size=32)
    seen = branch._convolutions[0](images).numpy()
    first, second = branch._normalizations
    np.testing.assert_allclose(first.moving_mean, seen.mean((0, 1, 2)), atol=1e-5)
    assert np.abs(second.moving_mean).min() > 0
