import importlib.util
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from keras_concurrent import datasets

EXAMPLE = Path(__file__).parents[2] / "examples" / "accuracy_study.py"


def imported():
    spec = importlib.util.spec_from_file_location("accuracy_study", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up their annotations
    spec.loader.exec_module(module)
    return module


accuracy_study = imported()
Phase, Recipe, Run = accuracy_study.Phase, accuracy_study.Recipe, accuracy_study.Run

TINY = Recipe(None, 8, 2_000, 2, 0.8, True, 8, (Phase(1, 1e-3, 0.9), Phase(1, 5e-4, 0.95)))


def run(family, seed, accuracy, parameters=100, data="photos"):
    return Run(data, family, seed, parameters, 4, 16, accuracy, 0.5, 1.0)


def striped(classes=2, count=16, size=8):
    """Images of zeros and of ones, which anything learns."""
    labels = np.arange(count, dtype=np.int32) % classes
    images = np.tile((labels % 2).astype(np.float32)[:, None, None, None], (1, size, size, 3))
    names = tuple(map(str, range(classes)))
    return datasets.Dataset("striped", images, labels, images, labels, names, "Fake.")


def test_channels_come_nearest_to_the_target():
    # With growth 2 the caps of 3 filters are 4 to 6, of 4 filters 5 to 8, of 5 filters 6 to 10:
    # products of 12, 15, 18; 20, 24, 28, 32; 30, 35, 40, 45, 50.
    assert accuracy_study.fit_channels(lambda f, cap: f * cap, 28, 2) == (4, 7)
    assert accuracy_study.fit_channels(lambda f, cap: f * cap, 36, 2) == (5, 7)  # 35, not 32
    assert accuracy_study.fit_channels(lambda f, cap: f * cap, 30, 2) == (5, 6)


def test_a_tie_goes_to_the_fewer_filters():
    # 1 filter gives 99, at its only cap 2; 2 filters give 101 at cap 3 and 202 at cap 4.
    weights = {(1, 2): 99, (2, 3): 101, (2, 4): 202}
    assert accuracy_study.fit_channels(lambda *chosen: weights[chosen], 100, 2) == (1, 2)


def test_a_target_out_of_reach_says_what_is_nearest():
    # 100 with 1 filter, 400 with 2 filters.
    message = r"within 5% of, got 150; the nearest is 100 with filters=1 and channel_cap=2"
    with pytest.raises(ValueError, match=message):
        accuracy_study.fit_channels(lambda f, cap: 100 * f**2, 150, 2)


@pytest.mark.parametrize("family", accuracy_study.FAMILIES[:-1])
@pytest.mark.parametrize("data", ["photos", "cifar10"])
def test_every_family_has_the_wanted_parameters(family, data):
    recipe = accuracy_study.RECIPES[data]
    for seed in range(3):
        made = accuracy_study.make_architecture(family, seed, recipe, (32, 32, 3), 10)
        assert abs(made.parameters / recipe.parameters - 1) <= 0.05
        # FB halves at its first merges, the others where the probability says so; none more often.
        assert min(shape[0] for shape in made.shapes.values()) == 8


def test_an_impossible_number_of_parameters_names_the_family():
    recipe = replace(accuracy_study.RECIPES["photos"], parameters=500)
    with pytest.raises(ValueError, match="BA, seed 1: parameters must be a number"):
        accuracy_study.make_architecture("BA", 1, recipe, (32, 32, 3), 10)


def test_cifarnet_has_the_classic_number_of_parameters():
    # 5x5 convolutions to 32, 32 and 64 filters, a dense layer of 64 on 4x4, ten classes; the
    # original's three biases a filter are four values of batch normalisation here.
    classic = (75 * 32 + 32) + (25 * 32 * 32 + 32) + (25 * 32 * 64 + 64)
    classic += (16 * 64 * 64 + 64) + 650
    assert classic == 145_578
    found = accuracy_study.cifarnet_parameters((32, 32, 3), 10, 32, 64)
    assert found == classic + 3 * (32 + 32 + 64)


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1)])
def test_cifarnet_is_counted_as_keras_counts(shape):
    model = accuracy_study.build_cifarnet(shape, 10, 5, 7)
    assert model.count_params() == accuracy_study.cifarnet_parameters(shape, 10, 5, 7)
    assert model.output_shape == (None, 10)


