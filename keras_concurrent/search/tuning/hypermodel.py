"""The search space as a KerasTuner HyperModel."""

from __future__ import annotations

import warnings
from dataclasses import replace

import keras
import keras_tuner

from keras_concurrent.cluster import Cluster
from keras_concurrent.models import build_model
from keras_concurrent.recipe import Recipe
from keras_concurrent.search.parameters import Choice, Real
from keras_concurrent.search.space import Space, architecture_of
from keras_concurrent.search.tuning.callbacks import PredictedCosts
from keras_concurrent.training.fitting import compile_by, fit

_OPTIMIZERS = {
    "adam": lambda rate: keras.optimizers.Adam(rate),
    "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),  # the paper's
}


class ConcurrentHyperModel(keras_tuner.HyperModel):
    """Concurrent networks, for any of KerasTuner's tuners.

    All parameters are declared before anything is built, so a tuner's constructor builds one small
    model only. Parameters that do not apply to a candidate (another generator's) lie in conditional
    scopes. ``fit`` is ``model.fit`` with the arguments and callbacks of ``tuner.search``.

    Args:
        space: the networks.
        cluster: with one, each epoch's logs hold the network's predicted costs, for the objectives
            of `keras_concurrent.search.tuning.objectives`, and for TensorBoard and the like.
        seed: what the first weights and the order of the images are drawn from; ``None``: Keras's
            global generator.
        loss: as ``model.compile`` takes it; labels are whole numbers by default.
        metrics: as ``model.compile`` takes them.
        recipe: train by it, with the candidate's optimiser and rate; ``loss`` and ``metrics`` are
            the recipe's then, and ``fit`` takes `keras_concurrent.training.batches.Batches`.
        images: how many training images the recipe's schedule is for.
    """

    def __init__(
        self,
        space: Space,
        cluster: Cluster | None = None,
        *,
        seed: int | None = 0,
        loss="sparse_categorical_crossentropy",
        metrics=("accuracy",),
        recipe: Recipe | None = None,
        images: int = 0,
    ):
        super().__init__(name="concurrent")
        self.space = space
        self.cluster = cluster
        self.seed = seed
        self.loss = loss
        self.metrics = metrics
        self.recipe = recipe
        self.images = images

    def declare_hyperparameters(self, hp):
        """Declare the whole space; warns of what was declared before and changes nothing."""
        self._warn_of_others(hp)
        for name, value in self.space.fixed.items():
            hp.Fixed(name, value)
        for parameter in self.space.parameters:
            if parameter.when is None:
                self._declare(hp, parameter)
                continue
            other, value = parameter.when
            with hp.conditional_scope(other, [value]):
                self._declare(hp, parameter)

    def _warn_of_others(self, hp):
        known = {*self.space.fixed, *(parameter.name for parameter in self.space.parameters)}
        others = [parameter.name for parameter in hp.space if parameter.name not in known]
        if not others or any(parameter.name in known for parameter in hp.space):
            return  # those that came after ours are somebody's who reads them
        rates = [parameter.name for parameter in self.space.parameters if "_rate" in parameter.name]
        warnings.warn(
            f"{', '.join(others)}: not among the parameters of this space, so tuning it changes "
            f"nothing. Learning rates are {', '.join(rates)}: give search.Space their bounds, as "
            f"in rates={{'adam': (1e-4, 1e-2)}}",
            stacklevel=3,
        )

    def recipe_of(self, values):
        """How a candidate is trained."""
        optimizer = values["optimizer"]
        return replace(
            self.recipe,
            optimizer=optimizer,
            learning_rate=values[f"{optimizer}_rate"],
            epochs=values.get("tuner/epochs", self.recipe.epochs),  # Hyperband's
            seed=self.recipe.seed if self.seed is None else self.seed,
        )

    def _declare(self, hp, parameter):
        if isinstance(parameter, Choice) and len(parameter.values) == 1:
            hp.Fixed(parameter.name, parameter.values[0])  # nothing for a tuner to model
        elif isinstance(parameter, Choice):
            hp.Choice(parameter.name, list(parameter.values), default=parameter.values[0])
        elif isinstance(parameter, Real):
            hp.Float(
                parameter.name,
                parameter.low,
                parameter.high,
                sampling="log",
                default=parameter.default,
            )
        else:
            hp.Int(parameter.name, parameter.low, parameter.high, default=parameter.low)

    def build(self, hp):
        """A compiled model of the candidate in ``hp``."""
        if any(name not in hp.values for name in self.space.fixed):
            self.declare_hyperparameters(hp)
        values = hp.values
        if self.seed is not None:
            keras.utils.set_random_seed(self.seed)
        model = build_model(architecture_of(values))
        if self.recipe is not None:
            compile_by(self.recipe_of(values), model, self.images)
            return model
        optimizer = values["optimizer"]
        model.compile(
            optimizer=_OPTIMIZERS[optimizer](values[f"{optimizer}_rate"]),
            loss=self.loss,
            metrics=list(self.metrics),
            jit_compile=False,  # compiling costs more than a short trial wins back
        )
        model.optimizer.build(model.trainable_variables)  # a checkpoint holds its variables too
        return model

    def fit(self, hp, model, *args, backup=None, **kwargs):
        """``model.fit(*args, **kwargs)``; gives the History.

        Args:
            hp: the candidate.
            model: from `build`.
            *args: of ``model.fit``.
            backup: with a recipe, the file that keeps the training's state, see
                `keras_concurrent.training.fitting.fit`.
            **kwargs: of ``model.fit``.
        """
        if self.cluster is not None:
            callback = PredictedCosts(self.cluster, architecture_of(hp.values))
            kwargs["callbacks"] = [callback, *(kwargs.get("callbacks") or [])]
        if self.seed is not None:
            keras.utils.set_random_seed(self.seed)
        if self.recipe is None:
            return model.fit(*args, **kwargs)
        return fit(
            model,
            kwargs["x"],
            self.recipe_of(hp.values),
            validation=kwargs.get("validation_data"),
            callbacks=kwargs.get("callbacks") or (),
            backup=backup,
            initial_epoch=kwargs.get("initial_epoch", 0),
        )
