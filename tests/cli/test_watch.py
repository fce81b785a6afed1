"""`watch` as a user meets it: a film in, through boards, an answer a frame."""

import json
import re

import pytest
from command_line import run
from small_files import colours_file
from videos import film

RED, GREEN, BLUE = (200, 30, 30), (30, 200, 30), (30, 30, 200)


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "model.tflite").write_bytes(colours_file().data)
    run("export", tmp_path / "model.tflite", "--boards", 1, "--out", tmp_path / "bundle")
    return tmp_path / "bundle"


def watched(bundle, source, *words, status=0):
    cluster = bundle.parent / "cluster.toml"
    told = ("--cluster", cluster, "--local")
    return run("watch", bundle, "--source", source, *told, *words, status=status)


def test_each_frame_is_answered_by_its_class(tmp_path, bundle):
    colours = [RED, GREEN, BLUE] * 5
    film(tmp_path / "film.mp4", colours)
    said = watched(bundle, tmp_path / "film.mp4", "--every-frame", "--json", "--in-flight", 3)
    lines = [json.loads(line) for line in said.stdout.splitlines()]
    assert [line["frame"] for line in lines] == list(range(15))
    assert all(line["dropped"] == 0 and 0 < line["latency_s"] < 2 for line in lines)
    for line, colour in zip(lines, colours, strict=True):
        (output,) = line["outputs"].values()
        assert output["best"][0]["number"] == colour.index(200)
    assert "15 frames answered, 0 dropped" in said.stderr


def test_a_file_is_shown_at_its_own_pace_and_ends(tmp_path, bundle):
    film(tmp_path / "film.mp4", [GREEN] * 20)  # a second
    said = watched(bundle, tmp_path / "film.mp4", "--frames", 5)
    first, *lines = said.stdout.splitlines()
    assert first == "pictures: values of 0..1, stretched, to 8x8"
    assert len(lines) == 5
    for line in lines:
        assert re.fullmatch(r"frame \d+, \d\.\d\d s: class 1 .* \(\d+\.\d ms\)", line)
    assert re.search(r"5 frames answered, \d+ dropped, .* from frame to answer", said.stderr)


def test_a_source_that_is_none_is_named(tmp_path, bundle):
    said = watched(bundle, tmp_path / "missing.mp4", status=2)
    assert "missing.mp4' cannot be opened: No such file" in said.stderr
    assert not said.stdout
