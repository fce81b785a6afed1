"""A cluster's TOML text: its tables read and checked, and written."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from keras_concurrent.errors import ClusterError
from keras_concurrent.messaging import check_number
from keras_concurrent.versioned import FileKind

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - Python 3.10
    import tomli as tomllib

FILE = FileKind("a cluster", 1, "describe it anew, see docs/boards.md", ClusterError)


def read_tables(path: str | Path) -> dict[str, Any]:
    """The tables ``network``, ``client``, ``board`` and ``link``; the last two are lists.

    Without a ``client`` it is ``None``.

    A file of a time when the network said what software adds to a message is understood: half of it
    is each end's.

    Raises:
        ClusterError: the file cannot be read, is of another version, or has other tables.
    """
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ClusterError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClusterError(f"{path} is no TOML file: {error}") from error
    data = FILE.content(data, path)
    network, client = data.pop("network", None), data.pop("client", None)
    tables = {key: data.pop(key, []) for key in ("board", "link")}
    if data:
        raise ClusterError(
            f"{path}: expected the keys schema_version, network, client, board and link, "
            f"got {', '.join(sorted(data))}"
        )
    if network is None:
        raise ClusterError(f"{path}: a cluster must have a [network], got none")
    for key, listed in tables.items():
        if not isinstance(listed, list):
            raise ClusterError(f"{path}: {key}s are written [[{key}]], with two brackets; got one")
    found = {"network": network, "client": client, **tables}
    _share_message_ms(found, path)
    return found


def _share_message_ms(tables: dict[str, Any], path: str | Path) -> None:
    """Move an old file's ``message_ms`` of the network to both ends of each message."""
    network = tables["network"]
    if not (isinstance(network, dict) and "message_ms" in network):
        return
    client = tables["client"] = {} if tables["client"] is None else tables["client"]
    message_ms = network.pop("message_ms")
    check_number("network", "message_ms", message_ms, positive=False)
    warnings.warn(
        f"{path}: message_ms belongs to the boards and the client: each of a message's ends spends "
        f"it. Taking half of {message_ms:g} for each; keras-concurrent profile measures them",
        stacklevel=4,
    )
    for end in (each for each in (client, *tables["board"]) if isinstance(each, dict)):
        end.setdefault("message_ms", message_ms / 2)


def built(kind: Any, where: str, data: object) -> Any:
    """A dataclass from its table.

    Raises:
        ClusterError: no table, or an unknown or missing key; names it.
    """
    if not isinstance(data, dict):
        raise ClusterError(f"{where} must be a table, got {data!r}")
    known = {field.name for field in fields(kind)}
    unknown = sorted(set(data) - known)
    if unknown:
        raise ClusterError(
            f"{where} has the unknown key {unknown[0]!r}; it takes {', '.join(sorted(known))}"
        )
    try:
        return kind(**data)
    except TypeError as error:
        missing = sorted(
            f.name for f in fields(kind) if f.default is MISSING and f.name not in data
        )
        raise ClusterError(f"{where} lacks {', '.join(missing)}") from error


def lines_of(value: Any) -> list[str]:
    """A dataclass as the lines of its table."""

    def text(item: object) -> str:
        return json.dumps(item) if isinstance(item, (str, tuple)) else f"{item}"

    values = ((field.name, getattr(value, field.name)) for field in fields(value))
    return [f"{name} = {text(item)}" for name, item in values if item is not None]