def test_building_a_family_gives_what_was_planned():
    model, filters, cap = accuracy_study.build("WS", 1, TINY, (8, 8, 3), 2)
    planned = accuracy_study.make_architecture("WS", 1, TINY, (8, 8, 3), 2)
    assert model.count_params() == planned.parameters
    assert filters < cap <= 2 * filters


@pytest.mark.parametrize(
    ("epochs", "expected"), [(1, [1]), (3, [3]), (5, [3, 2]), (7, [3, 4]), (9, [3, 6])]
)
def test_shortening_keeps_the_first_epochs(epochs, expected):
    phases = (Phase(3, 0.1), Phase(4, 0.2))
    shortened = accuracy_study.shorten(phases, epochs)
    assert [phase.epochs for phase in shortened] == expected
    assert [phase.learning_rate for phase in shortened] == [0.1, 0.2][: len(expected)]


def test_the_papers_recipe():
    cifar, flowers = accuracy_study.RECIPES["cifar10"], accuracy_study.RECIPES["flowers102"]
    assert cifar.phases == (Phase(100, 1e-3, 0.9),)
    assert flowers.size == 224
    assert flowers.phases == (Phase(100, 1e-3, 0.9), Phase(200, 5e-4, 0.95))


def test_sgd_learns_in_phases():
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(pooled))
    recipe = replace(TINY, phases=(Phase(2, 0.5, 0.9), Phase(3, 0.25, 0.8)))
    tested, trained = accuracy_study.train(model, striped(), recipe, seed=0)
    assert (tested, trained) == (1.0, 1.0)
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    assert float(model.optimizer.learning_rate) == 0.25
    assert model.optimizer.momentum == 0.8
    assert int(model.optimizer.iterations) == 3 * 2  # the second phase alone, two batches an epoch


def test_the_summary():
    runs = [run("A", 0, 0.80), run("A", 1, 0.90, parameters=102), run("B", 0, 0.92)]
    runs += [run("B", 1, 0.94)]
    a, b = accuracy_study.summarise(runs)
    assert (a.family, a.parameters) == ("A", 101)
    assert a.mean == pytest.approx(85)
    assert a.best == pytest.approx(90)
    assert a.spread == pytest.approx(50**0.5)  # 5 below and 5 above: (25 + 25) / (2 - 1)
    assert a.gap == pytest.approx(8)
    # Squared standard errors of the two means: 50 / 2 and 2 / 2.
    assert a.gap_error == pytest.approx(26**0.5)
    assert (b.mean, b.gap, b.gap_error) == (pytest.approx(93), 0, 0)
    rows = accuracy_study.rows_of([a, b])
    assert rows[0] == ("A", "101", "85.00", "90.00", "7.07", "8.00 ± 5.10")
    assert rows[1] == ("B", "100", "93.00", "94.00", "1.41", "best")


def test_one_seed_has_no_spread():
    assert [s.spread for s in accuracy_study.summarise([run("A", 0, 0.8)])] == [0]


def test_tables_hold_each_data_set_by_itself():
    runs = [run("A", 0, 0.8), run("A", 0, 0.6, data="mnist")]
    markdown = accuracy_study.to_markdown(runs)
    assert "**photos**, 1 seed a family" in markdown
    assert "| A | 100 | 60.00 | 60.00 | 0.00 | best |" in markdown
    lines = accuracy_study.to_csv(runs).splitlines()
    assert lines[1] == "photos,A,0,100,4,16,0.8000,0.5000,1.0"
    assert len(lines) == 3


def test_the_picture_has_a_panel_a_data_set(tmp_path):
    from PIL import Image

    runs = [run(f, s, 0.8 + s / 50) for f in ("DP", "ER") for s in range(3)]
    sizes = []
    for shown in (runs, runs + [replace(r, data="mnist") for r in runs]):
        accuracy_study.draw(shown, tmp_path / "picture.png")
        with Image.open(tmp_path / "picture.png") as picture:
            sizes.append(picture.size)
    assert sizes == [(780, 600), (1410, 600)]


