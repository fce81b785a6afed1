"""A KerasTuner oracle that asks Optuna for candidates: a Pareto search over several aims at once.

Needs the extra ``optuna``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import keras_tuner

from keras_concurrent.errors import MissingExtraError

try:
    import optuna
except ImportError as error:
    raise MissingExtraError("optuna", "optuna") from error


class OptunaOracle(keras_tuner.Oracle):
    """Tree-structured Parzen estimators (Optuna's TPE) over one or several aims.

    Nothing of Optuna's is kept between candidates: its study is made anew from the trials that have
    ended, so a killed search goes on, and a chief may hand out candidates to any number of workers.

    Args:
        aims: ``"min"`` or ``"max"`` by the metric's name, such as ``{"val_accuracy": "max",
            "latency_s": "min"}``. The first gives a trial's score, and its best epoch.
        max_trials: how many.
        startup: so many trials are drawn at random before Optuna is asked.
        seed: what Optuna draws from, 1 or more.
        **kwargs: the base class's arguments.

    Raises:
        MissingExtraError: Optuna is not installed (raised by the import).
        ValueError: no aim, or a direction that is neither.

    Example::

        oracle = OptunaOracle({"val_accuracy": "max", "latency_s": "min"}, max_trials=40)
        tuner = keras_tuner.Tuner(oracle, ConcurrentHyperModel(space, cluster))
    """

    def __init__(
        self, aims: Mapping[str, str], max_trials: int, *, startup: int = 8, seed: int = 1, **kwargs
    ):
        if not aims or set(aims.values()) - {"min", "max"}:
            raise ValueError(f"aims must say 'min' or 'max' for at least one metric, got {aims}")
        first, direction = next(iter(aims.items()))
        super().__init__(
            keras_tuner.Objective(first, direction), max_trials=max_trials, seed=seed, **kwargs
        )
        self.aims = dict(aims)
        self.startup = startup

    def populate_space(self, trial_id):
        """Random values at first, then what Optuna proposes."""
        ended = [t for t in self.trials.values() if t.status == "COMPLETED"]
        values = self._random_values() if len(ended) < self.startup else self._proposal(ended)
        return {"status": "STOPPED" if values is None else "RUNNING", "values": values}

    def _proposal(self, ended):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=0, seed=self.seed + len(self.trials)
            )
            study = optuna.create_study(
                directions=[f"{direction}imize" for direction in self.aims.values()],
                sampler=sampler,
            )
        for trial in ended:
            active = self._active(trial.hyperparameters.values)
            study.add_trial(
                optuna.trial.create_trial(
                    params={name: trial.hyperparameters.values[name] for name in active},
                    distributions=active,
                    values=[trial.metrics.get_best_value(name) for name in self.aims],
                )
            )
        asked = study.ask()
        hps = keras_tuner.HyperParameters()
        for parameter in self.hyperparameters.space:
            hps.merge([parameter])
            if hps.is_active(parameter):
                known = _distribution(parameter)
                hps.values[parameter.name] = (
                    parameter.value if known is None else asked._suggest(parameter.name, known)
                )
        return hps.values

    def _active(self, values):
        """Optuna's distributions of the parameters that a trial had and that can vary."""
        known = {p.name: _distribution(p) for p in self.hyperparameters.space if p.name in values}
        return {name: varying for name, varying in known.items() if varying is not None}


def _distribution(parameter):
    """Optuna's distribution of one of KerasTuner's parameters; none where it is fixed."""
    kinds = keras_tuner.engine.hyperparameters
    if isinstance(parameter, kinds.Fixed):
        return None
    if isinstance(parameter, kinds.Float) and parameter.step is None:
        return optuna.distributions.FloatDistribution(
            parameter.min_value, parameter.max_value, log=parameter.sampling == "log"
        )
    if isinstance(parameter, kinds.Int) and parameter.sampling == "linear":
        step = parameter.step or 1
        last = parameter.min_value + (parameter.max_value - parameter.min_value) // step * step
        return optuna.distributions.IntDistribution(parameter.min_value, last, step=step)
    if isinstance(parameter, kinds.Boolean):
        return optuna.distributions.CategoricalDistribution([False, True])
    return optuna.distributions.CategoricalDistribution(list(parameter.values))
