"""What may be imported where: walls by folder, proved by reading imports and in fresh processes."""

import ast
import importlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

import keras_concurrent

PACKAGE = Path(keras_concurrent.__file__).parent
NEEDS_KERAS = ("layers.py", "models.py", "convert.py", "training.py", "search/tuning/*.py")
ON_A_BOARD = ("edge/**/*.py", "cli/*.py")
KERAS = ("tensorflow", "keras", "keras_tuner")
HEAVY = (*KERAS, "mtkahypar", "matplotlib", "numba", "networkx", "flatbuffers")


def files(*globs):
    """The modules' files that any of the globs meets."""
    return sorted({path for glob in globs for path in PACKAGE.glob(glob)})


def name_of(path):
    """A module's dotted name by its file."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("keras_concurrent", *(part for part in parts if part != "__init__")))


def imported_after(code):
    """The top-level packages in sys.modules after running code in a fresh interpreter."""
    script = f"{code}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def importing(paths):
    """Code that imports these files' modules."""
    return "\n".join(f"import {name_of(path)}" for path in paths if path.name != "__main__.py")


def test_the_root_imports_nothing_heavy():
    assert not imported_after("import keras_concurrent").intersection((*HEAVY, "numpy", "zenoh"))


def test_a_board_needs_neither_tensorflow_nor_networkx():
    paths = [path for path in files(*ON_A_BOARD) if path.stem not in ("demo", "tables")]
    assert len(paths) > 30
    assert not imported_after(importing(paths)).intersection(HEAVY)


def test_everything_but_the_keras_side_works_without_tensorflow():
    paths = set(files("**/*.py")) - set(files(*NEEDS_KERAS))
    screened = """
from keras_concurrent import Cluster
from keras_concurrent.search import Space, screen
screen(Space((8, 8, 1), 10), Cluster.of("pi4", 2), 5)
"""
    assert not imported_after(importing(sorted(paths)) + screened).intersection(KERAS)


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
    rooms = {path.stem for path in PACKAGE.iterdir()}
    for name in keras_concurrent.__all__:
        assert getattr(keras_concurrent, name) is not None
        assert name not in rooms
    assert dir(keras_concurrent) == sorted(keras_concurrent.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = keras_concurrent.nonsense


def test_every_module_says_what_it_is():
    for path in files("**/*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
    assert importlib.import_module("keras_concurrent.errors").__doc__
