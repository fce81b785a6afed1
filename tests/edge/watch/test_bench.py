"""What a measurement says, and how answers are compared."""

import json

import numpy as np
import pytest
from in_process import running

from keras_concurrent.edge.board.stretch import Stretch
from keras_concurrent.edge.watch.bench import (
    Measurement,
    compare,
    measure,
    random_images,
)


def test_a_measurement_survives_its_json(bundle):
    with running(bundle, stretch=Stretch(2.0)) as (client, _, _):
        run, answers = measure(client, random_images(bundle, 4))
    assert len(run.latencies_s) == len(answers) == 4
    assert run.median_s == pytest.approx(np.median(run.latencies_s))
    measurement = Measurement({"boards": run}, 4, 0.0, 0, {"pi3-1": 2.0}, {"boards": 0.5})
    assert Measurement.from_json(measurement.to_json()) == measurement
    for broken in ("", "[]", "{}", json.dumps({"schema_version": 99})):
        with pytest.raises(ValueError, match="not a measurement file"):
            Measurement.from_json(broken)


def test_compare_finds_the_largest_difference_and_counts_images_whose_class_differs():
    ours = [{"y": np.array([[0.1, 0.9]])}, {"y": np.array([[0.6, 0.4]])}]
    theirs = [{"y": np.array([[0.1, 0.8]])}, {"y": np.array([[0.4, 0.6]])}]
    largest, differ = compare(ours, theirs)
    assert largest == pytest.approx(0.2)
    assert differ == 1


@pytest.mark.parametrize(
    ("mine", "other", "largest"),
    [
        ([np.nan, 1.0], [0.5, 1.0], np.inf),
        ([0.5, 1.0], [0.5, np.nan], np.inf),
        ([np.nan, 1.0], [np.nan, 1.5], 0.5),
        ([np.nan, np.nan], [np.nan, np.nan], 0.0),
        ([np.inf, -np.inf], [np.inf, -np.inf], 0.0),
        ([np.inf, 0.0], [-np.inf, 0.0], np.inf),
    ],
)
def test_compare_takes_no_broken_answer_for_an_equal_one(mine, other, largest):
    assert compare([{"y": np.array(mine)}], [{"y": np.array(other)}])[0] == largest
