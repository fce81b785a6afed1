"""What may be imported where: walls by folder, proved by reading imports and in fresh processes."""

import ast
import importlib
import subprocess
import sys
import time
from pathlib import Path

import networkx as nx
import pytest

import keras_concurrent

PACKAGE = Path(keras_concurrent.__file__).parent
NEEDS_KERAS = (
    "layers.py", "joining.py", "branches.py", "models.py", "convert.py", "training/*.py",
    "search/tuning/*.py",
)  # fmt: skip
ON_A_BOARD = ("edge/**/*.py", "cli/*.py")
# What each wing may import beside itself. The root's light modules are open to all; its Keras side
# (see NEEDS_KERAS) is a wing of its own here. Imports inside functions count as well.
MAY_IMPORT = {
    "light": (),
    "planning": (),
    "datasets": ("edge",),  # a picture is read for training as a board's client reads it
    "edge": (),
    "edge.link": ("edge",),
    "edge.board": ("edge", "edge.link"),
    "edge.client": ("edge", "edge.link"),
    "edge.litert": ("edge", "edge.link", "edge.client"),
    "edge.testbed": ("edge", "edge.link", "edge.board", "edge.client"),
    "edge.watch": ("edge", "edge.link", "edge.client", "edge.testbed"),
    "serve": ("edge", "edge.link", "edge.client", "edge.watch"),
    "networks": ("planning",),
    "tflite": ("planning",),
    "tflite.strips": ("planning", "tflite"),
    "scoring": ("planning", "networks"),
    "keras": ("networks", "tflite"),
    "training": ("datasets", "edge"),
    "wire": ("planning", "tflite", "datasets", "edge"),
    "measured": ("planning", "tflite", "edge"),
    "export": (
        "keras", "planning", "tflite", "tflite.strips", "wire", "measured", "datasets", "edge",
    ),
    "report": ("planning", "networks", "scoring", "edge", "edge.watch"),
    "search": ("planning", "networks", "scoring", "datasets", "report"),
    "search.tuning": (
        "search", "keras", "training", "planning", "networks", "tflite", "export", "edge",
        "datasets",
    ),
}  # fmt: skip
PLANNING_NEEDS = {
    f"keras_concurrent.{room}" for room in ("board", "cluster", "errors", "versioned")
}
KERAS = ("tensorflow", "keras", "keras_tuner")
HEAVY = (*KERAS, "mtkahypar", "matplotlib", "numba", "networkx", "flatbuffers")


def files(*globs):
    """The modules' files that any of the globs meets."""
    return sorted({path for glob in globs for path in PACKAGE.glob(glob)})


def name_of(path):
    """A module's dotted name by its file."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(("keras_concurrent", *(part for part in parts if part != "__init__")))


def wing_of(name):
    """The wing of a module, by its dotted name; "light" and "keras" are parts of the root."""
    parts = name.split(".")[1:]
    folders = parts if (PACKAGE / "/".join(parts)).is_dir() else parts[:-1]
    if folders:
        return ".".join(folders)
    return "keras" if parts and PACKAGE / f"{parts[0]}.py" in files(*NEEDS_KERAS) else "light"


def imports_of(path):
    """The modules of this package that a file imports, inside functions too but not for types."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE.name:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = PACKAGE.joinpath(*inner.split(".")[1:]).with_suffix(".py").exists()
                yield inner if is_module else node.module
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == PACKAGE.name)


MODULES = {
    name_of(path): sorted(set(imports_of(path)) - {name_of(path)})
    for path in files("**/*.py")
    if path.stem not in ("__init__", "__main__")
}


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


def test_every_wing_imports_only_what_it_may():
    wrong = [
        f"{name} imports {other}"
        for name, others in MODULES.items()
        for other in others
        if wing_of(name) != "cli"  # which may call everything
        and wing_of(other) not in ("light", wing_of(name), *MAY_IMPORT[wing_of(name)])
    ]
    assert not wrong


def test_planning_knows_boards_clusters_and_errors_alone():
    for name, others in MODULES.items():
        if wing_of(name) == "planning":
            assert PLANNING_NEEDS.issuperset(o for o in others if wing_of(o) != "planning"), name


def test_no_module_imports_itself_by_way_of_others():
    graph = nx.DiGraph((name, other) for name, others in MODULES.items() for other in others)
    assert list(nx.simple_cycles(graph)) == []


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
