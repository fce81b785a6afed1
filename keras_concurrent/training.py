"""Ordinary Keras training, arranged for a very short run.

`train` compiles and fits a model the usual way; nothing here is needed to train a concurrent
network, whose layers are ordinary Keras layers and whose model takes any optimiser, loss and
callback.
"""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from keras_concurrent.datasets.by_name import Dataset
from keras_concurrent.datasets.scaling import values_of

_SETTLING_IMAGES = 1024  # each gives a mean over all its positions: plenty


@dataclass(frozen=True)
class TrainingResult:
    """What a training took and gave.

    Args:
        seconds: wall time of all epochs and of settling the batch normalisations, tracing and
            compiling included, testing not.
        first_step_seconds: the part of ``seconds`` until the first batch was done, which is
            nearly all tracing and compiling.
        test_accuracy: share of the test images that are recognised, 0..1.
        history: one value an epoch for each of ``"loss"`` and ``"accuracy"``, on training images.
    """

    seconds: float
    first_step_seconds: float
    test_accuracy: float
    history: dict[str, list[float]]


class ProgressBar(keras.callbacks.Callback):
    """One rich progress bar over all batches of a training, on standard error.

    Args:
        show: ``True`` draws the bar anywhere, ``False`` nowhere, ``None`` only on a terminal.
    """

    def __init__(self, show: bool | None = None):
        super().__init__()
        self.show = sys.stderr.isatty() if show is None else show
        self._progress = None

    def on_train_begin(self, logs=None):
        """Open the bar."""
        if not self.show:
            return
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  accuracy {task.fields[accuracy]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        epochs, steps = self.params["epochs"], self.params["steps"]
        self._task = self._progress.add_task(
            "train", total=steps and epochs * steps, epoch=1, epochs=epochs, accuracy="-"
        )
        self._progress.start()

    def on_epoch_begin(self, epoch, logs=None):
        """Show which epoch runs."""
        if self._progress:
            self._progress.update(self._task, epoch=epoch + 1)

    def on_train_batch_end(self, batch, logs=None):
        """Move on by one batch."""
        if self._progress:
            accuracy = (logs or {}).get("accuracy")
            shown = "-" if accuracy is None else f"{accuracy:.3f}"
            self._progress.update(self._task, advance=1, accuracy=shown)

    def on_train_end(self, logs=None):
        """Close the bar."""
        self.close()

    def close(self):
        """Close the bar, also after an error, for which Keras calls no callback."""
        if self._progress:
            self._progress.stop()
            self._progress = None


class _FirstStep(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.done_at = None

    def on_train_batch_end(self, batch, logs=None):
        if self.done_at is None:
            self.done_at = time.perf_counter()


def _settle_normalization(model, images, batch_size):
    """Measure the moving averages of all batch normalisations anew, without touching a weight."""
    images = images[:_SETTLING_IMAGES]
    layers = []
    for layer in model.layers:
        layer = getattr(layer, "conv_block", layer)  # of a TransformationBlock
        layer = getattr(layer, "normalization", layer)  # of a ConvBlock
        if isinstance(layer, keras.layers.BatchNormalization):
            layers.append(layer)
    if not layers:
        return
    averages = [v for layer in layers for v in (layer.moving_mean, layer.moving_variance)]
    totals = [np.zeros(average.shape) for average in averages]
    momenta = [layer.momentum for layer in layers]
    steps = len(images) // batch_size or 1  # a rest of a few images is left out
    try:
        for layer in layers:
            layer.momentum = 0.0  # the "moving" averages are those of the last batch
        forward = tf.function(lambda x: model(x, training=True), autograph=False)
        for step in range(steps):
            forward(tf.constant(values_of(images[step * batch_size : (step + 1) * batch_size])))
            for total, average in zip(totals, averages, strict=True):
                total += keras.ops.convert_to_numpy(average)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    for total, average in zip(totals, averages, strict=True):
        average.assign(total / steps)


def train(
    model: keras.Model,
    dataset: Dataset,
    *,
    epochs: int,
    batch_size: int = 32,
    learning_rate: float = 5e-3,
    seed: int = 0,
    progress: bool | None = None,
    jit_compile: bool = False,
) -> TrainingResult:
    """Train a model on a data set, and test it.

    The optimiser is Adam: a run of a few hundred steps has no time to tune a rate for each of many
    blocks, of which some see the image and others a tenth chain, and Adam scales every weight's
    step by itself. The rate climbs over the first tenth of the steps, while the batch
    normalisations settle, and then falls along a cosine to a hundredth of its peak: the last, small
    steps turn a high rate's fast progress into accuracy, which a constant rate would not.

    After the last step the moving averages of the batch normalisations are measured afresh over
    some training images, with the weights at rest. Those that training leaves behind cover its last
    few batches only and belong to weights that were still moving; through many blocks in a row the
    error grows, and a network that had learned well answered badly (one in our trials: 83 % on the
    test images before, 89 % after).

    XLA is off by default: on a processor it costs more to compile than a short run wins back
    (three epochs of 3,000 images on 32 vertices: 107 s of processor time with, 67 s without).

    Args:
        model: takes images, gives class probabilities; compiled here.
        dataset: from `keras_concurrent.datasets.load`, or of your own.
        epochs: rounds over the training images.
        batch_size: images a step.
        learning_rate: the peak of the schedule.
        seed: of the order of the images, and of any random layer. The model's first weights were
            drawn when it was built: call ``keras.utils.set_random_seed`` before that.
        progress: ``True`` draws a progress bar on standard error, ``False`` none, ``None`` only on
            a terminal.
        jit_compile: whether XLA compiles the step.

    Returns:
        Times, test accuracy and history. The model is trained in place.

    Raises:
        ValueError: a number out of range, or a model and data set that do not fit together.
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive, got {learning_rate!r}")
    for name, has, needs in (
        ("images of shape", dataset.image_shape, tuple(model.input_shape[1:])),
        ("a number of classes of", dataset.classes, model.output_shape[-1]),
    ):
        if has != needs:
            raise ValueError(f"{name} {needs} expected by the model, got {has} in {dataset.name}")
    keras.utils.set_random_seed(seed)
    steps = epochs * math.ceil(len(dataset.train_labels) / batch_size)
    warmup = max(1, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 10,
        decay_steps=max(1, steps - warmup),
        alpha=0.01,
        warmup_target=learning_rate,
        warmup_steps=warmup,
    )
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    bar, first = ProgressBar(progress), _FirstStep()
    begun = time.perf_counter()
    try:
        fitted = model.fit(
            values_of(dataset.train_images),
            dataset.train_labels,
            batch_size=batch_size,
            epochs=epochs,
            callbacks=[bar, first],
            verbose=0,
        )
    finally:
        bar.close()
    _settle_normalization(model, dataset.train_images, batch_size)
    seconds = time.perf_counter() - begun
    _, accuracy = model.evaluate(
        values_of(dataset.test_images), dataset.test_labels, batch_size=batch_size, verbose=0
    )
    return TrainingResult(seconds, first.done_at - begun, float(accuracy), fitted.history)


def save_model(model: keras.Model, path: str | os.PathLike[str]) -> Path:
    """Save a model as a ``.keras`` file, whole or not at all.

    It is written beside ``path`` and renamed, so that an interrupted save leaves an older file as
    it was.

    Args:
        model: to be saved.
        path: ends in ``.keras``; its folder exists.

    Returns:
        ``path``.

    Raises:
        ValueError: ``path`` does not end in ``.keras``.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"path must end in .keras, got {str(path)!r}")
    # Keras looks at the suffix, so the temporary file keeps it.
    beside = path.with_name(f".{path.stem}-{os.getpid()}.keras")
    try:
        model.save(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
