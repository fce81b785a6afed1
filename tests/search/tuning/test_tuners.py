"""The search space, its objectives and its limits inside KerasTuner's own tuners."""

import json
import math

import keras
import keras_tuner
import numpy as np
import pytest

from keras_concurrent.cluster import Cluster
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.scoring.concurrency import concurrency_score
from keras_concurrent.search import (
    ConcurrencyScore,
    ConcurrentHyperModel,
    Constrained,
    EfficiencyScore,
    Limit,
    PredictedCosts,
    PredictedLatency,
    Space,
    Weighted,
    architecture_of,
    constrain,
    screen,
)
from keras_concurrent.search.costs import architecture_costs, costs_of
from keras_concurrent.search.tuning import oracle
from keras_concurrent.search.tuning.callbacks import model_graph

CLUSTER = Cluster.of("pi4", 2, "1gbit")
SPACE = Space(
    (8, 8, 1), 3, kinds=("DP", "chain"), vertices=(2, 3, 4, 5), filters=(4, 8),
    channel_caps=(16,), convolutions=("separable",),
)  # fmt: skip
IMAGES = np.random.default_rng(0).random((24, 8, 8, 1)).astype("float32")
LABELS = np.arange(24) % 3
FIT = {"x": IMAGES, "y": LABELS, "validation_data": (IMAGES, LABELS), "epochs": 2, "verbose": 0}


def untrained(trial, **fit):
    """In place of ``run_trial``: the predicted costs, and an accuracy that grows with FLOPs."""
    costs = architecture_costs(architecture_of(trial.hyperparameters.values), CLUSTER)
    return {**costs.figures(), "val_accuracy": 1 - math.exp(-costs.flops / 1e6)}


def tuner_of(name, where, **arguments):
    """A tuner that searches the space without training anything."""
    arguments = {"objective": "val_accuracy", "directory": where, "seed": 2, **arguments}
    tuner = getattr(keras_tuner, name)(ConcurrentHyperModel(SPACE, CLUSTER), **arguments)
    tuner.run_trial = untrained
    return tuner


def random_search(where, hypermodel, objective, trials):
    return keras_tuner.RandomSearch(
        hypermodel, objective=objective, max_trials=trials, directory=where, seed=1
    )


def issued(tuner):
    """The values of all trials in the order of their starts, without the tuner's own."""
    return [
        {
            name: value
            for name, value in tuner.oracle.trials[i].hyperparameters.values.items()
            if not name.startswith("tuner/")
        }
        for i in tuner.oracle.start_order
    ]


def test_the_whole_space_is_declared_up_front_and_its_default_builds():
    hp = keras_tuner.HyperParameters()
    ConcurrentHyperModel(SPACE).declare_hyperparameters(hp)
    assert [p.name for p in hp.space] == [*SPACE.fixed, *(p.name for p in SPACE.parameters)]
    assert hp.values == SPACE.defaults()
    model = ConcurrentHyperModel(SPACE).build(keras_tuner.HyperParameters())
    assert model.count_params() == architecture_of(SPACE.defaults()).parameters
    rate = float(model.optimizer.learning_rate.numpy())
    assert rate == pytest.approx(SPACE.defaults()["adam_rate"])


def test_a_tuner_builds_one_model_before_it_searches(tmp_path):
    built = []

    class Counting(ConcurrentHyperModel):
        def build(self, hp):
            built.append(dict(hp.values))
            return super().build(hp)

    random_search(tmp_path, Counting(SPACE, CLUSTER), PredictedLatency(), 1)
    assert built == [SPACE.defaults()]


