"""Any of KerasTuner's oracles, issuing only candidates that keep limits, and surviving kills.

`constrain` gives the oracle of a tuner a subclass of its own class:

- Random draws (random search, Hyperband, the first points of Bayesian optimisation) are drawn again
  until they keep the limits. Candidates of a screening can come first.
- A grid is walked on to the next combination that keeps them.
- A proposal of Bayesian optimisation or Optuna that misses a limit, or was tried, is replaced by
  the nearest of many random draws that keeps them.

Refused candidates use up no trial; they are written to ``refused.jsonl`` in the tuner's folder.

KerasTuner writes its state in place, in two steps: what was issued (``oracle.json``) and each trial
(``trial.json``). Here a file is written beside and renamed, and what a kill left between the two
steps is mended when the tuner is made again: an issued trial is what ``oracle.json`` knows, an
ended one what its own file says.
"""

from __future__ import annotations

import functools
import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import keras
import keras_tuner

from keras_concurrent.cluster import Cluster
from keras_concurrent.errors import ConcurrentError
from keras_concurrent.files import write_beside
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.search.costs import architecture_costs, costs_of, scored
from keras_concurrent.search.limits import Limit, limits_of
from keras_concurrent.search.space import Values, architecture_of
from keras_concurrent.search.tuning.callbacks import model_graph
from keras_concurrent.search.tuning.hypermodel import ConcurrentHyperModel

_DRAWS = 1000  # refused one after another: then the space counts as exhausted
_NEAR = 100  # draws among which the nearest to a refused proposal is sought
_ENDED = ("COMPLETED", "FAILED")


def constrain(
    tuner: keras_tuner.Tuner,
    *limits: str | Limit,
    cluster: Cluster | None = None,
    first: Iterable[Values] = (),
) -> None:
    """Make a tuner issue only candidates that keep some limits, and survive kills.

    Call it right after the tuner is made, before ``search``; on a worker, whose chief does the
    issuing, it does nothing.

    Args:
        tuner: any whose oracle is a ``keras_tuner.Oracle``.
        *limits: such as ``"latency_s <= 0.03"``; with none, only ``first`` matters and kills.
        cluster: the boards; by default those of the `ConcurrentHyperModel`. With a HyperModel of
            your own each candidate is built and converted, which takes seconds.
        first: values of candidates to be issued before any other, where the oracle draws at random:
            those of `keras_concurrent.search.screening.Screening.spread`, for example.

    Raises:
        ValueError: limits without a cluster.
    """
    oracle = tuner.oracle
    tuner.save = functools.partial(_save_tuner, tuner)
    if not isinstance(oracle, keras_tuner.Oracle):
        return
    asked = limits_of(limits)
    cluster = cluster or getattr(tuner.hypermodel, "cluster", None)
    if asked and cluster is None:
        raise ValueError("cluster must be given for limits, got None")
    oracle.__class__ = _screening(type(oracle))
    oracle.begin(asked, _figures(tuner, cluster, asked), [dict(values) for values in first])
    tuner.save()  # from now on there is something to come back to


def _save_tuner(tuner: keras_tuner.Tuner) -> None:
    """What ``tuner.save`` does, file by file whole or not at all."""
    if isinstance(tuner.oracle, keras_tuner.Oracle):
        tuner.oracle.save()
    write_beside(Path(tuner._get_tuner_fname()), json.dumps(tuner.get_state()).encode())


def _figures(
    tuner: keras_tuner.Tuner, cluster: Cluster | None, limits: tuple[Limit, ...]
) -> Callable[[Values], Mapping[str, float]]:
    """What gives the costs of a candidate."""
    partitioned = any(limit.name == "concurrency_score" for limit in limits)

    def of(values):
        if isinstance(tuner.hypermodel, ConcurrentHyperModel):
            architecture = architecture_of(values)
            graph = TaskGraph.from_architecture(architecture)
            costs = architecture_costs(architecture, cluster)
        else:
            space = tuner.oracle.get_space()
            space.values = dict(values)
            model = tuner.hypermodel.build(space)
            graph = model_graph(model)
            costs = costs_of(graph, model.count_params(), cluster)
            keras.backend.clear_session()
        return scored(graph, costs, cluster) if partitioned else costs.figures()

    return of


@functools.cache
def _screening(kind: type) -> type:
    """The subclass of an oracle's class; itself where it is one."""
    if issubclass(kind, _Screening):
        return kind
    return type(f"Screening{kind.__name__}", (_Screening, kind), {})


