"""From a model and images to a bundle that sends less, with a report before anyone deploys."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import run
from pieces import image_for
from small_files import on_boards
from wires import SLOW, check_answers, cluster_of

from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.errors import ClusterError
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.interpreter import Segment
from keras_concurrent.measured.boards import BoardTimings
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.segments import one_board, plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.wire.budget import Budget
from keras_concurrent.wire.planner import WirePlanner
from keras_concurrent.wire.samples import Samples

SHAPE = (16, 16, 3)


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(1)
    images = rng.random((60, *SHAPE), dtype=np.float32)
    return Samples(images[:20], images[20:])


@pytest.fixture
def model(small_file, tmp_path):
    (tmp_path / "model.tflite").write_bytes(small_file.data)
    (tmp_path / "cluster.toml").write_text(SLOW.to_toml())
    rng = np.random.default_rng(2)
    images = rng.random((40, *SHAPE), dtype=np.float32)
    labels = np.array([Segment(small_file.data).run([i[None]])[0].argmax() for i in images])
    np.savez(
        tmp_path / "images.npz", train_images=images[:20], train_labels=labels[:20],
        test_images=images[20:], test_labels=labels[20:],
    )  # fmt: skip
    return tmp_path / "model.tflite"


def through(bundle, image):
    """The answer of a bundle's segments, run one after another as its plan starts them."""
    values = dict(image)
    placement = bundle.placement("boards")
    for event in placement.predicted:
        if event.kind == "run":
            segment = Segment(bundle.content(event.name))
            given = segment.run([values[name] for name in segment.input_names])
            values.update(zip(segment.output_names, given, strict=True))
    return values[bundle.manifest.outputs[0]]


def test_export_reports_every_way_and_writes_the_chosen_one(model, small_file):
    folder = model.parent
    words = (
        "export", model, "--cluster", folder / "cluster.toml", "--out", folder / "b",
        "--evaluations", 3000, "--wire", "auto", "--calibration", folder / "images.npz",
    )  # fmt: skip
    figures = json.loads(run(*words, "--json").stdout)
    ways = {choice["name"]: choice for choice in figures["choices"]}
    formats = [f"sent as {dtype}" for dtype in ("float32", "float16", "int8")]
    assert list(ways) == ["as it was", *formats, "chosen"]
    sent = [ways[name]["wire_bytes"] for name in formats]
    assert sent == sorted(sent, reverse=True)
    assert len(set(sent)) == 3
    assert ways["as it was"]["largest_difference"] == 0
    assert ways["as it was"]["accuracy"] == 1  # its own answers were the labels
    assert ways["sent as float32"]["largest_difference"] <= 1e-5
    assert ways["chosen"]["accuracy"] >= 1 - 0.001
    assert ways["chosen"]["latency_s"] == pytest.approx(figures["predicted_latency_s"])
    assert sum(figures["link_bytes"].values()) == ways["chosen"]["wire_bytes"]
    assert set(figures["board_bytes"]) == set(figures["boards_used"])
    bundle = Bundle(folder / "b")
    assert bundle.content("model") == small_file.data
    image = image_for(small_file, 5)
    (exact,) = Segment(small_file.data).run(list(image.values()))
    gap = np.abs(through(bundle, image) - exact).max()
    assert 0 < gap <= 3 * ways["chosen"]["largest_difference"]
    dtypes = {spec.dtype for spec in bundle.manifest.tensors.values()}
    assert "int8" in dtypes
    assert "beside the model as it was" in run(*words).stdout


def test_without_images_only_costs_are_told(model):
    folder = model.parent
    figures = json.loads(
        run(
            "export", model, "--cluster", folder / "cluster.toml", "--out", folder / "b",
            "--evaluations", 1000, "--wire", "float16", "--json",
        ).stdout
    )  # fmt: skip
    assert figures["choices"][-1]["accuracy"] is None
    assert figures["choices"][-1]["latency_s"] == pytest.approx(figures["predicted_latency_s"])


def test_images_as_bytes(model):
    folder = model.parent
    run(
        "export", model, "--cluster", folder / "cluster.toml", "--out", folder / "b",
        "--evaluations", 1000, "--wire", "auto", "--pixels", "--json",
        "--calibration", folder / "images.npz",
    )  # fmt: skip
    bundle = Bundle(folder / "b")
    assert bundle.manifest.tensors["image"].dtype == "uint8"
    pixels = np.random.default_rng(0).integers(0, 256, (1, *SHAPE)).astype(np.uint8)
    (exact,) = Segment(bundle.content("model")).run([pixels])
    np.testing.assert_allclose(through(bundle, {"image": pixels}), exact, atol=1e-2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--precision", "int8"), "precision int8 needs a .keras model, got"),
        (("--calibration", "nothing"), "flowers102, got 'nothing', which is no folder and no"),
        (("--calibration", "digits"), "must have the model's shape (16, 16, 3), got (8, 8, 1)"),
        (
            ("--wire", "auto", "--placement", "cluster.toml"),
            "wire asks for a search, placement for none",
        ),
    ],
)
def test_what_cannot_be_exported_is_said(model, words, message, monkeypatch):
    monkeypatch.chdir(model.parent)
    result = run("export", model, *words, status=2)
    assert message in result.output + result.stderr


