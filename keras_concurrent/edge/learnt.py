"""What a .keras file says of its classes and pictures, beside the model.

A ``.keras`` file is a zip archive; Keras reads the members that it knows. One more, of ours, tells
the classes' names and how pictures are prepared: they reach a bundle wherever the file goes.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

from keras_concurrent.edge.preprocessing import Preprocessing

_MEMBER = "keras_concurrent.json"


@dataclass(frozen=True)
class Learnt:
    """What a model was trained to tell apart, and on what.

    Args:
        class_names: by class, in the order of the model's output.
        preprocessing: how a picture becomes what it takes.
    """

    class_names: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None


def write_learnt(path: Path, learnt: Learnt) -> None:
    """Add to a .keras file."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_MEMBER, json.dumps(asdict(learnt)))


def read_learnt(path: Path) -> Learnt:
    """What a .keras file says; nothing where another program saved it.

    Raises:
        ValueError: no zip archive, or a member that says something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if _MEMBER not in archive.namelist():
                return Learnt()
            told = json.loads(archive.read(_MEMBER))
        how = told["preprocessing"]
        if how is not None:
            lists = {name: tuple(how[name]) for name in ("mean", "deviation")}
            how = Preprocessing(**(how | lists))
        return Learnt(tuple(map(str, told["class_names"])), how)
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged, or of another version: {error}") from error
