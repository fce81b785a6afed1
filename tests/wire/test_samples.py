"""Images to measure on: how they are split, counted and refused."""

import numpy as np
import pytest

from keras_concurrent.wire.samples import Samples


def test_samples_are_split_and_counted_by_hand(tmp_path):
    images = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1)
    np.savez(tmp_path / "s.npz", images=images, labels=np.arange(10) % 2)
    loaded = Samples.load(str(tmp_path / "s.npz"), (1, 1, 1))
    assert loaded.calibration.ravel().tolist() == [0, 1, 2, 3, 4]
    assert loaded.validation.ravel().tolist() == [5, 6, 7, 8, 9]
    answers = np.eye(2)[[1, 1, 1, 1, 0]]
    assert loaded.accuracy(answers, answers) == pytest.approx(2 / 5)  # 5 and 7 are odd
    unknown = Samples(images[:1], images[5:])
    assert unknown.accuracy(answers, answers) == 1.0
    with pytest.raises(ValueError, match="labels must be one an image of validation, got 3 for 5"):
        Samples(images[:5], images[5:], np.zeros(3))
    np.savez(tmp_path / "t.npz", pictures=images)
    with pytest.raises(ValueError, match="must hold 'images', got pictures"):
        Samples.load(str(tmp_path / "t.npz"), (1, 1, 1))
