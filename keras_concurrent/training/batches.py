"""A set of images in batches, turned into values one batch at a time."""

from __future__ import annotations

import keras
import numpy as np

from keras_concurrent.datasets.scaling import Images, values_of
from keras_concurrent.training.augmentation import Augmentation


class Batches(keras.utils.PyDataset):
    """Batches of ``(images, one-hot labels)``, for ``model.fit`` and ``model.evaluate``.

    The images stay what they are, bytes for example, and where they are: only a batch is ever
    copied.

    Args:
        images: float32 of 0..1 or bytes, ``(n, height, width, channels)``.
        labels: whole numbers from 0, ``(n,)``.
        classes: how many there are.
        batch_size: images a batch; the last may have fewer.
        chosen: indices of the images to take; all by default.
        shuffle_seed: what each epoch's order is drawn from; ``None`` keeps the order.
        augmentation: changes the images.
        class_weights: weight of each class in the loss, ``(classes,)``.
    """

    def __init__(
        self,
        images: Images,
        labels,
        classes: int,
        batch_size: int,
        *,
        chosen=None,
        shuffle_seed: int | None = None,
        augmentation: Augmentation | None = None,
        class_weights=None,
    ):
        super().__init__()
        self.images = images
        self.labels = labels
        self.classes = classes
        self.batch_size = batch_size
        self.chosen = np.arange(len(labels)) if chosen is None else np.asarray(chosen)
        self.shuffle_seed = shuffle_seed
        self.augmentation = augmentation
        self.class_weights = class_weights
        self.begin(0)

    def begin(self, epoch: int):
        """Take the order of an epoch, counted from 0."""
        self._epoch = epoch
        self._order = self.chosen
        if self.shuffle_seed is not None:
            rng = np.random.default_rng([self.shuffle_seed, epoch])
            self._order = rng.permutation(self.chosen)

    @property
    def num_batches(self):
        """Of an epoch."""
        return -(-len(self.chosen) // self.batch_size)

    def __getitem__(self, index):
        """One batch of the epoch that was begun last."""
        some = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        images, labels = values_of(self.images[some]), self.labels[some]
        if self.augmentation is not None:
            images = self.augmentation(images, self._epoch, index)
        one_hot = np.eye(self.classes, dtype=np.float32)[labels]
        if self.class_weights is None:
            return images, one_hot
        return images, one_hot, np.float32(self.class_weights)[labels]


class EachEpoch(keras.callbacks.Callback):
    """Tells batches which epoch begins: each has an order of its own, and a resumed one its own.

    Args:
        batches: of the training.
    """

    def __init__(self, batches: Batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        """Draw the epoch's order."""
        self.batches.begin(epoch)


def balanced(labels, classes: int):
    """Weights with which each class counts the same; their mean over the images is 1.

    Args:
        labels: of the training images.
        classes: how many there are; one without images has weight 0.
    """
    counts = np.bincount(labels, minlength=classes)
    present = np.count_nonzero(counts)
    return np.where(counts, len(labels) / (present * np.maximum(counts, 1)), 0.0)
