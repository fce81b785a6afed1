import csv
import json
import random

import numpy as np
import pytest
from PIL import Image

from keras_concurrent.files import write_beside
from keras_concurrent.search import Limit
from keras_concurrent.search.pace import TrialPace, forget_paces
from keras_concurrent.search.plots import draw_pareto
from keras_concurrent.search.results import (
    Result,
    importance,
    leaderboard,
    pareto,
    ranked,
    read_results,
)
from keras_concurrent.search.watch import Watch


def result(trial, score, latency_s=0.01, status="COMPLETED", message=None, **values):
    figures = {} if score is None else {"val_accuracy": score, "latency_s": latency_s}
    return Result(trial, status, score, {"kind": "DP", **values}, figures, message)


def record(folder, found):
    """Write a trial as KerasTuner does."""
    metrics = {
        name: {"direction": "max", "observations": [{"value": [value], "step": 0}]}
        for name, value in found.figures.items()
    }
    state = {
        "trial_id": found.trial,
        "hyperparameters": {"space": [], "values": dict(found.values)},
        "metrics": {"metrics": metrics},
        "score": found.score,
        "best_step": 0,
        "status": found.status,
        "message": found.message,
    }
    write_beside(folder / f"trial_{found.trial}" / "trial.json", json.dumps(state).encode())


SOME = (
    result("0", 0.7, 0.010, vertices=8),
    result("1", 0.9, 0.040, vertices=16),
    result("2", 0.6, 0.020, vertices=16),
    result("3", None, status="FAILED", message="Traceback\nOversized model: 9 parameters"),
    result("4", 0.9, 0.030, vertices=8),
)


def test_records_are_read_as_they_were_written(tmp_path):
    for each in SOME:
        record(tmp_path, each)
    (tmp_path / "trial_5").mkdir()
    (tmp_path / "trial_5" / "trial.json").write_text('{"trial_id"')
    assert read_results(tmp_path) == SOME
    assert read_results(tmp_path / "nothing") == ()


def test_the_best_come_first_and_of_equals_the_earlier():
    assert [r.trial for r in ranked(SOME)] == ["1", "4", "0", "2"]


def test_the_front_has_what_nothing_beats():
    aims = {"val_accuracy": "max", "latency_s": "min"}
    assert [r.trial for r in pareto(SOME, aims)] == ["0", "4"]


def test_the_leaderboard_holds_every_trial_the_failed_ones_with_their_reason():
    rows = list(csv.DictReader(leaderboard(SOME).splitlines()))
    assert [(r["rank"], r["trial"]) for r in rows] == [
        ("1", "1"), ("2", "4"), ("3", "0"), ("4", "2"), ("", "3"),
    ]  # fmt: skip
    assert rows[-1]["message"] == "Oversized model: 9 parameters"
    assert float(rows[0]["latency_s"]) == 0.040
    assert leaderboard(tuple(reversed(SOME))) == leaderboard(SOME)


def test_importance_is_the_share_of_variance_that_a_parameter_explains():
    rng = random.Random(0)
    trials = []
    for i in range(300):
        kind, seed, rate = rng.choice("AB"), rng.randint(0, 999), rng.random()
        # Variances: 1/4 of kind's step, 4/12 of rate's slope, nothing of the seed.
        score = (kind == "A") + 2 * rate
        trials.append(Result(str(i), "COMPLETED", score, {"kind": kind, "seed": seed,
                                                          "rate": rate}, {}))  # fmt: skip
    shares = importance(trials)
    assert shares["kind"] == pytest.approx(0.25 / (0.25 + 1 / 3), abs=0.07)
    # Three groups of a uniform number keep 8/9 of its variance.
    assert shares["rate"] == pytest.approx(8 / 9 / 3 / (0.25 + 1 / 3), abs=0.07)
    assert shares.get("seed", 0) < 0.03
    assert importance(()) == {}
    assert importance(trials[:1]) == {}


def test_the_picture_shows_every_trial(tmp_path):
    png = draw_pareto(SOME, limits=(Limit.parse("latency_s <= 0.03"),), chosen=SOME[4])
    (tmp_path / "pareto.png").write_bytes(png)
    with Image.open(tmp_path / "pareto.png") as opened:
        pixels = np.asarray(opened.convert("RGB")).reshape(-1, 3)
    blue = (pixels == (0x00, 0x72, 0xB2)).all(axis=1).sum()
    assert blue > 4 * 50  # four dots of 6 points, and one in the legend
    assert draw_pareto(())  # a search that has found nothing yet


def test_a_watch_tells_of_each_trial_once_and_keeps_the_table(tmp_path):
    told = []
    watch = Watch(tmp_path / "trials", tmp_path / "table.csv", told.append, trials=5)
    assert watch.look() == 0
    record(tmp_path / "trials", SOME[0])
    record(tmp_path / "trials", result("1", None, status="RUNNING"))
    assert watch.look() == 1
    assert told == ["1/5  trial 0: val_accuracy 0.700, 10.0 ms, the best so far"]
    for each in SOME[1:4]:
        record(tmp_path / "trials", each)
    assert watch.look() == 4
    assert told[2] == (
        "3/5  trial 2: val_accuracy 0.600, 20.0 ms; best so far 1: val_accuracy 0.900, 40.0 ms"
    )
    assert told[3].startswith("4/5  trial 3: failed, Oversized model: 9 parameters; best so far 1")
    assert watch.look() == 4
    assert len(told) == 4
    assert (tmp_path / "table.csv").read_text() == leaderboard(SOME[:4])
    with watch.looking():
        record(tmp_path / "trials", SOME[4])
    assert len(told) == 5


def test_a_watch_tells_how_far_trials_are_and_how_long_the_rest_takes(tmp_path):
    told, now = [], [0.0]
    trials = tmp_path / "trials"
    watch = Watch(trials, tmp_path / "table.csv", told.append, trials=5, clock=lambda: now[0])
    TrialPace("3", 0.25, 2, 5, 0.5, 60.0).write(trials, "worker-0")  # 80 s in all
    TrialPace("4", 0.5, 3, 5, 0.6, 60.0).write(trials, "worker-1")  # 120 s in all
    assert watch.look() == 0
    # 4.25 of 5 trials are left, of 100 s on the mean, for two processes: 212 s.
    assert told == [
        "trial 3: epoch 2/5, 25 %, accuracy 0.500, about 60 s left; all 5 trials: about 4 min",
        "trial 4: epoch 3/5, 50 %, accuracy 0.600, about 60 s left; all 5 trials: about 4 min",
    ]
    now[0] = 5.0
    watch.look()
    assert len(told) == 2  # not again so soon
    now[0] = 11.0
    forget_paces(trials, "worker-0")
    record(trials, SOME[0])
    watch.look()
    assert told[2].startswith("1/5  trial 0")
    # 3.5 of 5 are left for the process that still trains: 350 s.
    assert told[3].endswith("all 5 trials: about 6 min")
    assert len(told) == 4
    forget_paces(trials)
    assert not list(trials.glob("*.pace"))
