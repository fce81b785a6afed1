"""Predicted costs among the logs of a training, where objectives and other callbacks find them."""

from __future__ import annotations

import keras

from keras_concurrent.cluster import Cluster
from keras_concurrent.convert import to_tflite
from keras_concurrent.networks.architecture import Architecture
from keras_concurrent.planning.chains import chains_as_tasks
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.search.costs import architecture_costs, costs_of, scored
from keras_concurrent.tflite.file import TfliteFile


def model_graph(model: keras.Model) -> TaskGraph:
    """The task graph of a Keras model, trained or not: converted, read, its chains merged.

    Raises:
        ConversionError: the model cannot be converted.
        TypeError: a model whose inputs are not known, see `keras_concurrent.to_tflite`.
    """
    return chains_as_tasks(TaskGraph.from_tflite(TfliteFile(to_tflite(model))))


class PredictedCosts(keras.callbacks.Callback):
    """Adds a network's predicted costs to the logs of every epoch.

    Give it to ``tuner.search(callbacks=[PredictedCosts(cluster)])`` with a HyperModel of your own;
    `keras_concurrent.search.ConcurrentHyperModel` brings it along. Callbacks behind it see the
    costs too.

    Args:
        cluster: the boards.
        architecture: what the model was built from; without it, the model is converted and its
            .tflite read.
    """

    def __init__(self, cluster: Cluster, architecture: Architecture | None = None):
        super().__init__()
        self.cluster = cluster
        self.architecture = architecture
        self._figures = {}

    def on_train_begin(self, logs=None):
        """Predict, unless the model gets its shapes from the first images."""
        self._figures = self._predicted() if self.architecture or self.model.built else {}

    def on_epoch_end(self, epoch, logs=None):
        """Tell."""
        self._figures = self._figures or self._predicted()
        if logs is not None:
            logs.update(self._figures)

    def _predicted(self):
        if self.architecture is not None:
            graph = TaskGraph.from_architecture(self.architecture)
            costs = architecture_costs(self.architecture, self.cluster)
        else:
            graph = model_graph(self.model)
            costs = costs_of(graph, self.model.count_params(), self.cluster)
        return scored(graph, costs, self.cluster)
