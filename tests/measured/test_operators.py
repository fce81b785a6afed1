"""Measured seconds of a file, and of files rewritten from it."""

import json

import pytest
from command_line import run
from small_files import on_boards
from wires import SLOW

from keras_concurrent.measured import operators
from keras_concurrent.measured.operators import HostCosts
from keras_concurrent.planning.chains import chains_as_tasks
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.wire.encoding import crossing, encode
from keras_concurrent.wire.format import SIGMOID


def test_a_rewritten_file_costs_what_the_model_does_and_its_encoders(small_file, monkeypatch):
    costs = HostCosts(small_file, 1e9)
    graph = TaskGraph.from_tflite(small_file)
    whole = costs(small_file, graph)
    homes = on_boards(small_file, lambda o: f"b{o.index % 2}")
    formats = dict.fromkeys(crossing(small_file, homes), SIGMOID)
    coded, _ = encode(small_file, homes, formats)
    tried = []

    class Counted(operators.Segment):
        def __init__(self, content, **options):
            tried.append(options["name"])
            super().__init__(content, **options)

    monkeypatch.setattr(operators, "Segment", Counted)
    rewritten = costs(coded, TaskGraph.from_tflite(coded))
    assert set(tried) == {"QUANTIZE", "DEQUANTIZE"}  # all else is known already
    assert len(tried) < len(coded.operators) - len(small_file.operators)  # each size once
    added = sum(t.seconds for t in rewritten.tasks if t.name.endswith("QUANTIZE"))
    assert sum(t.seconds for t in rewritten.tasks) == pytest.approx(
        sum(t.seconds for t in whole.tasks) + added
    )
    tried.clear()
    merged = costs(coded, chains_as_tasks(TaskGraph.from_tflite(coded)))
    assert sum(t.seconds for t in merged.tasks) == pytest.approx(
        sum(t.seconds for t in rewritten.tasks)
    )
    assert not tried


def test_export_with_profile_and_wire(small_file, tmp_path):
    (tmp_path / "model.tflite").write_bytes(small_file.data)
    (tmp_path / "cluster.toml").write_text(SLOW.to_toml())
    figures = json.loads(
        run(
            "export", tmp_path / "model.tflite", "--cluster", tmp_path / "cluster.toml",
            "--out", tmp_path / "b", "--evaluations", 1000, "--wire", "auto", "--profile", "--json",
        ).stdout
    )  # fmt: skip
    assert figures["choices"][-1]["latency_s"] == pytest.approx(figures["predicted_latency_s"])
    assert 0 < figures["predicted_latency_s"] <= figures["predicted_one_board_latency_s"]
