"""Damaged files are read or refused by an error of this package, and a crash would be seen."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
try:
    from damaged import outcome_of, supervise
finally:
    sys.path.pop(0)


@pytest.fixture
def folder(small_file, tmp_path):
    (tmp_path / "small.tflite").write_bytes(small_file.data)
    return tmp_path


def test_damaged_files_are_read_or_refused(folder):
    found = Counter()
    supervise(folder, 0, 24, 7, found)
    assert found.total() == 24
    assert set(found) <= {
        "read, planned and cut",
        "refused as damaged",
        "refused while it is read",
        "refused by trying it",
    }
    assert found["read, planned and cut"] > 0
    assert found["refused as damaged"] > 0


def test_an_error_of_another_kind_is_told(monkeypatch):
    def broken(content, origin):
        raise KeyError("lost")

    monkeypatch.setattr("keras_concurrent.tflite.file.TfliteFile", broken)
    assert outcome_of(b"", None).startswith("traceback: ")


def test_a_crash_is_counted_and_the_next_file_tried(small_file, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize").mkdir()
    (tmp_path / "sitecustomize" / "sitecustomize.py").write_text(
        "import builtins\nimport os\n"
        "told = builtins.print\n"
        "def tell(*words, **how):\n"
        "    told(*words, **how)\n"
        "    if words == ('begin 1',):\n"
        "        os.abort()\n"
        "builtins.print = tell\n"
    )
    found = Counter()
    places = (str(tmp_path / "sitecustomize"), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
    models = tmp_path / "models"
    models.mkdir()
    (models / "small.tflite").write_bytes(small_file.data)
    supervise(models, 0, 3, 7, found)
    assert found["crash: file 1, SIGABRT"] == 1
    assert found.total() == 3
