import json
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from costless import costless
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_concurrent.board import Board
from keras_concurrent.edge.bundle import Bundle, digest
from keras_concurrent.edge.manifest import MANIFEST, Manifest, SegmentSpec
from keras_concurrent.edge.placement import Program
from keras_concurrent.edge.preprocessing import Preprocessing
from keras_concurrent.errors import BundleError
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.network import Network
from keras_concurrent.planning.segments import plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph


def slow_boards(count, call_ms=0.0):
    """So slow, on a network so fast, that even a tiny network is planned on all of them."""
    boards = tuple(Board(f"p{i}", 0.01, f"tcp/127.0.0.1:{7000 + i}", call_ms) for i in range(count))
    return costless(boards, Network(1e6, 1e-6))


@pytest.fixture(scope="module")
def exported(small_file, tmp_path_factory):
    return export_bundle(
        small_file,
        slow_boards(3),
        tmp_path_factory.mktemp("b") / "bundle",
        preprocessing=Preprocessing("-1..1", (0.1, 0.2, 0.3), resize="crop"),
        class_names=("ant", "bee", "cat", "dog"),
    )


@pytest.fixture
def bundle(exported, tmp_path):
    """A copy to damage."""
    shutil.copytree(exported.path, tmp_path / "bundle")
    return Bundle(tmp_path / "bundle")


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# ---------------------------------------------------------------- what is in it


def test_a_bundle_holds_the_plan_and_what_it_has_to_beat(exported, small_file):
    cluster = slow_boards(3)
    plan = plan_segments(TaskGraph.from_tflite(small_file), cluster)
    manifest = exported.manifest
    assert (manifest.inputs, manifest.outputs) == (small_file.inputs, small_file.outputs)
    shared, alone = exported.placement("boards"), exported.placement("one_board")
    assert shared.predicted_latency_s == plan.latency_s < alone.predicted_latency_s
    assert set(shared.programs) == set(plan.boards) == {"p0", "p1", "p2"}
    for board, program in shared.programs.items():
        names = [manifest.segments[name].vertices for name in program.segments]
        assert names == [plan.graph.by_name[task].vertices for task in plan.tasks_on(board)]
        sends = [(send.tensor, send.receiver) for send in program.sends]
        assert sends == [(m.tensor, m.receiver) for m in plan.messages_from(board)]
    assert [p.segments for p in alone.programs.values()] == [("model",)]
    assert exported.content("model") == small_file.data
    runs = [(e.board, e.start_s, e.end_s) for e in shared.predicted if e.kind == "run"]
    assert runs == [(slot.board, slot.start_s, slot.end_s) for slot in plan.slots]
    sends = [e for e in shared.predicted if e.kind == "send"]
    assert [(e.name, e.board, e.receiver, e.bytes, e.start_s, e.end_s) for e in sends] == [
        (m.tensor, m.sender, m.receiver, m.bytes, m.start_s, m.arrival_s) for m in plan.messages
    ]
    exported.verify()


def test_sizes_and_types_of_tensors_are_the_files_own(exported, small_file):
    for name, spec in exported.manifest.tensors.items():
        info = small_file.tensors[name]
        assert (spec.shape, spec.dtype, spec.bytes) == (info.shape, info.dtype, info.bytes)
    read = {t for s in exported.manifest.segments.values() for t in (*s.inputs, *s.outputs)}
    assert set(exported.manifest.tensors) == read


def test_every_file_is_named_with_its_size_and_hash(exported):
    names = {spec.file for spec in exported.manifest.segments.values()}
    assert set(contents(exported.path)) == {MANIFEST, *names}
    for name, spec in exported.manifest.segments.items():
        content = (exported.path / spec.file).read_bytes()
        assert (spec.bytes, spec.sha256) == (len(content), digest(content))
        assert exported.content(name) == content