def test_a_trial_of_real_training_tells_accuracy_and_costs(tmp_path):
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(logs["latency_s"])

        def __deepcopy__(self, memo):
            return self

    tuner = random_search(
        tmp_path,
        ConcurrentHyperModel(SPACE, CLUSTER),
        Constrained("val_accuracy", "latency_s <= 10"),
        1,
    )
    tuner.search(**FIT, callbacks=[Watch()])
    (trial,) = tuner.oracle.trials.values()
    assert trial.status == "COMPLETED", trial.message
    network = architecture_of(trial.hyperparameters.values)
    graph = TaskGraph.from_architecture(network)
    latency_s = architecture_costs(network, CLUSTER).latency_s
    assert seen == [latency_s] * 2
    told = {name: trial.metrics.get_last_value(name) for name in trial.metrics.metrics}
    assert told["latency_s"] == latency_s
    assert told["parameters"] == network.parameters
    assert told["concurrency_score"] == concurrency_score(graph, 2).best.concurrency_score
    assert trial.score == told["val_accuracy"]
    # The record on disk is enough to build the network again, and the checkpoint fits it.
    record = json.loads((tmp_path / "untitled_project/trial_0/trial.json").read_text())
    assert architecture_of(record["hyperparameters"]["values"]) == network
    (model,) = tuner.get_best_models()
    assert model.evaluate(IMAGES, LABELS, verbose=0, return_dict=True)["accuracy"] == (
        pytest.approx(trial.score, abs=1e-6)
    )


def test_the_seed_decides_the_training():
    hp = keras_tuner.HyperParameters()
    losses = []
    for seed in (0, 0, 1):
        hypermodel = ConcurrentHyperModel(SPACE, seed=seed)
        losses.append(hypermodel.fit(hp, hypermodel.build(hp), **FIT).history["loss"])
    assert losses[0] == losses[1] != losses[2]


def test_tuning_what_changes_nothing_says_so(tmp_path):
    """KerasTuner's own way to restrict a search, by a parameter that these networks do not have."""
    hp = keras_tuner.HyperParameters()
    hp.Float("learning_rate", 1e-4, 1e-2)
    with pytest.warns(UserWarning, match=r"learning_rate: not among .* are adam_rate"):
        keras_tuner.RandomSearch(
            ConcurrentHyperModel(SPACE), objective="val_accuracy", max_trials=1, hyperparameters=hp,
            directory=tmp_path,
        )  # fmt: skip
    known = keras_tuner.HyperParameters()
    known.Float("adam_rate", 1e-4, 1e-3)  # one of the space's own is nothing to speak of
    ConcurrentHyperModel(SPACE).declare_hyperparameters(known)


