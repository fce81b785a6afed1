"""What was asked of a search: all that a process needs to take part in it or to go on with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from keras_concurrent import datasets
from keras_concurrent.cluster import Cluster
from keras_concurrent.files import write_beside
from keras_concurrent.search.limits import Limit, limits_of
from keras_concurrent.search.space import Space
from keras_concurrent.versioned import FileKind

TUNERS = ("random", "hyperband", "bayesian", "grid", "optuna")
_FILE = "search.json"
_CLUSTER = "cluster.toml"
_KIND = FileKind("a search", 1, "begin another in a folder of its own")


@dataclass(frozen=True)
class Settings:
    """A search.

    Args:
        cluster: the boards.
        data: a name for `keras_concurrent.datasets.load`, or a ``.npz`` file, see `load_data`.
        size: side of an image in pixels, where the data set lets one choose.
        images: use at most so many training images.
        tuner: one of ``TUNERS``.
        trials: how many; Hyperband finds its number itself.
        epochs: how long each trial trains; with Hyperband, the longest.
        batch_size: images a step.
        limits: such as ``"latency_s <= 0.03"``.
        samples: candidates to be screened before training; 0 leaves the screening out.
        seed: what all draws come from: candidates, first weights, orders of images.
        space: arguments of `keras_concurrent.search.space.Space` that are not its defaults.

    Raises:
        ValueError: a value out of range.
    """

    cluster: Cluster
    data: str = "photos"
    size: int | None = None
    images: int | None = None
    tuner: str = "random"
    trials: int = 20
    epochs: int = 5
    batch_size: int = 32
    limits: tuple[str, ...] = ()
    samples: int = 10_000
    seed: int = 0
    space: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tuner not in TUNERS:
            raise ValueError(f"tuner must be one of {', '.join(TUNERS)}, got {self.tuner!r}")
        for name, least in (
            ("trials", 1), ("epochs", 1), ("batch_size", 1), ("samples", 0), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)!r}")
        if self.images is not None and self.images < 10:
            raise ValueError(f"images must be at least 10, got {self.images!r}")
        _ = self.parsed_limits

    @cached_property
    def parsed_limits(self) -> tuple[Limit, ...]:
        """The limits."""
        return limits_of(self.limits)

    @cached_property
    def dataset(self) -> datasets.Dataset:
        """The images."""
        loaded = load_data(self.data, self.size)
        if self.images is None:
            return loaded
        kept = slice(self.images)
        return datasets.Dataset(
            loaded.name, loaded.train_images[kept], loaded.train_labels[kept], loaded.test_images,
            loaded.test_labels, loaded.class_names, loaded.note,
        )  # fmt: skip

    def searched(self) -> Space:
        """The space for the images."""
        lists: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self.space.items()
        }
        return Space(self.dataset.image_shape, self.dataset.classes, **lists)

    def write(self, folder: Path) -> None:
        """Write them into a search's folder."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "cluster"}
        write_beside(folder / _CLUSTER, self.cluster.to_toml().encode())
        write_beside(folder / _FILE, _KIND.to_json(told).encode())

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """Read what `write` wrote.

        Raises:
            ValueError: the folder holds no search, or one of another schema version.
        """
        path = folder / _FILE
        try:
            told = _KIND.content(json.loads(path.read_text(encoding="utf-8")))
            limits = tuple(told.pop("limits"))
            return cls(Cluster.read(folder / _CLUSTER), limits=limits, **told)
        except FileNotFoundError:
            raise ValueError(f"{folder} must be a search's folder, with a {_FILE}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no search: {error}") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Settings):
            return NotImplemented
        return json.dumps(asdict(self)) == json.dumps(asdict(other))

    __hash__ = None  # type: ignore[assignment] # it holds dictionaries


def load_data(name: str, size: int | None = None) -> datasets.Dataset:
    """A data set by its name, or from a ``.npz`` file of one's own.

    The file holds ``train_images`` and ``test_images`` (n, height, width, channels; float32 in
    0..1, or bytes), ``train_labels`` and ``test_labels`` (n; whole numbers from 0), and may hold
    ``class_names``.

    Raises:
        ValueError: an unknown name, or a file that lacks something.
    """
    if not name.endswith(".npz"):
        return datasets.load(name, size=size)
    try:
        opened = np.load(name, allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise ValueError(f"{name} is not an .npz file of arrays: {error}") from error
    with opened as file:
        wanted = ("train_images", "train_labels", "test_images", "test_labels")
        lacking = [key for key in wanted if key not in file]
        if lacking:
            raise ValueError(f"{name} must hold {', '.join(wanted)}; it lacks {', '.join(lacking)}")
        arrays = {key: file[key] for key in wanted}
        classes = int(max(arrays["train_labels"].max(), arrays["test_labels"].max())) + 1
        names = tuple(map(str, file["class_names"] if "class_names" in file else range(classes)))
    for part in ("train", "test"):
        images = arrays[f"{part}_images"]
        scale = 255.0 if images.dtype == np.uint8 else 1.0
        arrays[f"{part}_images"] = (images / scale).astype(np.float32)
        arrays[f"{part}_labels"] = arrays[f"{part}_labels"].astype(np.int32)
    return datasets.Dataset(name=name, class_names=names, note=f"from {name}", **arrays)
