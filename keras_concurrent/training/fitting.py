"""A model compiled and fitted as a recipe says, with Keras's own facilities."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras

from keras_concurrent.datasets.dataset import Dataset
from keras_concurrent.recipe import Recipe
from keras_concurrent.training.augmentation import Augmentation, fitting
from keras_concurrent.training.backup import Backup
from keras_concurrent.training.batches import Batches, EachEpoch, balanced
from keras_concurrent.training.progress import ProgressBar
from keras_concurrent.training.settling import settle_normalization

_NO_DECAY = [rf"(^|/){name}" for name in ("bias", "beta", "gamma", "weight_")]  # weight_: an edge's
_WATCHED = "val_accuracy"


@dataclass(frozen=True)
class TrainingResult:
    """What a training took and gave.

    Args:
        seconds: wall time of all epochs and of settling the batch normalisations, tracing and
            compiling included, testing not. Of one that was gone on with, the last part's.
        first_step_seconds: the part of ``seconds`` until the first batch was done, which is
            nearly all tracing and compiling.
        test_accuracy: share of the test images that are recognised, 0..1.
        history: one value an epoch for each of ``"loss"`` and ``"accuracy"``, on training images,
            and of ``"val_loss"`` and ``"val_accuracy"`` where some were held back.
    """

    seconds: float
    first_step_seconds: float
    test_accuracy: float
    history: dict[str, list[float]]


class _FirstStep(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.done_at = None

    def on_train_batch_end(self, batch, logs=None):
        if self.done_at is None:
            self.done_at = time.perf_counter()


def optimizer_of(recipe: Recipe, images: int) -> keras.Optimizer:
    """A recipe's optimiser, for a training on so many images."""
    steps = recipe.steps(images)
    warmup = int(recipe.warmup * steps) or (1 if recipe.warmup else 0)
    climbing = {"warmup_target": recipe.learning_rate, "warmup_steps": warmup} if warmup else {}
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / (10 if warmup else 1),
        decay_steps=max(1, steps - warmup),
        alpha=0.01,
        **climbing,
    )
    how: dict[str, Any] = {"weight_decay": recipe.weight_decay or None}
    if recipe.averaging:
        how |= {"use_ema": True, "ema_momentum": 1 - 1 / max(1.0, recipe.averaging * steps)}
    if recipe.optimizer == "adam":
        optimizer = keras.optimizers.Adam(schedule, **how)
    else:
        optimizer = keras.optimizers.SGD(schedule, momentum=0.9, **how)  # the paper's
    if recipe.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=_NO_DECAY)
    return optimizer