def test_objectives_work_with_any_keras_model(tmp_path):
    def build(hp):
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(hp.Choice("filters", [2, 4]), 3),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(3, activation="softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    aim = Weighted({"val_accuracy": 1, "latency_s": 1}, {"latency_s": (0.1, 0.001)})
    tuner = random_search(tmp_path, build, aim, 1)
    tuner.search(**FIT, callbacks=[PredictedCosts(CLUSTER)])
    (trial,) = tuner.oracle.trials.values()
    assert trial.status == "COMPLETED", trial.message
    filters = trial.hyperparameters.values["filters"]
    assert trial.metrics.get_last_value("parameters") == 10 * filters + 3 * filters + 3
    # A convolution, at 2 operations a multiply-accumulate, is nearly all there is.
    assert trial.metrics.get_last_value("flops") == pytest.approx(36 * filters * 9 * 2, rel=0.3)
    model = build(trial.hyperparameters)
    costs = costs_of(model_graph(model), model.count_params(), CLUSTER)
    assert trial.metrics.get_last_value("latency_s") == costs.latency_s


@pytest.mark.parametrize(
    ("objective", "better", "worse"),
    [
        (PredictedLatency(), {"latency_s": 1.0}, {"latency_s": 2.0}),
        (EfficiencyScore(), {"efficiency": 0.8}, {"efficiency": 0.2}),
        (ConcurrencyScore(), {"concurrency_score": 1.0}, {"concurrency_score": 1.5}),
        (
            Constrained("val_accuracy", "latency_s <= 2"),
            {"val_accuracy": 0.1, "latency_s": 2.0},
            {"val_accuracy": 0.9, "latency_s": 2.1},
        ),
        (
            Constrained("val_accuracy", "latency_s <= 2"),
            {"val_accuracy": 0.1, "latency_s": 2.1},
            {"val_accuracy": 0.9, "latency_s": 3.0},
        ),
        (
            Constrained("val_loss", "latency_s <= 2", worst=5.0),
            {"val_loss": 9.0, "latency_s": 2.0},
            {"val_loss": 0.1, "latency_s": 2.1},
        ),
        (
            Weighted({"accuracy": 1, "latency_s": 1}, {"latency_s": (0.1, 0.0)}),
            {"accuracy": 0.8, "latency_s": 0.05},
            {"accuracy": 0.9, "latency_s": 0.07},
        ),
    ],
)
def test_objectives_order_as_they_say(objective, better, worse):
    assert objective.has_value(better)
    assert not objective.has_value({"loss": 1.0})
    assert objective.better_than(objective.get_value(better), objective.get_value(worse))


def test_weights_are_of_scores_between_worst_and_best():
    objective = Weighted({"val_accuracy": 3, "latency_s": 1}, {"latency_s": (0.1, 0.01)})
    # 3/4 of 0.8, and a quarter of halfway.
    assert objective.get_value({"val_accuracy": 0.8, "latency_s": 0.055}) == pytest.approx(0.725)
    assert objective.get_value({"val_accuracy": 0.0, "latency_s": 0.001}) == pytest.approx(0.25)


def test_objectives_say_what_they_lack():
    for wrong in ({}, {"val_accuracy": 0}, {"latency_s": 1}):
        with pytest.raises(ValueError, match=r"weights|scales"):
            Weighted(wrong)
    with pytest.raises(ValueError, match="worst must be given for val_loss"):
        Constrained("val_loss", "latency_s <= 1")
    with pytest.raises(ValueError, match="limits must hold at least one"):
        Constrained("val_accuracy")
    with pytest.raises(ValueError, match="'nonsense' is neither"):
        Constrained("nonsense", "latency_s <= 1")


@pytest.mark.parametrize(
    "name", ["RandomSearch", "Hyperband", "BayesianOptimization", "GridSearch"]
)
def test_any_tuner_issues_only_what_keeps_the_limits(name, tmp_path):
    arguments = {
        "RandomSearch": {"max_trials": 8},
        "Hyperband": {"max_epochs": 3, "factor": 2},
        "BayesianOptimization": {"max_trials": 5, "num_initial_points": 4},
        "GridSearch": {"max_trials": 8},
    }[name]
    tuner = tuner_of(name, tmp_path, **arguments)
    least = architecture_costs(architecture_of(SPACE.defaults()), CLUSTER).flops
    drawn = [architecture_costs(architecture_of(SPACE.draw(0, i)), CLUSTER) for i in range(20)]
    limit = f"latency_s <= {sorted(costs.latency_s for costs in drawn)[10]:.6f}"
    bound = Limit.parse(limit).bound
    constrain(tuner, f"flops >= {least + 1}", limit)
    tuner.search(verbose=0)
    assert len(tuner.oracle.trials) == arguments.get("max_trials", len(tuner.oracle.trials))
    assert len(tuner.oracle.trials) >= 5
    for costs in (architecture_costs(architecture_of(v), CLUSTER) for v in issued(tuner)):
        assert costs.latency_s <= bound
        assert costs.flops > least
    if name != "Hyperband":  # which goes on with its best
        assert len({json.dumps(values) for values in issued(tuner)}) == len(tuner.oracle.trials)
    refused = (tmp_path / "untitled_project/refused.jsonl").read_text().splitlines()
    assert refused
    for each in map(json.loads, refused):
        costs = architecture_costs(architecture_of(each["values"]), CLUSTER)
        assert each["costs"] == costs.figures()
        assert (str(Limit.parse(limit)) in each["why"]) == (costs.latency_s > bound)


def test_a_refused_proposal_is_replaced_by_a_near_one(tmp_path):
    asked = {**SPACE.defaults(), "vertices": 5, "filters": 8, "graph_seed": 500}

    class Stubborn(keras_tuner.Oracle):
        def populate_space(self, trial_id):
            return {"status": "RUNNING", "values": dict(asked)}

    tuner = keras_tuner.Tuner(
        Stubborn("val_accuracy", max_trials=3, seed=1),
        ConcurrentHyperModel(SPACE, CLUSTER),
        directory=tmp_path,
    )
    tuner.run_trial = untrained
    flops = architecture_costs(architecture_of(asked), CLUSTER).flops
    constrain(tuner, f"flops <= {flops - 1}")
    tuner.search(verbose=0)
    assert len({json.dumps(values) for values in issued(tuner)}) == 3
    for values in issued(tuner):
        assert architecture_costs(architecture_of(values), CLUSTER).flops < flops
        assert values["kind"] == asked["kind"]  # another kind would be far
        assert abs(values["graph_seed"] - 500) < 400


def test_candidates_of_a_screening_come_first_and_once(tmp_path):
    first = [c.values for c in screen(SPACE, CLUSTER, 50).spread(3)]
    tuner = tuner_of("RandomSearch", tmp_path, max_trials=5)
    constrain(tuner, first=first)
    tuner.search(verbose=0)
    assert issued(tuner)[:3] == first
    assert len({json.dumps(values) for values in issued(tuner)}) == 5


def test_a_limit_that_nothing_keeps_ends_the_search_and_says_so(tmp_path):
    tuner = tuner_of("RandomSearch", tmp_path)
    constrain(tuner, "latency_s <= 0.000001")
    with pytest.warns(UserWarning, match="none of 1000 random candidates keeps latency_s <= 1e-06"):
        tuner.search(verbose=0)
    assert not tuner.oracle.trials
    tuner = random_search(tmp_path / "b", ConcurrentHyperModel(SPACE), PredictedLatency(), 1)
    with pytest.raises(ValueError, match="cluster must be given"):
        constrain(tuner, "flops <= 1")


def test_limits_hold_for_a_hypermodel_of_ones_own(tmp_path):
    def build(hp):
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(hp.Choice("units", [2, 3, 4, 5]))]
        )
        model.compile("adam", "mse")
        return model

    tuner = random_search(tmp_path, build, "val_loss", 2)
    constrain(tuner, "parameters <= 15", cluster=CLUSTER)
    x = np.ones((4, 4), "float32")
    tuner.search(x, x[:, :1], validation_data=(x, x[:, :1]), verbose=0)
    assert sorted(values["units"] for values in issued(tuner)) == [2, 3]


