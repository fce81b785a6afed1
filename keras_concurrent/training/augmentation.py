"""Random changes of training images, by Keras's own layers, each the same when drawn again.

What a batch becomes follows from the seed, the epoch and its number alone, so a training that was
stopped and goes on sees the images that it would have seen.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

_LAYERS = {
    "flip": lambda: keras.layers.RandomFlip("horizontal"),
    "shift": lambda: keras.layers.RandomTranslation(0.1, 0.1, fill_mode="nearest"),
    "zoom": lambda: keras.layers.RandomZoom((-0.1, 0.1), fill_mode="nearest"),
    "rotate": lambda: keras.layers.RandomRotation(0.03, fill_mode="nearest"),
    "brightness": lambda: keras.layers.RandomBrightness(0.15, value_range=(0.0, 1.0)),
}
_SMALLEST_SHIFTED = 16  # pixels: a tenth of fewer is less than the blur that it costs


def fitting(asked: str, image_shape: tuple[int, int, int]) -> tuple[str, ...]:
    """Names of the changes that a recipe asks for.

    ``"auto"`` shifts images, by up to a tenth, of at least 16 pixels; and mirrors those in colour:
    photographs mostly show what looks the same from the other side. Grey images are as often
    digits, letters or signs, which do not: ask for ``flip`` where they do.

    Args:
        asked: a recipe's ``augmentation``.
        image_shape: height, width, channels.
    """
    if asked == "none":
        return ()
    if asked != "auto":
        return tuple(asked.split(","))
    shifted = ("shift",) if min(image_shape[:2]) >= _SMALLEST_SHIFTED else ()
    return (*shifted, "flip") if image_shape[2] == 3 else shifted


class Augmentation:
    """Some changes, one after another.

    Args:
        names: of `keras_concurrent.recipe.AUGMENTATIONS`.
        seed: of all draws.
    """

    def __init__(self, names: tuple[str, ...], seed: int):
        self.names = names
        self._seed = seed
        self._layers = [_LAYERS[name]() for name in names]
        self._changed = tf.function(self._applied, reduce_retracing=True, autograph=False)

    def _applied(self, images):
        for layer in self._layers:
            images = layer(images, training=True)
        return images

    def __call__(self, images, epoch: int, batch: int):
        """Images, changed.

        Args:
            images: float32 of 0..1, ``(n, height, width, channels)``.
            epoch: from 0.
            batch: its number in the epoch.
        """
        state = np.random.SeedSequence([self._seed, epoch, batch]).generate_state(2)
        for number, layer in enumerate(self._layers):
            layer.generator.state.assign(state + np.uint32(number))
        return self._changed(tf.constant(images)).numpy()
