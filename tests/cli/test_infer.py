"""`infer` as a user meets it: pictures in, through boards, the right class out."""

import re

import numpy as np
import pytest
from command_line import run
from PIL import Image
from small_files import colours_file

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


def asked(bundle, *words):
    return run("infer", bundle, *words, "--cluster", bundle.parent / "cluster.toml", "--local")


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