@pytest.fixture
def studied(monkeypatch, tmp_path):
    """A study whose trainings are made up; ``trained`` lists them."""
    monkeypatch.setattr(datasets, "load", lambda name, size: replace(striped(), name=name))
    trained = []

    def trainer(family, seed, recipe, data):
        trained.append((data.name, family, seed))
        return run(family, seed, 0.5 + seed / 10, data=data.name)

    def study(recipe=TINY, data=("photos", "mnist"), families=("DP", "chain"), seeds=range(2)):
        trained.clear()
        recipes = dict.fromkeys(data, recipe)
        return accuracy_study.study(data, families, seeds, recipes, tmp_path, trainer)

    study.trained, study.out = trained, tmp_path
    return study


def test_a_study_goes_on_where_it_was(studied):
    first = studied(data=("photos",), families=("DP",))
    assert studied.trained == [("photos", "DP", 0), ("photos", "DP", 1)]
    runs = studied()
    assert ("photos", "DP", 0) not in studied.trained
    assert len(studied.trained) == 8 - 2
    assert runs[:2] == first
    assert studied() == runs
    assert studied.trained == []


def test_other_settings_are_trained_anew(studied):
    studied()
    studied(replace(TINY, phases=(Phase(2, 1e-3, 0.9),)))
    assert len(studied.trained) == 8
    assert len(list((studied.out / "runs").iterdir())) == 16


def test_a_file_with_foreign_settings_is_an_error(studied):
    studied()
    path = next((studied.out / "runs").iterdir())
    kept = json.loads(path.read_text())
    kept["settings"]["vertices"] = 9
    path.write_text(json.dumps(kept))
    with pytest.raises(accuracy_study.ConcurrentError, match="must hold a training with"):
        studied()


def test_what_was_trained_survives_a_crash(studied, monkeypatch):
    def crash(family, seed, recipe, data):
        if seed == 1:
            raise KeyboardInterrupt
        return run(family, seed, 0.5, data=data.name)

    with pytest.raises(KeyboardInterrupt):
        accuracy_study.study(
            ("photos",), ("DP", "chain"), range(2), {"photos": TINY}, studied.out, crash
        )
    studied(data=("photos",))
    assert studied.trained == [("photos", "DP", 1), ("photos", "chain", 1)]


def test_the_command_on_cifar10_with_fake_images(monkeypatch, tmp_path, capsys):
    fake = replace(striped(classes=10, size=8), name="cifar10")
    monkeypatch.setattr(datasets, "load", lambda name, size: fake)
    recipe = replace(accuracy_study.RECIPES["cifar10"], vertices=4, parameters=6_000)
    monkeypatch.setattr(accuracy_study, "RECIPES", {"cifar10": recipe})
    monkeypatch.setattr(accuracy_study, "FAMILIES", ("chain", "CifarNet"))
    arguments = ["--data", "cifar10", "--epochs", "1", "--seeds", "1", "--out", str(tmp_path)]
    accuracy_study.main(arguments)
    printed = capsys.readouterr().out
    assert "Test accuracy on cifar10" in printed
    rows = (tmp_path / "accuracy.csv").read_text().splitlines()[1:]
    assert [row.split(",")[:3] for row in rows] == [
        ["cifar10", f, "0"] for f in ("chain", "CifarNet")
    ]
    assert all(abs(int(row.split(",")[3]) / 6_000 - 1) <= 0.05 for row in rows)
    kept = json.loads(next((tmp_path / "runs").glob("*chain*")).read_text())
    assert kept["settings"]["phases"] == [asdict(Phase(1, 1e-3, 0.9))]


@pytest.mark.parametrize("option", ["--seeds", "--epochs"])
def test_counts_start_at_one(option, capsys):
    with pytest.raises(SystemExit):
        accuracy_study.main([option, "0"])
    assert "expected a whole number of at least 1, got '0'" in capsys.readouterr().err


def test_an_unknown_data_set_is_refused(capsys):
    with pytest.raises(SystemExit):
        accuracy_study.main(["--data", "imagenet"])
    assert "invalid choice: 'imagenet'" in capsys.readouterr().err
