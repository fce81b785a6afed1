"""What the README tells a reader to type."""

import re
import shlex
from pathlib import Path

import pytest

from keras_concurrent.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands():
    """The lines of the README that begin with ``$ keras-concurrent``, continuations joined."""
    joined = README.replace("\\\n", " ")
    return re.findall(r"^\$ (keras-concurrent .*)$", joined, re.MULTILINE)


def test_the_pipeline_is_the_example_in_at_most_15_lines():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert (ROOT / "examples" / "pipeline.py").read_text(encoding="utf-8").endswith(code)
    assert len([line for line in code.splitlines() if line]) <= 15


def test_the_whole_path_is_shown_on_the_command_line():
    shown = [shlex.split(line)[1] for line in commands()]
    assert shown == ["generate", "score", "train", "plan", "export", "bench", "report"]


@pytest.mark.parametrize("line", commands())
def test_commands_and_their_options_exist(line):
    name, *arguments = shlex.split(line)[1:]
    command = main.commands[name]
    context = command.context_class(command, info_name=name)
    command.make_parser(context).parse_args(arguments)  # raises on an unknown option


def test_files_the_readme_shows_are_there():
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        path, _, section = target.partition("#")
        assert (ROOT / path).exists(), target
        if section:
            headings = re.findall(r"^#+ (.*)$", (ROOT / path).read_text("utf-8"), re.MULTILINE)
            assert section in {heading.lower().replace(" ", "-") for heading in headings}, target
