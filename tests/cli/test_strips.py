"""Strips on the command line."""

import json

import pytest
from command_line import run
from drawn_networks import Network

from keras_concurrent.edge.bundle import Bundle


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    network = Network()
    x = network.convolution(network.image(48, 48, 3), 64)
    for _ in range(4):
        x = network.convolution(x, 64)
    network.dense(network.mean(x, keep=False), 10)
    path = tmp_path_factory.mktemp("strips") / "model.tflite"
    path.write_bytes(network.file().data)
    return path


def plan(model, folder, *words):
    return json.loads(run("plan", model, "--out", folder / "plan", *words, "--json").stdout)


def test_plan_splits_what_a_chain_of_layers_could_not_share(model, tmp_path):
    split, whole = plan(model, tmp_path), plan(model, tmp_path, "--strips", "none")
    assert whole["strips"] is None
    assert whole["latency_s"] == whole["one_board_latency_s"]
    assert split["strips"]["count"] == len(split["boards_used"]) > 2
    assert split["latency_s"] < whole["latency_s"] / 2
    assert split["lower_bound_s"] < split["latency_s"]


def test_plan_says_what_was_split_and_writes_no_placement_of_it(model, tmp_path):
    shown = run("plan", model, "--strips", 2, "--out", tmp_path).stdout
    assert "2 strips: of 7 operators 5 by rows. Whole: 1 FULLY_CONNECTED: its output is no" in shown
    assert {path.name for path in tmp_path.iterdir()} == {
        "timeline.png", "trace.json", "cluster.toml"
    }  # fmt: skip


def test_export_writes_the_bands_that_each_board_is_sent(model, tmp_path):
    out = tmp_path / "bundle"
    figures = json.loads(run("export", model, "--strips", 3, "--out", out, "--json").stdout)
    assert figures["strips"]["count"] == 3
    bands = Bundle(out).manifest.bands.values()
    assert min(band.first for band in bands) == 0
    assert max(band.end for band in bands) == 48
    assert all(band.end - band.first < 30 for band in bands)


def test_explain_tells_of_the_plan_in_strips(model):
    figures = json.loads(run("explain", model, "--strips", 2, "--json").stdout)
    assert figures["lower_bound_s"] < figures["one_board_latency_s"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--strips", "many"), "strips must be auto, none or a number from 2 on, got 'many'"),
        (("--strips", "1"), "strips must be auto, none or a number from 2 on, got 1"),
        (("--strips", "5"), "strips must be 2 to as many as there are boards, 4, got 5"),
        (("--strips", "2", "--pin", "0=pi4-1"), "give one of them or a number of strips"),
    ],
)
def test_what_cannot_be_split_so_is_said_in_one_message(model, tmp_path, words, message):
    status = run("plan", model, "--out", tmp_path, *words, status=2)
    assert message in status.stderr