class _Screening(keras_tuner.Oracle):
    """What `constrain` adds to an oracle."""

    def begin(self, limits, figures, first):
        """Take over from the oracle's own class."""
        self._limits = limits
        self._figures = figures
        self._first = first
        self._verdicts = {}
        self._recover()

    # Which candidates are issued

    def keeps(self, values):
        """Whether a candidate keeps all limits; notes one that does not."""
        if not self._limits:
            return True
        plain = {name: value for name, value in values.items() if not name.startswith("tuner/")}
        key = json.dumps(plain, sort_keys=True)
        if key not in self._verdicts:
            self._verdicts[key] = not self._objections(plain)
        return self._verdicts[key]

    def _objections(self, values):
        figures = {}
        try:
            figures = dict(self._figures(values))
            why = [str(limit) for limit in self._limits if limit.excess(figures)]
        except (ConcurrentError, ValueError) as error:  # there is no such network
            why = [str(error)]
        if why:
            line = json.dumps({"values": values, "costs": figures, "why": why})
            with open(Path(self._project_dir) / "refused.jsonl", "a", encoding="utf-8") as file:
                file.write(line + "\n")
        return why

    def populate_space(self, trial_id):
        """Values that keep the limits and were not tried."""
        response = super().populate_space(trial_id)
        values = response.get("values")
        if values is None or (self.keeps(values) and not self._duplicate(values)):
            return response
        walks = isinstance(self, keras_tuner.oracles.GridSearchOracle)
        kept = self._get_next_combination(values) if walks else self._nearest(values)
        return {"status": "RUNNING" if kept else "STOPPED", "values": kept}

    def _random_values(self):
        for values in self._first:
            if not self._duplicate(values) and self.keeps(values):
                return dict(values)
        return self._draw()

    def _draw(self):
        for _ in range(_DRAWS):
            values = super()._random_values()
            if values is None or self.keeps(values):
                return values
        limits = ", ".join(map(str, self._limits))
        warnings.warn(
            f"none of {_DRAWS} random candidates keeps {limits}: the search ends", stacklevel=2
        )
        return None

    def _nearest(self, values):
        draws = [super(_Screening, self)._random_values() for _ in range(_NEAR)]
        for near in sorted(filter(None, draws), key=lambda other: self._distance(values, other)):
            if self.keeps(near):
                return near
        return self._draw()

    def _distance(self, one, other):
        total = 0.0
        for parameter in self.hyperparameters.space:
            here, there = one.get(parameter.name), other.get(parameter.name)
            if here == there:
                continue
            if here is None or there is None or not getattr(parameter, "ordered", True):
                total += 1.0
            else:
                total += abs(parameter.value_to_prob(here) - parameter.value_to_prob(there))
        return total

    def _get_next_combination(self, values):
        following = super()._get_next_combination(values)
        while following is not None and not self.keeps(following):
            following = super()._get_next_combination(following)
        return following

    # What survives a kill

    def save(self):
        """Write the state, whole or not at all."""
        write_beside(Path(self._get_oracle_fname()), json.dumps(self.get_state()).encode())

    def _save_trial(self, trial):
        path = Path(self._get_trial_dir(trial.trial_id)) / "trial.json"
        write_beside(path, json.dumps(trial.get_state()).encode())

    @keras_tuner.synchronized
    def end_trial(self, trial):
        """End a trial once, however often a worker says so."""
        if trial.trial_id in self.end_order:
            return
        super().end_trial(trial)
        if trial.trial_id in self.end_order and trial.trial_id in self._retry_queue:
            self._retry_queue.remove(trial.trial_id)
            self.save()

    def _recover(self):
        """Mend what a kill left between two files."""
        for trial_id in set(self.trials) - set(self.start_order):
            del self.trials[trial_id]  # the same will be issued again
        for trial_id in self.start_order:
            if self.trials[trial_id].status in _ENDED and trial_id not in self.end_order:
                self.end_order.append(trial_id)
        self._retry_queue = [t for t in self._retry_queue if t not in self.end_order]
        state = Path(self._get_oracle_fname())
        if _is_chief() and state.exists():  # its workers may be alive, and come back by name
            ongoing = json.loads(state.read_text(encoding="utf-8"))["ongoing_trials"]
            for tuner_id, trial_id in ongoing.items():
                if trial_id in self._retry_queue:
                    self._retry_queue.remove(trial_id)
                    self.ongoing_trials[tuner_id] = self.trials[trial_id]
        if isinstance(self, keras_tuner.oracles.GridSearchOracle):
            self._recover_grid()

    def _recover_grid(self):
        """KerasTuner does not save where a grid search stood."""
        order = functools.cmp_to_key(
            lambda a, b: self._compare(
                self.trials[a].hyperparameters.values, self.trials[b].hyperparameters.values
            )
        )
        for trial_id in sorted(self.start_order, key=order):
            self._ordered_ids.insert(trial_id)
        self._populate_next = list(self.start_order)


def _is_chief() -> bool:
    chief = "chief" in os.environ.get("KERASTUNER_TUNER_ID", "")
    return chief and "KERASTUNER_ORACLE_IP" in os.environ
