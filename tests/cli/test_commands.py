"""The command line as a user meets it: output, files, exit status, one clear message."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from command_line import run

from keras_concurrent import cli
from keras_concurrent.cluster import Cluster
from keras_concurrent.networks.architecture import Architecture
from keras_concurrent.tflite.file import TfliteFile


@pytest.fixture
def model(small_file, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(small_file.data)
    return path


def test_every_command_has_help_with_a_runnable_example():
    for name, command in cli.main.commands.items():
        shown = run(name, "--help").output
        assert command.help
        assert re.search(rf"Example:\s+keras-concurrent.*\b{name}\b", shown), name


def test_generate_writes_a_recipe_that_score_reads_from_a_pipe(tmp_path):
    path = tmp_path / "network.json"
    run(
        "generate", "--kind", "WS", "--vertices", 12, "--seed", 3, "--param", "p=0.5", "--out", path
    )
    architecture = Architecture.from_json(path.read_text())
    assert len(architecture.blocks) == 12
    assert architecture.recipe["parameters"] == {"k": 4, "p": 0.5}
    piped = run(
        "generate", "--kind", "WS", "--vertices", 12, "--seed", 3, "--param", "p=0.5"
    ).stdout
    assert piped == path.read_text()
    figures = json.loads(run("score", "-", "--units", 2, "--json", text=piped).stdout)
    assert figures["units"] == 2
    assert figures["best"] == min(
        figures["sweep"],
        key=lambda c: (c["used_units"] == 1, c["concurrency_score"], c["delta_w"]),
    )
    assert "Concurrency score on 2 units" in run("score", path, "--units", 2).stdout


def test_generate_takes_other_blocks_a_stem_and_photographs_of_odd_sizes():
    words = "generate --kind lanes --vertices 16 --input-shape 299x299x3 --block residual --depth 2"
    stem = "--staging balanced --stem-filters 8 --stem-strides 2"
    network = Architecture.from_json(run(*words.split(), *stem.split()).stdout)
    assert (network.block, network.depth) == ("residual", 2)
    assert network.shapes["source"] == (150, 150, 8)
    assert min(height for height, _, _ in network.shapes.values()) == 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--kind", "XX"), "kind must be one of ER, BA, WS, DP, FB, lanes, chain, branches, got"),
        (("--param", "p=7"), "p must be a probability between 0 and 1, got 7"),
        (("--param", "q=1"), "'q' is no parameter of DP; it takes p, alpha, beta"),
        (("--param", "p"), "--param must look like p=0.4, got 'p'"),
        (("--vertices", "1"), "vertices must be a whole number from 2"),
        (("--input-shape", "48"), "--input-shape must look like 48x48x3, got '48'"),
        (("--filters", "0"), "filters must be at least 1"),
        (("--staging", "none"), "'none' is not one of"),
        (("--block", "dense"), "'dense' is not one of"),
        (("--depth", "2"), "depth must be at least 1, with the paper's block 1, got 2"),
    ],
)
def test_wrong_usage_is_status_2_with_one_clear_message(words, message):
    assert message in run("generate", *words, status=2).stderr


def test_export_writes_a_bundle_and_the_cluster_it_described(model, tmp_path):
    out = tmp_path / "made" / "bundle"
    figures = json.loads(run("export", model, "--boards", 2, "--out", out, "--json").stdout)
    assert (out / "manifest.json").is_file()
    assert (out.parent / "cluster.toml").read_text().count("[[board]]") == 2
    assert 0 < figures["predicted_latency_s"] <= figures["predicted_one_board_latency_s"]


def test_export_says_when_one_board_is_best(model, tmp_path):
    out = tmp_path / "bundle"
    shown = run("export", model, "--boards", 4, "--link", "1mbit", "--out", out).stdout
    assert "one board is best" in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema_version = 1\n", "must have a [network]"),
        ("schema_version = 1\n[network]\nbandwidth_mbit_per_s = 0\nlatency_ms = 1\n",
         "bandwidth_mbit_per_s must be a number above 0, got 0"),
        ("schema_version = 1\nspeed = 3\n[network]\nbandwidth_mbit_per_s = 1\nlatency_ms = 1\n",
         "got speed"),
        ("schema_version = 1\n[network]\nbandwidth_mbit_per_s = 1\nlatency_ms = 1\n",
         "at least one [[board]], got none"),
    ],
)  # fmt: skip
def test_a_wrong_cluster_file_is_status_1_and_nothing_is_written(model, tmp_path, text, message):
    cluster = tmp_path / "cluster.toml"
    cluster.write_text(text)
    out = tmp_path / "bundle"
    shown = run("export", model, "--cluster", cluster, "--out", out, status=1).stderr
    assert message in shown
    assert str(cluster) in shown
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cluster.toml", "model.tflite"]


def test_a_file_that_is_no_model_is_status_1(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_text("not a model at all")
    shown = run("export", path, "--out", tmp_path / "bundle", status=1).stderr
    assert f"{path} is not a .tflite file: expected the identifier 'TFL3'" in shown


def test_debug_shows_the_traceback(tmp_path):
    result = CliRunner().invoke(cli.main, ["generate", "--kind", "XX", "--debug"])
    assert isinstance(result.exception, ValueError)


def test_infer_refuses_a_wrong_image_before_starting_anything(model, tmp_path):
    import numpy as np

    run("export", model, "--boards", 1, "--out", tmp_path / "bundle")
    image = tmp_path / "image.npy"
    np.save(image, np.zeros((8, 8, 3), np.float32))
    shown = run(
        "infer", tmp_path / "bundle", image, "--cluster", tmp_path / "cluster.toml", "--local",
        status=2,
    ).stderr  # fmt: skip
    assert "must be float32 of shape (16, 16, 3), got float32 of shape (8, 8, 3)" in shown


def test_report_of_predictions_is_written(model, tmp_path):
    run("export", model, "--boards", 2, "--out", tmp_path / "bundle")
    shown = run("report", tmp_path / "bundle", "--out", tmp_path / "drawn").stdout
    for name in ("report.html", "report.png", "trace.json"):
        assert name in shown
        assert (tmp_path / "drawn" / name).stat().st_size > 1000


def test_a_plan_is_compared_with_one_whole_board_in_int8_too(model, tmp_path):
    how = (model, "--boards", 2, "--evaluations", 500, "--out", tmp_path / "plan")
    assert "one, in int8" in run("plan", *how).stdout
    told = json.loads(run("plan", *how, "--json").stdout)
    # A quarter of the bytes and the int8 rate: sooner, but not by the ratio of the rates.
    ratio = told["one_board_latency_s"] / told["one_board_in_int8_latency_s"]
    assert 1.0 < ratio < 51.1 / 16.2


def test_a_plan_of_one_core_of_each_board_says_so(model, tmp_path):
    out = tmp_path / "plan"
    how = (model, "--boards", 2, "--evaluations", 500, "--out", out, "--json")
    whole_s = json.loads(run("plan", *how).stdout)["one_board_latency_s"]
    planned = run("plan", *how, "--cores", 1)
    assert "every board here is one core of a board" in planned.stderr
    told = json.loads(planned.stdout)
    assert told["one_board_latency_s"] > whole_s
    assert told["boards_used"][0].startswith("pi4-1core-")
    assert [board.cores for board in Cluster.read(out / "cluster.toml").boards] == [1, 1]
    refused = run("plan", *how, "--cores", 3, status=2).stderr
    assert "cores of a pi4 must be 1 or 4, got 3" in refused


def test_a_plan_is_written_changed_by_hand_and_exported(model, tmp_path):
    out = tmp_path / "plan"
    shown = run("plan", model, "--boards", 2, "--evaluations", 500, "--out", out).stdout
    assert "one board" in shown
    assert "lower bound" in shown
    names = ["cluster.toml", "placement.toml", "timeline.png", "trace.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    placement = out / "placement.toml"
    text = placement.read_text()
    moved = tmp_path / "moved.toml"
    moved.write_text(text.replace("pi4-1", "x").replace("pi4-2", "pi4-1").replace("x", "pi4-2"))
    how = ("--cluster", out / "cluster.toml", "--placement")
    first = json.loads(run("plan", model, *how, placement, "--out", out, "--json").stdout)
    other = json.loads(run("plan", model, *how, moved, "--out", tmp_path / "b", "--json").stdout)
    assert other["latency_s"] == pytest.approx(first["latency_s"])  # the boards are alike
    assert first["lower_bound_s"] <= first["latency_s"]
    exported = json.loads(
        run("export", model, *how, placement, "--out", tmp_path / "bundle", "--json").stdout
    )
    assert exported["predicted_latency_s"] == pytest.approx(first["latency_s"])
    moved.write_text(text.replace("pi4-1", "pi5-1"))
    assert "no board is named 'pi5-1'" in run("plan", model, *how, moved, status=1).stderr


def test_explain_says_what_the_answer_waits_for(model):
    how = (model, "--boards", 2, "--link", "100mbit", "--evaluations", 500)
    shown = run("explain", *how).stdout
    for words in ("Critical path", "Busiest board", "Busiest interface", "one more board"):
        assert words in shown
    found = json.loads(run("explain", *how, "--json").stdout)
    assert found["path"][-1]["end_s"] == found["latency_s"]
    assert found["lower_bound_s"] <= found["latency_s"] <= found["one_board_latency_s"]
    assert found["what_if"]["boards twice as fast"] < found["latency_s"]


def test_explain_changes_the_boards_and_not_what_is_pinned(model):
    """All of it pinned to one board: nothing helps but faster boards, and those at most twice."""
    count = len(TfliteFile.read(model).operators)
    pins = [word for number in range(count) for word in ("--pin", f"{number}=pi4-2")]
    found = json.loads(
        run("explain", model, "--boards", 2, "--evaluations", 500, *pins, "--json").stdout
    )
    what_if, latency_s = found["what_if"], found["latency_s"]
    assert latency_s / 2 <= what_if["boards twice as fast"] < latency_s
    assert what_if["one more board"] == pytest.approx(latency_s)


def test_a_pin_is_kept_and_a_wrong_one_named(model, tmp_path):
    how = (model, "--boards", 2, "--evaluations", 500, "--out", tmp_path / "plan")
    run("plan", *how, "--pin", "0=pi4-2", "--pin", "vertex_3=pi4-1")
    placement = (tmp_path / "plan" / "placement.toml").read_text()
    (board,) = re.findall(r'board = "(.*)"\noperators = "0[ \-"]', placement)
    assert board == "pi4-2"
    for pin, message in (
        ("0", "--pin must look like 12=pi4-2"),
        (
            "vertex_99=pi4-1",
            "a pin must name an operator or a vertex of the model",
        ),
    ):
        assert message in run("plan", *how, "--pin", pin, status=2).stderr
    assert "no board is named 'pi9'" in run("plan", *how, "--pin", "0=pi9", status=1).stderr


@pytest.mark.parametrize(
    ("words", "content", "message"),
    [
        (("score", "given.json"), b"\xbd\xff", "given.json: 'utf-8' codec"),
        (("score", "given.json"), b"[]", "given.json: not an architecture file: an architec"),
        (("train", "given.json"), b"[]", "given.json: not an architecture file: an architec"),
        (("plan", "given.json"), b"{}", "a model must be a .keras or a .tflite file, got given.js"),
        (("plan", "given.keras"), b"no zip", "given.keras is damaged: it holds no Keras model"),
        (("search", "--data", "given.npz"), b"no zip", "given.npz is not an .npz file of arrays"),
    ],
)
def test_a_file_that_is_something_else_is_named(tmp_path, monkeypatch, words, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / words[-1]).write_bytes(content)
    assert message in run(*words, status=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == [words[-1]]  # nothing stays behind


def test_a_wrong_search_leaves_its_folder_free(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("search", "--data", "digits", "--kinds", "XX", status=2)
    assert [*tmp_path.iterdir()] == []


def test_train_takes_images_of_ones_own_and_the_model_says_what_it_learnt(tmp_path):
    from keras_concurrent.edge.learnt import read_learnt

    recipe, model = tmp_path / "network.json", tmp_path / "model.keras"
    run("generate", "--vertices", 2, "--input-shape", "8x8x1", "--classes", 2, "--filters", 4,
        "--out", recipe)  # fmt: skip
    images = np.zeros((40, 8, 8), np.uint8)
    images[20:, ::2] = 200  # sorted by class, without channels
    np.savez(tmp_path / "own.npz", train_images=images, train_labels=np.repeat(["no", "yes"], 20))
    told = run("train", recipe, "--data", tmp_path / "own.npz", "--epochs", 2, "--averaging", 0.1,
               "--label-smoothing", 0.1, "--out", model, "--json")  # fmt: skip
    assert json.loads(told.stdout)["epochs"] == 2
    assert "bytes of 0..200, divided by 255. A random fifth of each class" in told.stderr
    assert "epoch 1/2, 100 % of the training" not in told.stderr  # not every batch has its line
    assert read_learnt(model).class_names == ("no", "yes")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.keras", "network.json", "own.npz",
    ]  # fmt: skip
    wrong = run("train", recipe, "--data", "digits", "--out", model, status=2).stderr
    assert "digits has (8, 8, 1) of 10" in wrong


def test_a_model_that_cannot_be_saved_is_not_trained(tmp_path):
    recipe = tmp_path / "network.json"
    run("generate", "--vertices", 4, "--out", recipe)
    told = run("train", recipe, "--out", tmp_path / "model.h5", status=2).stderr
    assert "--out must end in .keras" in told
