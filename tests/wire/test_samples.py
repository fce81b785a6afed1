"""Images to measure on: how they are read, prepared, counted and refused."""

import numpy as np
import pytest

from keras_concurrent.edge.preprocessing import Preprocessing
from keras_concurrent.wire.samples import Samples


def numbered(count):
    """Images of one pixel, each of its own brightness."""
    return np.linspace(0, 250, count).astype(np.uint8).reshape(count, 1, 1, 1)


def test_the_same_npz_as_for_training(tmp_path):
    images, labels = numbered(20), np.arange(20) % 2
    path = tmp_path / "s.npz"
    np.savez(path, train_images=images[:12], train_labels=labels[:12], test_images=images[12:],
             test_labels=labels[12:])  # fmt: skip
    loaded = Samples.load(str(path), (1, 1, 1))
    np.testing.assert_allclose(sorted(loaded.calibration.ravel()), images[:12].ravel() / 255)
    assert loaded.calibration.dtype == np.float32
    assert np.array_equal(loaded.validation, images[12:])  # bytes until each is used
    answers = np.eye(2)[[1, 1, 1, 1, 0, 0, 0, 0]]  # labels: 0 1 0 1 0 1 0 1
    assert loaded.accuracy(answers, answers) == pytest.approx(4 / 8)


def test_images_without_labels(tmp_path):
    images = numbered(10)
    np.savez(tmp_path / "s.npz", train_images=images[..., 0])
    loaded = Samples.load(str(tmp_path / "s.npz"), (1, 1, 1))
    seen = [*np.rint(loaded.calibration.ravel() * 255), *loaded.validation.ravel()]
    assert sorted(seen) == images.ravel().tolist()
    assert len(loaded.calibration) == 5
    answers = np.eye(2)[[1, 1, 1, 1, 0]]
    assert loaded.accuracy(answers, answers) == 1.0


def test_pictures_are_prepared_as_the_model_takes_them(tmp_path):
    """By hand: a byte b is b / 255 * 2 - 1, less 0.5, over 2."""
    np.savez(tmp_path / "s.npz", train_images=numbered(10))
    how = Preprocessing("-1..1", mean=(0.5,), deviation=(2.0,))
    plain = Samples.load(str(tmp_path / "s.npz"), (1, 1, 1))
    loaded = Samples.load(str(tmp_path / "s.npz"), (1, 1, 1), how)
    np.testing.assert_allclose(loaded.calibration, (plain.calibration * 2 - 1 - 0.5) / 2, rtol=1e-5)

    class Taking:
        """A model of one float32 input."""

        inputs = ("image",)

    file = Taking()
    file.tensors = {"image": type("Info", (), {"dtype": "float32"})}
    taken = [loaded._taken(file, image) for image in loaded.validation]
    np.testing.assert_allclose(
        np.ravel(taken), (plain.validation.ravel() / 255 * 2 - 1 - 0.5) / 2, rtol=1e-5
    )


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="labels must be one an image of validation, got 3 for 5"):
        Samples(numbered(5), numbered(5), np.zeros(3))
    np.savez(tmp_path / "t.npz", images=numbered(5))
    with pytest.raises(ValueError, match=r"must hold train_images, train_labels, .* got images"):
        Samples.load(str(tmp_path / "t.npz"), (1, 1, 1))
    np.savez(tmp_path / "u.npz", train_images=np.float32([0, 3.5]).reshape(2, 1, 1, 1))
    with pytest.raises(ValueError, match="must have white at 255"):
        Samples.load(str(tmp_path / "u.npz"), (1, 1, 1))
