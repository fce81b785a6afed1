"""The chosen trial of a search: its network trained to the end, and the bundle for the boards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import keras_tuner

from keras_concurrent.convert import to_tflite
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.models import build_model
from keras_concurrent.search.results import Result
from keras_concurrent.search.settings import Settings
from keras_concurrent.search.space import architecture_of
from keras_concurrent.search.tuning.hypermodel import ConcurrentHyperModel
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.training.fitting import accuracy_on_test, train
from keras_concurrent.training.progress import in_lines
from keras_concurrent.training.saving import save_model
from keras_concurrent.training.settling import settle_normalization


def with_best_weights(
    hypermodel: ConcurrentHyperModel, result: Result, checkpoint: Path, fitted_on
) -> keras.Model:
    """A trial's network with its best weights; trained again where no checkpoint is here.

    Args:
        hypermodel: the search's.
        result: the trial.
        checkpoint: where KerasTuner keeps its best weights.
        fitted_on: what trials are trained on and compared by, as ``model.fit`` takes it.
    """
    hp = keras_tuner.HyperParameters()
    hypermodel.declare_hyperparameters(hp)
    hp.values = dict(result.values)
    model = hypermodel.build(hp)
    if checkpoint.exists():
        model.load_weights(checkpoint)
    else:
        hypermodel.fit(hp, model, **fitted_on)
    return model


def trained_to_the_end(
    hypermodel: ConcurrentHyperModel,
    result: Result,
    settings: Settings,
    folder: Path,
    say: Callable[[str], object],
) -> tuple[keras.Model, float]:
    """A trial's network trained anew, longer and on all training images; also after a kill.

    Args:
        hypermodel: the search's.
        result: the trial.
        settings: the search's.
        folder: the search's, where the training's state is kept meanwhile.
        say: is given lines about how far the training is.

    Returns:
        The model, and its accuracy on the test images.
    """
    epochs = settings.final_epochs
    recipe = replace(hypermodel.recipe_of(result.values), epochs=epochs, patience=None)
    keras.utils.set_random_seed(settings.seed)
    model = build_model(architecture_of(result.values))
    say(f"training the network of trial {result.trial} on all images, {epochs} epochs")
    done = train(
        model,
        settings.dataset,
        recipe,
        progress=False,
        callbacks=[in_lines(say)],
        backup=folder / f"final-{result.trial}.npz",
    )
    return model, done.test_accuracy


def settled(model: keras.Model, settings: Settings) -> tuple[keras.Model, float]:
    """A model as its trial left it, its batch normalisations settled.

    Returns:
        The model, and its accuracy on the test images.
    """
    data = settings.dataset
    settle_normalization(model, data.train_images, settings.recipe.batch_size, settings.seed)
    return model, accuracy_on_test(model, data)


def export(model: keras.Model, result: Result, settings: Settings, folder: Path, path: Path):
    """Write ``model.keras`` into the search's folder, and a bundle.

    Args:
        model: trained.
        result: the trial that it is of.
        settings: the search's.
        folder: the search's.
        path: the bundle's folder.
    """
    data = settings.dataset
    save_model(model, folder / "model.keras", data)
    bundle: Bundle = export_bundle(
        TfliteFile(to_tflite(model)),
        settings.cluster,
        path,
        architecture=architecture_of(result.values).to_json(),
        preprocessing=data.preprocessing,
        class_names=data.class_names,
    )
    return bundle