def test_a_manifest_is_read_back_equal(exported):
    text = exported.manifest.to_json()
    assert Manifest.from_json(text) == exported.manifest
    assert Manifest.from_json(text).to_json() == text
    assert exported.manifest.preprocessing == Preprocessing("-1..1", (0.1, 0.2, 0.3), resize="crop")
    assert exported.manifest.class_names == ("ant", "bee", "cat", "dog")
    assert Bundle(exported.path).sha256 == exported.sha256 == digest(text.encode())


def test_a_recipe_is_kept(small_file, small_architecture, tmp_path):
    recipe = small_architecture.to_json()
    made = export_bundle(
        small_file, slow_boards(1, call_ms=0.1), tmp_path / "b", architecture=recipe
    )
    assert Bundle(made.path).manifest.architecture == recipe


def test_on_one_board_both_placements_run_the_whole_model(small_file, tmp_path):
    made = export_bundle(small_file, slow_boards(1, call_ms=0.1), tmp_path / "b")
    assert made.placement("boards") == made.placement("one_board")
    assert set(made.manifest.segments) == {"model"}


def test_where_calls_are_free_one_board_still_gets_one_segment(small_file):
    plan = plan_segments(TaskGraph.from_tflite(small_file), slow_boards(1, call_ms=0.0))
    assert len(plan.graph.tasks) == 1


def test_an_unknown_placement_is_refused(exported):
    with pytest.raises(ValueError, match="placement must be one of boards, one_board, got 'two'"):
        exported.placement("two")


# ---------------------------------------------------------------- damage


def test_a_missing_segment_is_named(bundle):
    (bundle.path / "segment_00.tflite").unlink()
    with pytest.raises(BundleError, match=r"lacks segment_00\.tflite, the file of segment"):
        Bundle(bundle.path)
    with pytest.raises(BundleError, match=r"cannot read .*segment_00\.tflite: No such file"):
        bundle.verify()


def test_a_truncated_segment_is_named_with_its_size(bundle):
    path = bundle.path / "segment_01.tflite"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    message = rf"segment_01\.tflite was truncated or altered: expected {size} bytes, got {size - 1}"
    with pytest.raises(BundleError, match=message):
        bundle.content("segment_01")


def test_an_altered_segment_is_named(bundle):
    path = bundle.path / "segment_01.tflite"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"segment_01\.tflite was altered: expected SHA-256"):
        bundle.verify()
    assert bundle.content("segment_00")  # the others are still good


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match=r"is not a bundle: cannot read manifest\.json"):
        Bundle(tmp_path)
    with pytest.raises(BundleError, match="nowhere is not a bundle"):
        Bundle(tmp_path / "nowhere")
    (tmp_path / MANIFEST).write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle(tmp_path)


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_manifest_is_refused(bundle, kept):
    path = bundle.path / MANIFEST
    text = path.read_text()
    path.write_text(text[: kept if isinstance(kept, int) else int(kept * len(text))])
    with pytest.raises(BundleError, match=r"manifest\.json is damaged"):
        Bundle(bundle.path)


def first_segment(data):
    return next(name for name in data["segments"] if name != "model")


