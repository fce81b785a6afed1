"""Training with Keras's own facilities, by a recipe, on any data.

::

    from keras_concurrent import datasets, training

    data = datasets.load("pictures")  # a folder of class folders
    result = training.train(model, data, epochs=30, augmentation="auto", label_smoothing=0.1)
    training.save_model(model, "model.keras", data)

Nothing here is needed to train a concurrent network, whose layers are ordinary Keras layers and
whose model takes any optimiser, loss and callback. What it brings: images that stay bytes until a
batch is used, the recipe's schedule, augmentation, smoothing, decay, averages and early stopping,
batch normalisations settled at the end, and a training that goes on after a kill.
"""

from keras_concurrent.recipe import Recipe as Recipe
from keras_concurrent.training.fitting import TrainingResult as TrainingResult
from keras_concurrent.training.fitting import train as train
from keras_concurrent.training.progress import ProgressBar as ProgressBar
from keras_concurrent.training.saving import save_model as save_model

__all__ = ["ProgressBar", "Recipe", "TrainingResult", "save_model", "train"]
