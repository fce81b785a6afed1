"""`infer` as a user meets it: pictures in, through boards, the right class out."""

import json
import re

import numpy as np
import pytest
from command_line import run
from PIL import Image
from small_files import colours_file

from keras_concurrent.edge.manifest import MANIFEST
from keras_concurrent.interpreter import Segment

COLOURS = ("red", "green", "blue")


@pytest.fixture
def pictures(tmp_path):
    """A folder of one noisy picture a colour."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(4)
    for channel, colour in enumerate(COLOURS):
        pixels = rng.integers(60, 140, (8, 8, 3))
        pixels[..., channel] += 100
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{colour}.png")
    return folder


def exported(tmp_path, file, *words):
    (tmp_path / "model.tflite").write_bytes(file.data)
    out = tmp_path / "bundle"
    told = run("export", tmp_path / "model.tflite", "--boards", 1, "--out", out, *words)
    return out, told


def asked(bundle, *words, status=0):
    cluster = bundle.parent / "cluster.toml"
    return run("infer", bundle, *words, "--cluster", cluster, "--local", status=status)


def told(bundle, *words):
    """What `infer --json` says of each image."""
    return [json.loads(line) for line in asked(bundle, *words, "--json").stdout.splitlines()]


def values_of(said):
    (output,) = said["outputs"].values()
    return output["values"]


def scores_of(path, low=0.0, high=1.0):
    """What the float32 original answers."""
    values = np.asarray(Image.open(path)) / 255.0 * (high - low) + low
    segment = Segment(colours_file("float32", low, high).data)
    return segment.run([values[np.newaxis].astype(np.float32)])[0].ravel()


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("int8", 0.0, 1.0), ("int8", -1.0, 1.0), ("uint8", -1.0, 1.0)]
)
def test_a_quantised_model_answers_a_picture_as_its_original(tmp_path, pictures, dtype, low, high):
    bundle, _ = exported(tmp_path, colours_file(dtype, low, high))
    path = pictures / "blue.png"
    shown = asked(bundle, path).stdout
    best, score = re.search(r"class (\d+),? ([-\d.]+)", shown).groups()
    expected = scores_of(path, low, high)
    assert int(best) == expected.argmax() == 2
    assert float(score) == pytest.approx(expected[2], abs=0.02)


def test_a_model_of_pixels_answers_as_its_original(tmp_path, pictures):
    bundle, _ = exported(tmp_path, colours_file(), "--pixels")
    for said, colour in zip(told(bundle, pictures), sorted(COLOURS), strict=True):
        expected = scores_of(pictures / f"{colour}.png")
        assert values_of(said) == pytest.approx(expected, abs=1e-5)


def test_a_folder_is_shown_by_the_names_of_its_classes(tmp_path, pictures):
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    (pictures / "notes.txt").write_text("no picture")
    bundle, _ = exported(tmp_path, colours_file("int8"), "--classes", tmp_path / "names.txt")
    how, *lines = asked(bundle, pictures).stdout.splitlines()
    assert how == "pictures: values of 0..1, stretched, to 8x8"
    for line, colour in zip(lines, sorted(COLOURS), strict=True):
        shown = re.fullmatch(
            rf"{pictures}/{colour}\.png: {colour} (0\.\d+), \w+ (0\.\d+), \w+ (0\.\d+) "
            r"\(\d+\.\d ms\)",
            line,
        )
        assert shown, line
        scores = np.sort(scores_of(pictures / f"{colour}.png"))[::-1]
        assert [float(each) for each in shown.groups()] == pytest.approx(scores, abs=0.02)


def test_json_is_one_object_an_image_with_dequantised_scores(tmp_path, pictures):
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    bundle, _ = exported(tmp_path, colours_file("uint8"), "--classes", tmp_path / "names.txt")
    paths = [pictures / "green.png", pictures / "red.png"]
    for path, said in zip(paths, told(bundle, *paths), strict=True):
        assert said["image"] == str(path)
        assert 0 < said["latency_s"] < 10
        expected = scores_of(path)
        assert values_of(said) == pytest.approx(expected, abs=0.02)
        (output,) = said["outputs"].values()
        ranked = sorted(range(3), key=lambda number: -output["values"][number])
        assert [each["number"] for each in output["best"]] == ranked
        assert output["best"][0]["name"] == path.stem
        assert output["best"][0]["score"] == max(output["values"])


def test_preprocessing_is_kept_by_export_and_changed_by_infer(tmp_path, pictures):
    """A float32 model cannot say itself that it learnt values of -1..1."""
    path = pictures / "red.png"
    bundle, _ = exported(tmp_path, colours_file("float32", -1.0, 1.0), "--range", "-1..1")
    expected = scores_of(path, -1.0, 1.0)
    assert values_of(told(bundle, path)[0]) == pytest.approx(expected, abs=1e-5)
    shown = asked(bundle, path, "--mean", "0.5,0,0", "--resize", "crop").stdout
    assert shown.startswith(
        "pictures: values of -1..1, less 0.5, 0, 0, divided by 1, cropped to the middle, to 8x8\n"
    )
    other = values_of(told(bundle, path, "--range", "0..1")[0])
    assert abs(other[0] - expected[0]) > 0.01
    # The same by other words: x / 255 * 2 - 1 is (x / 255 - 0.5) / 0.5.
    same = told(bundle, path, "--range", "0..1", "--mean", "0.5", "--deviation", "0.5")
    assert values_of(same[0]) == pytest.approx(expected, abs=1e-5)


def test_values_that_the_models_integers_do_not_stand_for_are_remarked(tmp_path, pictures):
    file = colours_file("int8", -1.0, 1.0)
    bundle, quiet = exported(tmp_path, file)
    assert "pictures become" not in quiet.stderr
    remark = "pictures become values of 0..1, but the int8 of the model's input stand for -"
    assert remark in exported(tmp_path, file, "--range", "0..1")[1].stderr
    assert remark in asked(bundle, pictures / "red.png").stderr  # the later export's bundle


def test_a_bundle_of_an_older_version_takes_bytes_but_no_int8(tmp_path, pictures):
    path = pictures / "green.png"
    for dtype in ("uint8", "int8"):
        bundle, _ = exported(tmp_path, colours_file(dtype))
        manifest = json.loads((bundle / MANIFEST).read_text())
        for tensor in manifest["tensors"].values():
            tensor.pop("scale", None)
            tensor.pop("zero_point", None)
        (bundle / MANIFEST).write_text(json.dumps(manifest))
        if dtype == "uint8":
            assert int(np.argmax(values_of(told(bundle, path)[0]))) == 1
        else:
            shown = asked(bundle, path, status=2).stderr
            assert "does not say what values the int8 of the model's input stand for" in shown
            assert "export the model anew" in shown


def test_a_wrong_image_among_several_is_named_before_anything_starts(tmp_path, pictures):
    bundle, _ = exported(tmp_path, colours_file())
    np.save(pictures / "wrong.npy", np.zeros((4, 4, 3), np.float32))
    shown = asked(bundle, pictures, status=2)
    assert f"{pictures}/wrong.npy: input " in shown.stderr
    np.save(pictures / "right.npy", np.zeros((8, 8, 3), np.float32))
    unused = asked(bundle, pictures / "right.npy", "--range", "0..1", status=2).stderr
    assert "are for pictures, got arrays" in unused
    assert "red.png" not in shown.stdout
    (tmp_path / "empty").mkdir()
    assert "empty must hold images (" in asked(bundle, tmp_path / "empty", status=2).stderr
    assert "--mean must look like" in asked(bundle, pictures, "--mean", "a", status=2).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--classes", "names.txt"), "an output of the model has values, [3], got 2"),
        (("--classes", "empty.txt"), "empty.txt: a file of classes must hold one name a line"),
        (("--pixels", "--range", "-1..1"), "pixels are bytes of values of 0..1, preprocessing gi"),
        (("--deviation", "0"), "deviation must be above 0, got (0.0,)"),
    ],
)
def test_what_does_not_suit_the_model_is_refused(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "model.tflite").write_bytes(colours_file().data)
    assert message in run("export", "model.tflite", *words, status=2).stderr
    assert not (tmp_path / "bundle").exists()