def edit(data, what):
    """Damage a manifest's JSON in one place."""
    boards = data["placements"]["boards"]
    program = boards["programs"][min(boards["programs"])]
    name = first_segment(data)
    match what:
        case "version":
            data["schema_version"] = 2
        case "no version":
            del data["schema_version"]
        case "unknown key":
            data["colour"] = "red"
        case "unknown segment key":
            data["segments"][name]["colour"] = "red"
        case "missing key":
            del data["inputs"]
        case "missing segment key":
            del data["segments"][name]["sha256"]
        case "leaves the folder":
            data["segments"][name]["file"] = "../x.tflite"
        case "absolute":
            data["segments"][name]["file"] = "/etc/x.tflite"
        case "hidden":
            data["segments"][name]["file"] = ".x.tflite"
        case "placement":
            data["placements"]["spare"] = data["placements"].pop("one_board")
        case "unknown segment":
            program["segments"].append("segment_99")
        case "unknown tensor":
            data["segments"][name]["inputs"].append("nothing")
        case "unknown model tensor":
            data["outputs"].append("nothing")
        case "never sent":
            boards["client_sends"] = []
        case "never answered":
            for each in boards["programs"].values():
                each["sends"] = [s for s in each["sends"] if s["receiver"] != "client"]
        case "sends what it has not":
            program["sends"].append({"tensor": data["inputs"][0], "receiver": "client"})
        case "unknown receiver":
            program["sends"].append({**program["sends"][0], "receiver": "p9"})
        case "control character":
            data["tensors"]["\x1b[2J"] = data["tensors"][data["inputs"][0]]
        case "sent twice":
            program["sends"].append(program["sends"][0])
        case "type":
            data["tensors"][data["inputs"][0]]["dtype"] = "float33"
        case "size":
            data["tensors"][data["inputs"][0]]["shape"] = ["big"]
        case "range":
            data["preprocessing"]["value_range"] = "0..7"
        case "class names":
            data["class_names"].append("one too many")
        case "scale":
            data["tensors"][data["inputs"][0]] |= {"dtype": "int8", "scale": 0}
        case "zero point":
            data["tensors"][data["inputs"][0]] |= {"dtype": "int8", "scale": 1, "zero_point": 128}
        case "scale of float32":
            data["tensors"][data["inputs"][0]] |= {"scale": 1, "zero_point": 0}
        case "number":
            boards["predicted_latency_s"] = "soon"
    return data


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("version", "must have schema_version 1, got 2"),
        ("no version", "must have schema_version 1, got None"),
        ("unknown key", "colour"),
        ("unknown segment key", "colour"),
        ("missing key", "inputs"),
        ("missing segment key", "sha256"),
        ("leaves the folder", r"unsafe file name '\.\./x\.tflite'"),
        ("absolute", "unsafe file name '/etc"),
        ("hidden", r"unsafe file name '\.x\.tflite'"),
        ("placement", "placements must be boards and one_board, got .*spare"),
        ("unknown segment", "'boards' runs the unknown segment 'segment_99'"),
        ("unknown tensor", "names the unknown tensor 'nothing'"),
        ("unknown model tensor", "the model names the unknown tensor 'nothing'"),
        ("never sent", r"placement 'boards': segment 'segment_\d+' on p\d never gets 'image'"),
        ("never answered", "placement 'boards': the client never gets 'classes'"),
        ("sends what it has not", "p0 sends 'image', which it never has"),
        ("unknown receiver", "p0 sends to the unknown 'p9'"),
        ("control character", r"the name '\\x1b\[2J' has control characters"),
        ("sent twice", r"placement 'boards': \w+ gets '.*' more than once"),
        ("type", "float33"),
        ("size", r"'image' must have whole sizes"),
        ("range", r"value_range must be one of 0\.\.1, "),
        ("class names", "class_names must be as many as an output has values, got 5"),
        ("scale", "'image' must have a scale above 0, got 0"),
        ("zero point", "'image' must have a zero point that int8 holds, got 128"),
        ("scale of float32", "'image' must be int8, .* to have a scale, got float32"),
        ("number", "soon"),
    ],
)
def test_a_wrong_manifest_is_refused_by_name(bundle, what, message):
    path = bundle.path / MANIFEST
    path.write_text(json.dumps(edit(json.loads(path.read_text()), what)))
    with pytest.raises(BundleError, match=message):
        Bundle(bundle.path)