def test_a_plan_that_keeps_the_budget_is_kept(small_file, samples):
    planner = WirePlanner(small_file, SLOW, sent_as="float16", effort=Effort(1000))
    planned = planner.plan()
    assert Budget(small_file, samples, points=100.0).keep(planner, planned) is planned


def test_formats_become_finer_until_the_budget_is_kept(small_file, samples):
    images = samples.images(small_file)
    planner = WirePlanner(small_file, SLOW, images=images, effort=Effort(1000))
    rng = np.random.default_rng(0)
    homes = on_boards(small_file, lambda o: f"b{rng.integers(3)}")
    planned = planner.encoded(small_file, homes, planner.formats(small_file, homes))

    class Strict(Budget):
        """As if accuracy fell whenever answers are off by more than a tenth of what they are."""

        tried, most = 0, np.inf

        def _keeps(self, file):
            self.tried += 1
            return self.variant("", file, planned.plan).largest_difference <= self.most

    strict = Strict(small_file, samples)
    strict.most = 0.1 * strict.variant("", planned.file, planned.plan).largest_difference
    assert strict.most > 0
    kept = strict.keep(planner, planned)
    assert strict.variant("", kept.file, kept.plan).largest_difference <= strict.most
    assert kept.formats.keys() == planned.formats.keys()
    count = [sum(w.bytes for w in each.formats.values()) for each in (planned, kept)]
    assert count[0] == len(planned.formats) < count[1] < 4 * count[0]
    assert strict.tried < 40


@pytest.mark.parametrize(
    ("precision", "tolerance", "dtypes"),
    [
        ("float16", 2e-3, {"float32"}),
        ("dynamic", 0.05, {"float32"}),
        ("int8", 0.1, {"float32", "int8"}),
    ],
)
def test_every_precision_end_to_end(trained, samples, precision, tolerance, dtypes):
    from keras_concurrent.convert import to_tflite

    model, float32 = trained
    file = TfliteFile(to_tflite(model, precision=precision, images=samples.calibration))
    assert len(file.data) < (0.7 if precision == "float16" else 0.45) * len(float32.data)
    graph = TaskGraph.from_tflite(file)
    assert {file.tensors[name].dtype for name in graph.tensor_bytes} == dtypes
    for sent_as in ("float32", "auto"):
        planned = WirePlanner(file, SLOW, sent_as=sent_as, effort=Effort(1000)).plan()
        assert len(planned.plan.boards) > 1
        gap = check_answers(planned, float32, tolerance)
        assert gap > 0
        if precision == "int8":  # its tensors travel as they are, in one byte a value
            assert planned.formats == {}


def test_a_lighter_precision_is_compared_with_the_float32_model(trained, samples, tmp_path):
    model, _ = trained
    model.save(tmp_path / "model.keras")
    (tmp_path / "cluster.toml").write_text(SLOW.to_toml())
    images = np.concatenate([samples.calibration, samples.validation])
    np.savez(tmp_path / "images.npz", train_images=images)
    words = (
        "export", tmp_path / "model.keras", "--cluster", tmp_path / "cluster.toml", "--out",
        tmp_path / "b", "--evaluations", 1000, "--calibration", tmp_path / "images.npz", "--json",
    )  # fmt: skip
    assert json.loads(run(*words).stdout)["choices"] == []  # nothing is lighter than it was
    for wire in ((), ("--wire", "auto")):
        figures = json.loads(run(*words, "--precision", "int8", *wire).stdout)
        before, chosen = figures["choices"]  # an int8 model's tensors travel as they are
        assert (before["name"], chosen["name"]) == ("as it was", "chosen")
        assert before["largest_difference"] == 0
        assert 0 < chosen["largest_difference"] < 0.5
        assert chosen["wire_bytes"] < before["wire_bytes"]
        assert chosen["latency_s"] == pytest.approx(figures["predicted_latency_s"])
    # So far the cluster's file said nothing of int8, so that it took as long as float32.
    boards = (replace(b, int8_gops_per_s=10 * b.gflops_per_s) for b in SLOW.boards)
    (tmp_path / "cluster.toml").write_text(replace(SLOW, boards=tuple(boards)).to_toml())
    quick = json.loads(run(*words, "--precision", "int8").stdout)
    assert quick["predicted_latency_s"] < figures["predicted_latency_s"]
    assert quick["choices"][0]["latency_s"] == pytest.approx(before["latency_s"])
    # Boards on which only the int8 model has room: the float32 model is compared all the same.
    boards = (replace(b, memory_mb=0.1) for b in SLOW.boards)
    (tmp_path / "cluster.toml").write_text(replace(SLOW, boards=tuple(boards)).to_toml())
    small = json.loads(run(*words, "--precision", "int8").stdout)
    assert small["choices"][0]["latency_s"] is None
    assert small["choices"][0]["accuracy"] == 1
    assert small["choices"][1]["latency_s"] == pytest.approx(small["predicted_latency_s"])
    assert "too large" in run(*words[:-1], "--precision", "int8").stdout