@pytest.mark.parametrize("first", [[keras.Input((8, 8, 1))], []])
def test_an_objective_reads_a_sequential_model_with_and_without_an_input(first, tmp_path):
    def build(hp):
        layers = [keras.layers.Flatten(), keras.layers.Dense(hp.Choice("units", [3, 4]))]
        model = keras.Sequential([*first, *layers])
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    tuner = random_search(tmp_path, build, PredictedLatency(), 1)
    tuner.search(**FIT, callbacks=[PredictedCosts(CLUSTER)])
    (trial,) = tuner.oracle.trials.values()
    assert trial.status == "COMPLETED", trial.message
    units = trial.hyperparameters.values["units"]
    assert trial.metrics.get_last_value("parameters") == 65 * units
    assert trial.score == trial.metrics.get_last_value("latency_s") > 0
    # Limits are on what was never trained.
    tuner = random_search(tmp_path / "limited", build, "val_loss", 1)
    constrain(tuner, "parameters <= 200", cluster=CLUSTER)
    if first:
        tuner.search(**FIT)
        assert issued(tuner) == [{"units": 3}]
    else:
        with pytest.raises(TypeError, match=r"let it start with a keras\.Input"):
            tuner.search(**FIT)


class Killed(BaseException):
    """As good as SIGKILL: nothing catches it."""


@pytest.mark.parametrize(
    ("name", "at"),
    [*(("RandomSearch", at) for at in range(8)), ("GridSearch", 5), ("GridSearch", 9)],
)
def test_a_search_killed_between_any_two_writes_ends_as_if_nothing_had_been(
    name, at, tmp_path, monkeypatch
):
    def tuner(where):
        made = tuner_of(name, where, max_trials=4)
        constrain(made, "latency_s <= 1")
        return made

    whole = tuner(tmp_path / "whole")
    whole.search(verbose=0)
    write, left = oracle.write_beside, [at]

    def failing(path, content):
        if not left[0]:
            raise Killed
        left[0] -= 1
        write(path, content)

    killed = tuner(tmp_path / "killed")
    monkeypatch.setattr(oracle, "write_beside", failing)
    with pytest.raises(Killed):
        killed.search(verbose=0)
    monkeypatch.undo()
    again = tuner(tmp_path / "killed")
    runs = []
    again.on_trial_begin = lambda trial: runs.append(trial.trial_id)
    again.search(verbose=0)
    assert issued(again) == issued(whole)
    assert [again.oracle.trials[i].score for i in "0123"] == [
        whole.oracle.trials[i].score for i in "0123"
    ]
    assert again.oracle.end_order == [*"0123"]
    # Seven writes a trial: two when it is issued, one of its metrics, four when it has ended.
    assert runs == [*"0123"][(at + 3) // 7 :]
