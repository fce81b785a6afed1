"""A search in a folder: screening, trials, what they found, and the chosen one exported.

::

    search/search.json       what was asked
    search/cluster.toml      the boards
    search/screening.csv     the candidates that keep the limits: costs and values
    search/first.json        those to be trained first
    search/trials/           KerasTuner's records and checkpoints
    search/leaderboard.csv   all trials, best first; rewritten as each ends
    search/pareto.png        accuracy over predicted latency
    search/importance.csv    what the parameters explain of the accuracy
    search/tensorboard/      for ``tensorboard --logdir``: curves and hyperparameters

A search that was killed goes on where it was, within the trial that ran: after the last epoch whose
end was kept in ``trials/trial_ID/training.npz``.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import keras
import keras_tuner

from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.errors import ConcurrentError
from keras_concurrent.files import write_beside
from keras_concurrent.search.limits import Limit
from keras_concurrent.search.pace import TrialPace, forget_paces
from keras_concurrent.search.plots import draw_pareto
from keras_concurrent.search.results import (
    Result,
    importance,
    leaderboard,
    ranked,
    read_results,
)  # fmt: skip
from keras_concurrent.search.screening import SCREENED, Screening, screen
from keras_concurrent.search.settings import Settings
from keras_concurrent.search.tuning.chosen import (
    export,
    settled,
    trained_to_the_end,
    with_best_weights,
)
from keras_concurrent.search.tuning.hypermodel import ConcurrentHyperModel
from keras_concurrent.search.tuning.oracle import constrain
from keras_concurrent.search.watch import Watch
from keras_concurrent.search.workers import Role, patient, sole
from keras_concurrent.training.batches import Batches
from keras_concurrent.training.fitting import training_batches
from keras_concurrent.training.progress import Pace

METRIC = "val_accuracy"
ALONE = Role()
_HELD_BACK = 0.2  # of the training images, to choose by; the test images stay unseen
_PACE_S = 1.0


class Session:
    """A search in a folder.

    Args:
        folder: where the search is kept; its settings are there already.
        settings: the same, where they are at hand with their images read.
    """

    def __init__(self, folder: Path, settings: Settings | None = None):
        self.folder = Path(folder)
        self.settings = settings or Settings.read(self.folder)
        self.trials = self.folder / "trials"

    @cached_property
    def space(self):
        """The space that is searched."""
        return self.settings.searched()

    @cached_property
    def hypermodel(self):
        """Of the space, with its costs on the cluster."""
        return ConcurrentHyperModel(
            self.space, self.settings.cluster, seed=self.settings.seed,
            recipe=self.settings.recipe, images=len(self._parts[0]),
        )  # fmt: skip

    @cached_property
    def _parts(self):
        """Indices of the training images to learn from, and of those to choose by."""
        return self.settings.dataset.split(_HELD_BACK, self.settings.seed)

    def _fitted_on(self):
        """What trials learn from and are compared by, as ``model.fit`` takes it."""
        data, recipe = self.settings.dataset, self.settings.recipe
        learnt, held = self._parts
        return {
            "x": training_batches(data, replace(recipe, seed=self.settings.seed), learnt),
            "validation_data": Batches(
                data.train_images, data.train_labels, data.classes, recipe.batch_size, chosen=held
            ),
        }

    @property
    def results(self) -> tuple[Result, ...]:
        """The trials so far."""
        return read_results(self.trials)

    def watch(self, tell) -> Watch:
        """What tells of the trials; see `Watch`."""
        total = None if self.settings.tuner == "hyperband" else self.settings.trials
        return Watch(self.trials, self.folder / "leaderboard.csv", tell, total, METRIC)

    def screen(self, progress=None) -> list[dict]:
        """The values to be trained first; screens where that was not yet done.

        Raises:
            ConcurrentError: no candidate keeps the limits.
        """
        first = self.folder / "first.json"
        if not first.exists():
            kept: Screening = Screening(())
            if self.settings.samples:
                screening = screen(
                    self.space, self.settings.cluster, self.settings.samples,
                    seed=self.settings.seed, progress=progress,
                )  # fmt: skip
                limits = [limit for limit in self.limits if limit.name in SCREENED]
                kept = screening.keeping(*limits)
                if not kept.candidates:
                    raise ConcurrentError(_unkept(screening, limits))
                write_beside(self.folder / "screening.csv", kept.to_csv().encode())
            chosen = [dict(c.values) for c in kept.spread(self.settings.trials)]
            write_beside(first, json.dumps(chosen, indent=1).encode())
        return json.loads(first.read_text(encoding="utf-8"))

    def tuner(self, role: Role = ALONE) -> keras_tuner.Tuner:
        """KerasTuner's tuner of this search, in a role; reads what is there."""
        first = [] if role.worker else self.screen()
        role.take()
        self._mend(role.name)
        arguments = {
            "directory": self.folder,
            "project_name": self.trials.name,
            "executions_per_trial": 1,
        }
        tuner = self._tuner(**arguments)
        constrain(tuner, *self.settings.limits, first=first)
        if role.worker:
            patient(tuner)
        return tuner

    def _tuner(self, **where):
        asked = self.settings
        aim = keras_tuner.Objective(METRIC, "max")
        how = {
            "objective": aim,
            "seed": asked.seed + 1,  # 0 would mean any
            "max_consecutive_failed_trials": 10**9,  # a failure is recorded, and no end
        }
        if asked.tuner == "hyperband":
            return keras_tuner.Hyperband(
                self.hypermodel, max_epochs=asked.recipe.epochs, **how, **where
            )
        how["max_trials"] = asked.trials
        if asked.tuner == "random":
            return keras_tuner.RandomSearch(self.hypermodel, **how, **where)
        if asked.tuner == "grid":
            return keras_tuner.GridSearch(self.hypermodel, **how, **where)
        startup = max(2, asked.trials // 3)
        if asked.tuner == "bayesian":
            return keras_tuner.BayesianOptimization(
                self.hypermodel, num_initial_points=startup, **how, **where
            )
        from keras_concurrent.search.tuning.optuna_oracle import OptunaOracle

        del how["objective"]
        oracle = OptunaOracle({METRIC: "max", "latency_s": "min"}, startup=startup, **how)
        return keras_tuner.Tuner(oracle, self.hypermodel, **where)

    def _mend(self, name: str) -> None:
        """KerasTuner goes on with a search only where this process's own, empty file is there."""
        if (self.trials / "oracle.json").exists():
            write_beside(self.trials / f"{name}.json", b"{}")

    def search(self, role: Role = ALONE) -> None:
        """Train until all trials have ended; as a chief, hand them out; as a worker, ask for them.

        Raises:
            ConcurrentError: no candidate keeps the limits, or another process hands out the trials.
        """
        fitted_on = self._fitted_on()
        keras.utils.set_random_seed(self.settings.seed)
        alone = contextlib.nullcontext() if role.worker else sole(self.folder)
        with alone, contextlib.redirect_stdout(sys.stderr):  # KerasTuner prints where it reads from
            if not role.worker:
                forget_paces(self.trials)
            tuner = self.tuner(role)
            tuner.run_trial = self._kept(tuner.run_trial, role.name)
            tuner.search(
                **fitted_on,
                epochs=self.settings.recipe.epochs,
                callbacks=[
                    keras.callbacks.TensorBoard(self.folder / "tensorboard", write_graph=False)
                ],
                verbose=0,
            )

    def _kept(self, run, name: str):
        """``run_trial`` that keeps each trial's state within its training, and tells its pace."""

        def kept(trial, *args, **kwargs):
            def tell(share, epoch, epochs, accuracy, left_s):
                pace = TrialPace(trial.trial_id, share, epoch + 1, epochs, accuracy, left_s)
                pace.write(self.trials, name)

            backup = self.trials / f"trial_{trial.trial_id}" / "training.npz"
            kwargs["callbacks"] = [*kwargs.get("callbacks", ()), Pace(tell, _PACE_S)]
            try:
                return run(trial, *args, backup=backup, **kwargs)
            finally:
                forget_paces(self.trials, name)

        return kept

    def finish(self) -> Result | None:
        """Write what was found; gives the best trial, where there is one."""
        results = self.results
        best = next(iter(ranked(results)), None)
        write_beside(self.folder / "leaderboard.csv", leaderboard(results).encode())
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["parameter", "share_of_variance"])
        writer.writerows(importance(results).items())
        write_beside(self.folder / "importance.csv", text.getvalue().encode())
        picture = draw_pareto(results, metric=METRIC, limits=self.limits, chosen=best)
        write_beside(self.folder / "pareto.png", picture)
        return best

    @property
    def limits(self) -> tuple[Limit, ...]:
        """That candidates keep."""
        return self.settings.parsed_limits

    def model(self, result: Result) -> keras.Model:
        """A trial's network with its best weights; trained again where no checkpoint is here."""
        checkpoint = self.trials / f"trial_{result.trial}" / "checkpoint.weights.h5"
        return with_best_weights(self.hypermodel, result, checkpoint, self._fitted_on())

    def export(
        self, result: Result, path: Path, say: Callable[[str], object] = lambda line: None
    ) -> tuple[Bundle, float]:
        """Turn a trial into ``model.keras`` in the search's folder and a bundle for the boards.

        Its network is trained anew, longer and on all training images, unless the settings say
        otherwise; killed meanwhile, that goes on too.

        Args:
            result: the trial.
            path: the bundle's folder.
            say: is given lines about how far the final training is.

        Returns:
            The bundle, and the accuracy on the test images.
        """
        if self.settings.final_epochs:
            model, accuracy = trained_to_the_end(
                self.hypermodel, result, self.settings, self.folder, say
            )
        else:
            model, accuracy = settled(self.model(result), self.settings)
        return export(model, result, self.settings, self.folder, path), accuracy


def _unkept(screening: Screening, limits: list[Limit]) -> str:
    """That no candidate keeps all limits, and how far each could be moved."""
    nearest = []
    for limit in limits:
        figures = [c.costs.figures()[limit.name] for c in screening.candidates]
        best = min(figures) if limit.at_most else max(figures)
        nearest.append(f"{limit}: {'least' if limit.at_most else 'most'} {best:.4g}")
    return f"none of {len(screening.candidates)} candidates keeps the limits ({'; '.join(nearest)})"
