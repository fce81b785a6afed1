"""Files with a schema version: one key, one check, one sentence for a file of another version.

What the keys of a file mean may change with the package. So each file says in ``schema_version``
whose meaning it has, and a reader looks there before it looks at anything else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERSION_KEY = "schema_version"


@dataclass(frozen=True)
class FileKind:
    """A kind of file, and the version of its schema that this package reads and writes.

    Args:
        name: with its article, as errors say it: ``"a cluster file"``.
        version: the schema's; 1 or more.
        remedy: what to do about a file of another version: ``"export the model anew"``.
        error: class of the error that says so.
        reads: older versions whose keys mean the same, though newer ones are missing.
    """

    name: str
    version: int
    remedy: str
    error: type[Exception] = ValueError
    reads: tuple[int, ...] = ()

    def to_json(self, content: Mapping[str, Any]) -> str:
        """The text of a JSON file: its version, then its keys."""
        return json.dumps({VERSION_KEY: self.version, **content}, indent=1) + "\n"

    def to_toml_line(self) -> str:
        """The first line of a TOML file."""
        return f"{VERSION_KEY} = {self.version}"

    def content(self, data: object, path: str | Path | None = None) -> dict[str, Any]:
        """A file's keys and values without its version.

        Args:
            data: what the file was parsed to.
            path: of the file, for the message of the error.

        Raises:
            Exception: ``error``, where it holds something else than keys and values, or has no
                version or another one.
        """
        what = self.name if path is None else f"{path}: {self.name}"
        if not isinstance(data, dict):
            raise self.error(f"{what} must hold keys and values, got {type(data).__name__}")
        version = data.get(VERSION_KEY)
        if type(version) is not int or version not in (self.version, *self.reads):  # True is no 1
            raise self.error(
                f"{what} must have {VERSION_KEY} {self.version}, got {version!r}: {self.remedy}"
            )
        return {key: value for key, value in data.items() if key != VERSION_KEY}
