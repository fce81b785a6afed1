"""What was asked of a search: all that a process needs to take part in it or to go on with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from keras_concurrent import datasets
from keras_concurrent.cluster import Cluster
from keras_concurrent.files import write_beside
from keras_concurrent.recipe import Recipe
from keras_concurrent.search.limits import Limit, limits_of
from keras_concurrent.search.space import Space
from keras_concurrent.versioned import FileKind

TUNERS = ("random", "hyperband", "bayesian", "grid", "optuna")
_FILE = "search.json"
_CLUSTER = "cluster.toml"
_KIND = FileKind("a search", 2, "begin another in a folder of its own")


@dataclass(frozen=True)
class Settings:
    """A search.

    Args:
        cluster: the boards.
        data: a name or a path for `keras_concurrent.datasets.load`.
        size: side of an image in pixels, where the data set lets one choose.
        resize: how a folder's pictures are brought to it.
        images: use at most so many training images, each class in its share.
        tuner: one of ``TUNERS``.
        trials: how many; Hyperband finds its number itself.
        recipe: how each trial trains, but for optimiser and rate, which are the candidate's; with
            Hyperband ``epochs`` is of the longest.
        final_epochs: how long the chosen network is trained anew, on all training images, before it
            is exported; 0 exports it as its trial left it.
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
    resize: str = "stretch"
    images: int | None = None
    tuner: str = "random"
    trials: int = 20
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=5))
    final_epochs: int = 20
    limits: tuple[str, ...] = ()
    samples: int = 10_000
    seed: int = 0
    space: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tuner not in TUNERS:
            raise ValueError(f"tuner must be one of {', '.join(TUNERS)}, got {self.tuner!r}")
        for name, least in (
            ("trials", 1), ("final_epochs", 0), ("samples", 0), ("seed", 0),
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

    @property
    def dataset(self) -> datasets.Dataset:
        """The images, read once."""
        return self.loaded()

    def loaded(
        self, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> datasets.Dataset:
        """The images, read once.

        Args:
            progress: is told how many pictures of a folder are read, and of how many.
        """
        if "_loaded" not in self.__dict__:
            loaded = datasets.load(self.data, self.size, resize=self.resize, progress=progress)
            if self.images is not None:
                loaded = loaded.fewer(self.images, self.seed)
            self.__dict__["_loaded"] = loaded
        return self.__dict__["_loaded"]  # type: ignore[no-any-return] # it was put there above

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
        told["recipe"] = asdict(self.recipe)
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
            recipe = Recipe(**told.pop("recipe"))
            return cls(Cluster.read(folder / _CLUSTER), limits=limits, recipe=recipe, **told)
        except FileNotFoundError:
            raise ValueError(f"{folder} must be a search's folder, with a {_FILE}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no search: {error}") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Settings):
            return NotImplemented
        return json.dumps(asdict(self)) == json.dumps(asdict(other))

    __hash__ = None  # type: ignore[assignment] # it holds dictionaries
