"""What was asked of a search: written, read, checked."""

import json

import numpy as np
import pytest

from keras_concurrent.cluster import Cluster
from keras_concurrent.recipe import Recipe
from keras_concurrent.search import Space
from keras_concurrent.search.settings import Settings

CLUSTER = Cluster.of("pi4", 2, "1gbit")


def test_settings_are_read_as_they_were_written(tmp_path):
    settings = Settings(
        CLUSTER,
        "digits",
        images=50,
        limits=("latency_s <= 0.01",),
        space={"kinds": ["DP"]},
        recipe=Recipe(epochs=3, patience=2),
    )
    settings.write(tmp_path)
    assert Settings.read(tmp_path) == settings
    assert settings.searched() == Space((8, 8, 1), 10, kinds=("DP",))
    labels = settings.dataset.train_labels
    assert np.bincount(labels).tolist() == [5] * 10  # of every digit
    with pytest.raises(ValueError, match="must be a search's folder"):
        Settings.read(tmp_path / "nothing")
    told = json.loads((tmp_path / "search.json").read_text())
    for wrong in ({**told, "schema_version": 9}, {**told, "nonsense": 1}):
        (tmp_path / "search.json").write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match="is no search"):
            Settings.read(tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"tuner": "x"}, {"trials": 0}, {"images": 3}, {"limits": ("latency < 1",)}]
)
def test_settings_check_themselves(wrong):
    with pytest.raises(ValueError, match=r"must"):
        Settings(CLUSTER, **wrong)
