"""What may be imported where: a board has neither TensorFlow nor networkx."""

import ast
import importlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

import keras_concurrent

PACKAGE = Path(keras_concurrent.__file__).parent
NEEDS_TENSORFLOW = {"layers", "models", "convert", "training"}
SEARCH_NEEDS_TENSORFLOW = {
    "callbacks", "hypermodel", "objectives", "optuna_oracle", "oracle", "session",
}  # fmt: skip
ON_A_BOARD = (
    "errors", "manifest", "bundle", "interpreter", "engine", "transport", "board", "client",
    "emulation", "cluster", "local_boards", "bench", "files", "console", "cli", "keys", "outbox",
    "routes",
    "requests", "timeline", "store", "deploy", "medium", "probe", "questions",
    "fallback", "connection", "zenoh_channel", "flights", "workshop", "board_process",
    "status", "survey", "top", "testbed", "namespaces", "depot", "complaints", "readiness",
    "suspects", "inputs", "inbox", "instructions", "route_book", "session",
)  # fmt: skip
HEAVY = ("tensorflow", "keras", "keras_tuner", "mtkahypar", "matplotlib", "numba")


def imported_after(code):
    """The top-level packages in sys.modules after running code in a fresh interpreter."""
    script = f"{code}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_root_imports_nothing_heavy():
    assert not imported_after("import keras_concurrent").intersection(
        (*HEAVY, "networkx", "numpy", "zenoh")
    )


def test_a_board_needs_neither_tensorflow_nor_networkx():
    lines = "\n".join(f"import keras_concurrent.{module}" for module in ON_A_BOARD)
    loaded = imported_after(lines)
    assert not loaded.intersection((*HEAVY, "networkx", "flatbuffers"))


def test_everything_but_the_keras_side_works_without_tensorflow():
    modules = {path.stem for path in PACKAGE.glob("*.py")} - NEEDS_TENSORFLOW - {"__main__"}
    lines = "\n".join(f"import keras_concurrent.{name}" for name in sorted(modules))
    assert not imported_after(lines).intersection(("tensorflow", "keras", "keras_tuner"))


def test_screening_works_without_tensorflow():
    modules = {path.stem for path in (PACKAGE / "search").glob("*.py")} - SEARCH_NEEDS_TENSORFLOW
    assert {"space", "costs", "limits", "pareto", "screening"} <= modules
    lines = "\n".join(f"import keras_concurrent.search.{name}" for name in sorted(modules))
    screened = """
from keras_concurrent import Cluster
from keras_concurrent.search import Space, screen
screen(Space((8, 8, 1), 10), Cluster.of("pi4", 2), 5)
"""
    loaded = imported_after(lines.replace(".__init__", "") + screened)
    assert not loaded.intersection(("tensorflow", "keras", "keras_tuner"))


def test_importing_the_root_takes_less_than_a_fifth_of_a_second():
    code = "import time; t = time.perf_counter(); import keras_concurrent; " + (
        "print(time.perf_counter() - t)"
    )
    best = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True).stdout)
        for _ in range(3)
    )
    assert best < 0.2


def test_the_version_is_printed_within_half_a_second():
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "keras_concurrent", "--version"], capture_output=True, text=True
        )
        durations.append(time.perf_counter() - start)
    assert keras_concurrent.__version__ in done.stdout
    assert min(durations) < 0.5


def test_the_public_names_are_what_all_says_and_none_is_hidden_by_a_module():
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    for name in keras_concurrent.__all__:
        assert getattr(keras_concurrent, name) is not None
        assert name not in modules
    assert dir(keras_concurrent) == sorted(keras_concurrent.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = keras_concurrent.nonsense


def test_modules_import_only_upwards():
    """Each module imports only modules that stand before it in this order (functions aside)."""
    order = [
        "_version", "errors", "generators", "flops", "architecture", "staging", "layers", "models",
        "cluster", "board_kinds", "manifest", "bundle", "interpreter", "operator_cost",
        "tflite_schema",
        "tflite_piece", "wholeness", "shape_folding", "tflite_file", "tflite_draft", "precision",
        "requantization", "convert", "dataset", "photographs", "downloads", "datasets", "training",
        "taskgraph", "partition", "distribution", "score", "problem", "kernel", "ranks",
        "portfolio", "annealing", "merging", "schedule", "efficiency", "simulator", "bounds",
        "explain", "polish", "segments", "placement_file", "wire_format",
        "encoding", "pixels", "samples", "ranges", "reassociate", "wire",
        "wire_budget",
        "export", "timings", "profile", "calibration", "engine", "keys", "medium", "emulation",
        "transport", "zenoh_channel", "outbox", "probe", "session", "questions", "routes",
        "instructions",
        "route_book", "requests", "fallback", "status", "timeline", "flights", "inputs",
        "readiness", "suspects", "inbox", "client", "connection", "files", "store", "deploy",
        "workshop",
        "depot", "complaints", "board", "board_process", "local_boards", "namespaces", "testbed",
        "bench", "console", "survey", "top",
    ]  # fmt: skip
    for index, module in enumerate(order):
        tree = ast.parse((PACKAGE / f"{module}.py").read_text())
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "keras_concurrent"
            ):
                names = (
                    [alias.name for alias in node.names]
                    if node.module == "keras_concurrent"
                    else [node.module.split(".")[1]]
                )
                for name in names:
                    assert name in order[:index], f"{module} imports {name}"


def test_every_module_says_what_it_is():
    for path in PACKAGE.glob("*.py"):
        module = ast.parse(path.read_text())
        assert ast.get_docstring(module), path.name
    assert importlib.import_module("keras_concurrent.errors").__doc__