def places(value, path=()):
    """The paths of all values in a JSON document."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_value_of_another_type_gives_a_bundle_error_or_a_manifest(exported, data):
    document = json.loads(exported.manifest.to_json())
    path = data.draw(st.sampled_from([p for p in places(document) if p and p[0] != "architecture"]))
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = data.draw(
        st.sampled_from([None, True, -1, 1.5, "text", [], {}, [{}], [[1]]])
    )
    with suppress(BundleError):
        Manifest.from_json(json.dumps(document)).to_json()


def test_a_manifest_that_cannot_work_is_not_written(exported, tmp_path):
    manifest = exported.manifest
    boards = manifest.placements["boards"]
    lazy = {name: Program((), ()) for name in boards.programs}
    placements = {**manifest.placements, "boards": replace(boards, programs=lazy)}
    with pytest.raises(BundleError, match="the client never gets 'classes'"):
        Bundle.write(tmp_path / "new", replace(manifest, placements=placements), {})
    spec = SegmentSpec("../../x.tflite", "", 0, (), ())
    with pytest.raises(BundleError, match="unsafe file name"):
        Bundle.write(
            tmp_path / "new", replace(manifest, segments={**manifest.segments, "x": spec}), {}
        )
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- writing


def files_of(bundle):
    return {n: c for n, c in contents(bundle.path).items() if n != MANIFEST}


def test_a_bundle_is_replaced_whole(small_file, bundle):
    made = export_bundle(small_file, slow_boards(1, call_ms=0.1), bundle.path)
    assert set(contents(made.path)) == {MANIFEST, "model.tflite"}  # none of the old segments
    assert [p.name for p in made.path.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("there", [True, False])
def test_an_interrupted_write_leaves_what_was_there(exported, bundle, monkeypatch, error, there):
    target = bundle.path if there else bundle.path.with_name("fresh")
    files = files_of(bundle)
    before = contents(bundle.path)
    write, written = Path.write_bytes, []

    def fail_midway(path, data):
        written.append(path)
        if len(written) == 3:
            write(path, data[:10])
            raise error
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fail_midway)
    expected = BundleError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        Bundle.write(target, exported.manifest, files)
    if isinstance(error, OSError):
        assert "cannot write" in str(caught.value)
        assert "No space left" in str(caught.value)
    monkeypatch.undo()
    assert len(written) == 3
    assert [p.name for p in bundle.path.parent.iterdir()] == ["bundle"]
    assert contents(bundle.path) == before
    Bundle(bundle.path).verify()


def test_a_rename_that_fails_leaves_what_was_there(exported, bundle, monkeypatch):
    files, before = files_of(bundle), contents(bundle.path)
    rename, renamed = Path.rename, []

    def fail_second(path, target):
        renamed.append(target)
        if len(renamed) == 2:
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_second)
    with pytest.raises(BundleError, match="cannot write"):
        Bundle.write(bundle.path, exported.manifest, files)
    monkeypatch.undo()
    assert [p.name for p in bundle.path.parent.iterdir()] == ["bundle"]
    assert contents(bundle.path) == before


def test_a_folder_that_is_no_bundle_is_not_replaced(exported, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="is there and is not a bundle; give another path"):
        Bundle.write(tmp_path, exported.manifest, files_of(exported))
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}
    with pytest.raises(BundleError, match="is there and is not a bundle"):
        Bundle.write(tmp_path / "thesis.txt", exported.manifest, files_of(exported))


def test_missing_parent_folders_are_made(exported, tmp_path):
    made = Bundle.write(tmp_path / "a" / "b" / "c", exported.manifest, files_of(exported))
    made.verify()
    assert made.manifest == exported.manifest


def test_a_path_below_a_file_cannot_be_written(exported, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot write"):
        Bundle.write(tmp_path / "file" / "bundle", exported.manifest, files_of(exported))


def test_others_may_read_a_bundle(exported):
    assert os.stat(exported.path).st_mode & 0o755 == 0o755


@pytest.mark.parametrize("name", ["../x.tflite", "/etc/x.tflite", "a/b.tflite", ".x.tflite"])
def test_a_bundles_file_names_cannot_leave_its_folder(exported, name):
    manifest = exported.manifest
    spec = replace(manifest.segments["model"], file=name)
    with pytest.raises(BundleError, match="unsafe file name"):
        replace(manifest, segments={**manifest.segments, "model": spec}).check()


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 2**40), "float32"), ((1,), "object"), ((1,), "O"), ((1,), "V8")]
)
def test_a_tensor_that_no_board_could_hold_is_refused(exported, shape, dtype):
    manifest = exported.manifest
    spec = replace(manifest.tensors["image"], shape=shape, dtype=dtype)
    with pytest.raises(BundleError, match="tensor 'image' must"):
        replace(manifest, tensors={**manifest.tensors, "image": spec}).check()
