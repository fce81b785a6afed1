"""Whatever is not installed, the error names the extra that has it."""

import ast
import configparser
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import keras_concurrent
from keras_concurrent.errors import MissingExtraError
from keras_concurrent.extras import EXTRA_OF, named

ROOT = Path(__file__).parent.parent
OF_ALL = {"click", "numpy", "rich", "tomli"}
BROUGHT_ALONG = {"grpc", "markupsafe", "PIL"}  # by tensorboard, jinja2 and matplotlib


def imported():
    """The top-level packages that the package's modules import."""
    for path in Path(keras_concurrent.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split(".")[0]


def test_every_package_that_is_imported_has_its_extra():
    others = set(imported()) - set(sys.stdlib_module_names) - {"keras_concurrent"} - OF_ALL
    assert others - EXTRA_OF.keys() == set()


@pytest.mark.parametrize("package", sorted(EXTRA_OF.keys() - BROUGHT_ALONG))
def test_an_extra_installs_what_it_is_named_for(package):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    wanted = setup["options.extras_require"][EXTRA_OF[package]].split("\n")
    names = {re.split(r"[ ;<>=]", line)[0].lower() for line in wanted if line}
    spelt = package.replace("_", "-")  # where nothing tells: not installed, or without a record
    found = [*packages_distributions().get(package, []), spelt]
    assert names.intersection(name.lower().replace("_", "-") for name in found)


def test_a_package_that_no_extra_has_is_left_as_it_is():
    error = ModuleNotFoundError("No module named 'nowhere'", name="nowhere")
    assert named(error) is error
    assert isinstance(named(ModuleNotFoundError(name="networkx.algorithms")), MissingExtraError)


@pytest.mark.parametrize(
    ("missing", "code", "extra"),
    [
        ("networkx", "cli.main(['generate', '--vertices', '8', '--out', 'n.json'])", "design"),
        ("flatbuffers", "cli.main(['testbed', '--boards', '2', '--', 'true'])", "design"),
        ("networkx", "keras_concurrent.generate", "design"),
        ("jinja2", "keras_concurrent.write_report", "report"),
    ],
)
def test_a_command_and_a_name_of_the_package_say_what_to_install(missing, code, extra, tmp_path):
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"import keras_concurrent\nfrom keras_concurrent import cli\n{code}"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 1
    assert f"pip install 'keras-concurrent[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr or "cli" not in code