def test_seconds_measured_on_the_boards_count_for_images_as_bytes_too(model, small_file):
    folder = model.parent
    words = ("export", model, "--cluster", folder / "cluster.toml", "--out", folder / "b",
             "--evaluations", 500, "--json")  # fmt: skip
    bundle = export_bundle(small_file, SLOW, folder / "measured")
    seconds = {b.name: dict.fromkeys(bundle.manifest.segments, 1e-3) for b in SLOW.boards}
    text = BoardTimings.of(bundle, seconds, SLOW).to_json()
    (folder / "cluster.seconds.json").write_text(text)
    pieces = len(bundle.manifest.segments) - 1
    assert pieces > 1
    alone_s = json.loads(run(*words).stdout)["predicted_one_board_latency_s"]
    pixels = run(*words, "--pixels")
    assert "another model" not in pixels.output
    figures = json.loads(pixels.stdout)
    image_s = np.prod(SHAPE) * 3 / 1.25e6  # three quarters of its bytes, at 10 Mbit/s
    assert alone_s - figures["predicted_one_board_latency_s"] == pytest.approx(image_s, rel=0.05)
    assert figures["choices"][0]["latency_s"] <= alone_s


def test_a_model_of_other_images_is_refused(trained, samples):
    from keras_concurrent.convert import to_tflite

    model, _ = trained
    file = TfliteFile(to_tflite(model, precision="int8", images=samples.calibration))
    name = file.inputs[0]
    strange = SimpleNamespace(inputs=file.inputs, tensors={name: SimpleNamespace(dtype="int8")})
    with pytest.raises(ValueError, match="takes float32 or uint8, got one of int8"):
        samples.images(strange)


@pytest.fixture(scope="module")
def heavy():
    """A network whose weights are much more than its tensors."""
    from keras_concurrent.convert import to_tflite
    from keras_concurrent.models import build_model
    from keras_concurrent.networks.generators import generate
    from keras_concurrent.networks.staging import stage

    graph = generate("branches", 8, seed=1, branches=4)
    recipe = {"filters": 24, "channel_cap": 96, "separable": False, "seed": 4}
    return TfliteFile(to_tflite(build_model(stage(graph, (32, 32, 3), 4, **recipe))))


@pytest.mark.parametrize("mbit", [0.1, 1.0, 10.0, 1000.0])
def test_boards_get_no_more_than_they_have_the_memory_for(heavy, mbit):
    file = heavy
    cluster = cluster_of(3, 0.02, mbit)
    graph = TaskGraph.from_tflite(file)
    whole = max(one_board(graph, cluster).memory_bytes.values())
    for share in (0.95, 0.9):  # of what the whole model needs
        boards = (replace(board, memory_mb=share * whole / 1e6) for board in cluster.boards)
        small = replace(cluster, boards=tuple(boards))
        assert (
            len(plan_segments(graph, small, effort=Effort(500)).boards) > 1
        )  # there is such a plan
        planned = WirePlanner(file, small, effort=Effort(500)).plan()
        assert len(planned.plan.boards) > 1
        assert all(b <= share * whole for b in planned.plan.memory_bytes.values())
    none = tuple(replace(board, memory_mb=whole / 1e8) for board in cluster.boards)
    with pytest.raises(ClusterError, match="more boards, or ones with more memory, may do"):
        WirePlanner(file, replace(cluster, boards=none), effort=Effort(500)).plan()


@pytest.fixture(scope="module")
def trained():
    """A network whose values are spread as a trained one's are, and its float32 file."""
    import keras

    from keras_concurrent.convert import to_tflite
    from keras_concurrent.models import build_model
    from keras_concurrent.networks.generators import generate
    from keras_concurrent.networks.staging import stage

    keras.utils.set_random_seed(0)
    recipe = {"filters": 16, "channel_cap": 64, "separable": False, "seed": 5}
    model = build_model(stage(generate("WS", 8, seed=5, k=4, p=0.5), SHAPE, 4, **recipe))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "weight_" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5))
        if "moving_mean" in weight.path:
            weight.assign(rng.normal(0, 0.1, weight.shape))
        if "moving_variance" in weight.path:
            weight.assign(rng.uniform(0.02, 0.1, weight.shape))
    return model, TfliteFile(to_tflite(model))


def test_a_precision_without_what_it_needs(small_architecture):
    from keras_concurrent.convert import to_tflite
    from keras_concurrent.models import build_model

    model = build_model(small_architecture)
    with pytest.raises(ValueError, match="precision 'int8' needs images to calibrate on, got none"):
        to_tflite(model, precision="int8")
    with pytest.raises(ValueError, match=r"precision must be one of float32, .* got 'int4'"):
        to_tflite(model, precision="int4")