def compile_by(
    recipe: Recipe, model: keras.Model, images: int, *, jit_compile: bool = False
) -> None:
    """Compile a model for a training on so many images, with one-hot labels."""
    model.compile(
        optimizer=optimizer_of(recipe, images),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    model.optimizer.build(model.trainable_variables)  # what is saved holds its variables too


def training_batches(dataset: Dataset, recipe: Recipe, chosen=None) -> Batches:
    """Training images in the batches of a recipe: shuffled, augmented and weighted.

    Args:
        dataset: the images.
        recipe: how to train.
        chosen: indices of the training images to take; all by default.
    """
    names = fitting(recipe.augmentation, dataset.image_shape)
    labels = dataset.train_labels if chosen is None else dataset.train_labels[chosen]
    return Batches(
        dataset.train_images,
        dataset.train_labels,
        dataset.classes,
        recipe.batch_size,
        chosen=chosen,
        shuffle_seed=recipe.seed,
        augmentation=Augmentation(names, recipe.seed) if names else None,
        class_weights=balanced(labels, dataset.classes) if recipe.class_weights else None,
    )


def fit(
    model: keras.Model,
    batches: Batches,
    recipe: Recipe,
    *,
    validation: Batches | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    backup: Path | None = None,
    initial_epoch: int = 0,
) -> keras.callbacks.History:
    """Fit a compiled model, or go on with it where it was stopped.

    With both validation images and an average of weights, the average is what is validated at the
    end of each epoch, and what callbacks find in the model.

    Args:
        model: see `compile_by`.
        batches: to learn from.
        recipe: how to train.
        validation: to be looked at after each epoch.
        callbacks: of Keras.
        backup: file to keep the training's state in, and to go on from; deleted at its end.
        initial_epoch: where Hyperband goes on with what another trial has trained.

    Returns:
        The history of all epochs, of those before a stop too.

    Raises:
        ValueError: ``backup`` is the state of another training.
    """
    first: list[keras.callbacks.Callback] = [EachEpoch(batches)]
    if recipe.averaging and validation is not None:
        first.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    stopping = None
    if recipe.patience is not None and validation is not None:
        stopping = keras.callbacks.EarlyStopping(
            _WATCHED, patience=recipe.patience, mode="max", restore_best_weights=True
        )
    last: list[keras.callbacks.Callback] = [] if stopping is None else [stopping]
    keeper = None
    if backup is not None:
        about = {**asdict(recipe), "images": len(batches.chosen), "first": initial_epoch}
        keeper = Backup(backup, about, stopping, initial_epoch)
        last.append(keeper)
        initial_epoch = keeper.restore(model)
        _remind(callbacks, keeper.logs)
    history = model.fit(
        batches,
        validation_data=validation,
        epochs=recipe.epochs,
        initial_epoch=initial_epoch,
        callbacks=[*first, *callbacks, *last],
        shuffle=False,  # the batches do it themselves, the same again after a stop
        verbose=0,
    )
    if keeper is not None:
        keeper.done()
        history.history = {name: [logs[name] for logs in keeper.logs] for name in keeper.logs[-1]}
        history.epoch = [keeper.first + number for number in range(len(keeper.logs))]
    return history


def _remind(callbacks: Sequence[keras.callbacks.Callback], logs: Sequence[dict[str, float]]):
    """Tell callbacks that keep a best value, such as KerasTuner's, of the epochs before a stop."""
    for callback in callbacks:
        objective = getattr(callback, "objective", None)
        if objective is None or not hasattr(callback, "best_value"):
            continue
        for each in logs:
            value = objective.get_value(each) if objective.has_value(each) else None
            if value is not None and objective.better_than(value, callback.best_value):
                callback.best_value = value


def train(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe | None = None,
    *,
    progress: bool | None = None,
    jit_compile: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    backup: Path | None = None,
    **changes: Any,
) -> TrainingResult:
    """Train a model on a data set, and test it.

    The default optimiser is Adam: a run of a few hundred steps has no time to tune a rate for each
    of many blocks, of which some see the image and others a tenth chain, and Adam scales every
    weight's step by itself. The rate climbs over the first tenth of the steps, while the batch
    normalisations settle, and then falls along a cosine: the last, small steps turn a high rate's
    fast progress into accuracy, which a constant rate would not.

    After the last step the batch normalisations are settled, see
    `keras_concurrent.training.settling`.

    XLA is off by default: on a processor it costs more to compile than a short run wins back
    (three epochs of 3,000 images on 32 vertices: 107 s of processor time with, 67 s without).

    Args:
        model: takes images, gives class probabilities; compiled here.
        dataset: from `keras_concurrent.datasets`.
        recipe: how to train; by default `Recipe`'s own values.
        progress: ``True`` draws a progress bar on standard error, ``False`` none, ``None`` only on
            a terminal.
        jit_compile: whether XLA compiles the step.
        callbacks: of Keras.
        backup: file to keep the state of the training in: where it is there already, the training
            goes on from it. Deleted at the end.
        **changes: of the recipe, such as ``epochs=3``. Its ``seed`` is of the order of the images
            and of any random layer; the model's first weights were drawn when it was built: call
            ``keras.utils.set_random_seed`` before that.

    Returns:
        Times, test accuracy and history. The model is trained in place.

    Raises:
        ValueError: a number out of range, a model and data set that do not fit together, or a
            backup of another training.
    """
    recipe = replace(recipe or Recipe(), **changes)
    for name, has, needs in (
        ("images of shape", dataset.image_shape, tuple(model.input_shape[1:])),
        ("a number of classes of", dataset.classes, model.output_shape[-1]),
    ):
        if has != needs:
            raise ValueError(f"{name} {needs} expected by the model, got {has} in {dataset.name}")
    keras.utils.set_random_seed(recipe.seed)
    chosen, validation = None, None
    if recipe.patience is not None:
        chosen, held = dataset.split(recipe.validation, recipe.seed)
        validation = Batches(
            dataset.train_images, dataset.train_labels, dataset.classes, recipe.batch_size,
            chosen=held,
        )  # fmt: skip
    batches = training_batches(dataset, recipe, chosen)
    compile_by(recipe, model, len(batches.chosen), jit_compile=jit_compile)
    bar, first = ProgressBar(progress), _FirstStep()
    begun = time.perf_counter()
    try:
        fitted = fit(
            model, batches, recipe,
            validation=validation, callbacks=[bar, first, *callbacks], backup=backup,
        )  # fmt: skip
    finally:
        bar.close()
    settle_normalization(model, dataset.train_images, recipe.batch_size, recipe.seed)
    seconds = time.perf_counter() - begun
    return TrainingResult(
        seconds, (first.done_at or begun) - begun, accuracy_on_test(model, dataset), fitted.history
    )


def accuracy_on_test(model: keras.Model, dataset: Dataset, batch_size: int = 64) -> float:
    """Share of a set's test images that a model recognises."""
    batches = Batches(dataset.test_images, dataset.test_labels, dataset.classes, batch_size)
    right = 0
    for index in range(batches.num_batches):
        images, one_hot = batches[index]
        answers = keras.ops.convert_to_numpy(model(images, training=False))
        right += int((answers.argmax(axis=-1) == one_hot.argmax(axis=-1)).sum())
    return right / len(dataset.test_labels)
