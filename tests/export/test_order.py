"""From an order to a bundle by one call: as the command does it, and what is refused."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from command_line import run
from wires import SLOW

from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.preprocessing import Preprocessing
from keras_concurrent.errors import ModelFileError
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.export.model import read_model
from keras_concurrent.export.order import Order, export_order, prepare
from keras_concurrent.interpreter import Segment
from keras_concurrent.measured.boards import BoardTimings, timings_beside
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.segments import plan_segments
from keras_concurrent.wire.budget import BUDGET_POINTS, Budget
from keras_concurrent.wire.planner import WirePlanner

SHAPE = (16, 16, 3)
FEW = Effort(500, seed=3)


@pytest.fixture
def folder(small_file, tmp_path):
    """A model, its boards, labelled images, and what the boards were measured to take for it."""
    (tmp_path / "model.tflite").write_bytes(small_file.data)
    (tmp_path / "cluster.toml").write_text(SLOW.to_toml())
    images = np.random.default_rng(2).random((24, *SHAPE), dtype=np.float32)
    labels = np.array([Segment(small_file.data).run([i[None]])[0].argmax() for i in images])
    np.savez(tmp_path / "images.npz", train_images=images, train_labels=labels)
    cut = export_bundle(small_file, SLOW, tmp_path / "cut")
    seconds = {
        board.name: {name: 0.01 * (1 + i) for i, name in enumerate(cut.manifest.segments)}
        for board in SLOW.boards
    }
    text = BoardTimings.of(cut, seconds, SLOW).to_json()
    (tmp_path / "cluster.seconds.json").write_text(text)
    return tmp_path


def order_of(folder, **changed):
    timings = timings_beside(folder / "cluster.toml")
    order = Order(folder / "model.tflite", SLOW, FEW, timings=timings)
    return replace(order, **changed)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_wire_auto_with_timings_in_one_call_is_what_the_command_writes(folder):
    lighter = {"wire": "auto", "calibration": str(folder / "images.npz")}
    exported = export_order(order_of(folder, **lighter), folder / "by_call")
    told = run(
        "export", folder / "model.tflite", "--cluster", folder / "cluster.toml",
        "--evaluations", 500, "--seed", 3, "--wire", "auto",
        "--calibration", folder / "images.npz", "--out", folder / "by_command", "--json",
    ).stdout  # fmt: skip
    figures = json.loads(told)
    assert len(figures["boards_used"]) > 1
    assert files(folder / "by_call") == files(folder / "by_command")
    assert [asdict(each) for each in exported.variants] == figures["choices"]
    assert exported.board_bytes == figures["board_bytes"]
    assert exported.link_bytes == figures["link_bytes"]
    assert exported.bundle.sha256 == Bundle(folder / "by_command").sha256
    # Seconds measured on the boards count: by their rates alone they would take another time.
    by_rates = prepare(order_of(folder, timings=None, **lighter)).export(folder / "by_rates")
    assert by_rates.plan.latency_s != pytest.approx(exported.plan.latency_s, rel=0.1)


def test_what_pictures_and_classes_are_is_kept_in_the_bundle(folder):
    said = Preprocessing("0..255", resize="crop")
    order = order_of(folder, preprocessing=said, class_names=("a", "b", "c", "d"))
    manifest = export_order(order, folder / "bundle").bundle.manifest
    assert (manifest.preprocessing, manifest.class_names) == (said, ("a", "b", "c", "d"))
    with pytest.raises(ValueError, match=r"as many as an output .* values, \[4\], got 1"):
        prepare(replace(order, class_names=("a",)))


def test_timings_of_another_model_are_left_out_and_named(folder):
    path = folder / "cluster.seconds.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "model_sha256": "0" * 64}))
    ready = prepare(order_of(folder))
    assert ready.remarks == (f"{path} is of another model: boards count by their rates",)
    assert ready.plan().plan == prepare(order_of(folder, timings=None)).plan().plan


def test_an_order_says_where_it_leaves_no_strips_to_try(folder):
    (remark,) = prepare(order_of(folder, wire="float32")).remarks
    assert remark.startswith("No strips are tried: pins, a placement and a wire are")
    assert prepare(order_of(folder, wire="float32", strips="none")).remarks == ()
    assert prepare(order_of(folder)).remarks == ()


def test_operators_are_measured_here_for_files_rewritten_too(folder):
    heard = []

    def progress(title):
        return lambda done, total: heard.append((title, done, total))

    order = order_of(folder, timings=None, measured_here=True)
    whole = prepare(order, progress)
    assert all(task.seconds is not None for task in whole.graph.tasks)
    exported = export_order(replace(order, wire="float16"), folder / "bundle", progress)
    assert {title for title, _, _ in heard} == {"profiling", "profiling operators"}
    assert exported.variants[-1].latency_s == exported.plan.latency_s
    assert all(segment.seconds is not None for segment in exported.plan.graph.tasks)


def test_what_is_asked_reaches_every_search(folder, monkeypatch):
    planned, sent, allowed, kept = [], [], [], []

    def segments(*words, effort, **others):
        planned.append(effort)
        return plan_segments(*words, effort=effort, **others)

    def planner(*words, effort, **others):
        sent.append(effort)
        return WirePlanner(*words, effort=effort, **others)

    class Kept(Budget):
        def __init__(self, file, samples, points=BUDGET_POINTS):
            super().__init__(file, samples, points)
            allowed.append(points)

        def keep(self, planner, planned):
            kept.append(planner.effort)
            return super().keep(planner, planned)

    monkeypatch.setattr("keras_concurrent.export.prepared.plan_segments", segments)
    monkeypatch.setattr("keras_concurrent.export.prepared.WirePlanner", planner)
    monkeypatch.setattr("keras_concurrent.export.prepared.Budget", Kept)
    less = Effort(7, seed=3)
    prepare(order_of(folder)).plan(effort=less)
    assert planned == [less]
    lighter = {"wire": "auto", "calibration": str(folder / "images.npz"), "lose_points": 2.5}
    export_order(order_of(folder, **lighter), folder / "bundle")
    assert planned[1:] == sent == kept == [FEW]
    assert allowed[0] == 2.5


def test_a_pin_holds_an_operator_and_all_of_a_vertex(folder):
    pins = {"0": "b2", "vertex_3": "b1"}
    for wire in (None, "float32"):
        exported = export_order(order_of(folder, pins=pins, wire=wire), folder / "bundle")
        plan = exported.plan
        boards = {plan.assignment[t.name] for t in plan.graph.tasks if "vertex_3" in t.vertices}
        assert boards == {"b1"}
        if wire is None:  # a rewritten file numbers its operators anew
            first = next(t for t in plan.graph.tasks if 0 in t.operators)
            assert plan.assignment[first.name] == "b2"
    for wrong in ("99999", "vertex_99"):
        with pytest.raises(
            ValueError, match=f"an operator or a vertex of the model, got '{wrong}'"
        ):
            prepare(order_of(folder, pins={wrong: "b1"})).plan()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"precision": "int4"}, "precision must be one of float32, float16, dynamic, int8, got"),
        ({"wire": "int4"}, "wire must be one of auto, float32, float16, int8, got 'int4'"),
        (
            {"preprocessing": Preprocessing("-1..1"), "pixels": True},
            "pixels are bytes of values of",
        ),
        ({"lose_points": -0.1}, "lose_points must not be negative, got -0.1"),
        ({"wire": "auto", "placement": "p.toml"}, "wire asks for a search, placement for none"),
        ({"pins": {"0": "b1"}, "placement": "p.toml"}, "pins ask for a search, placement for none"),
    ],
)
def test_an_order_that_contradicts_itself_is_refused(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        Order(tmp_path / "model.tflite", SLOW, **changed)


@pytest.mark.parametrize(
    ("name", "changed", "error", "message"),
    [
        ("a.txt", {}, ValueError, "a model must be a .keras or a .tflite file, got"),
        ("a.tflite", {}, ModelFileError, "a.tflite is not a .tflite file"),
        ("a.tflite", {"precision": "int8"}, ValueError, "int8 needs a .keras model, got"),
        ("a.keras", {"precision": "int8"}, ValueError, "int8 needs images to calibrate on"),
        ("a.keras", {}, ValueError, "a.keras is damaged: it holds no Keras model"),
    ],
)
def test_a_model_that_cannot_be_read_is_named(tmp_path, name, changed, error, message):
    (tmp_path / name).write_text("no model")
    with pytest.raises(error, match=message):
        prepare(Order(tmp_path / name, SLOW, **changed))


@pytest.mark.parametrize("name", ["model.TFLITE", "model.lite"])
def test_a_tflite_is_known_by_any_of_its_names(small_file, tmp_path, name):
    (tmp_path / name).write_bytes(small_file.data)
    assert read_model(tmp_path / name).file.operators == small_file.operators
