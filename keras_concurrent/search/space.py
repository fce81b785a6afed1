"""The space that is searched: which networks there are, as few named parameters.

A candidate is a dictionary of values, one for each parameter that applies to it:

==================== ============================================================================
``image``            the image's shape, ``"32x32x3"``; always the same
``classes``          the number of classes; always the same
``kind``             the generator, see `keras_concurrent.networks.generators`
``DP_beta``, ...     the generator's parameters, ``KIND_NAME``; only with that kind
``vertices``         of the graph
``graph_seed``       of the graph and of the staging
``staging``          see `keras_concurrent.networks.staging`
``halving``          the chance that a block halves the resolution; only probabilistic staging
``filters``          channels of the first blocks
``channel_cap``      where channels stop growing
``block``            what a vertex is, see `keras_concurrent.networks.convolutions`; the paper's
                     where it is not said
``plain_depth``, ... convolutions a vertex, ``BLOCK_depth``; only with that block
``convolution``      ``"separable"`` or ``"dense"``; only with the paper's block
``optimizer``        ``"adam"`` or ``"sgd"``
``adam_rate``, ...   its learning rate; only with that optimiser
==================== ============================================================================

The values say all that there is to say about a network: `architecture_of` needs nothing else, so
a record of a trial is enough to build its network again, on any machine.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from keras_concurrent.networks.architecture import Architecture
from keras_concurrent.networks.block_work import Shape
from keras_concurrent.networks.convolutions import BLOCKS
from keras_concurrent.networks.generators import KINDS, defaults, generate
from keras_concurrent.networks.staging import STAGINGS, stage
from keras_concurrent.recipe import OPTIMIZERS
from keras_concurrent.search.parameters import Choice, Parameter, Real, Value, Whole

Values: TypeAlias = Mapping[str, Value]

CONVOLUTIONS = ("separable", "dense")

_WIRING: dict[str, dict[str, tuple[Value, ...]]] = {
    "ER": {"p": (0.05, 0.1, 0.2)},
    "BA": {"m": (1, 2, 5)},
    "WS": {"k": (2, 4), "p": (0.25, 0.75)},
    "DP": {"beta": (1.25, 1.0, 1.5, 2.0)},
    "FB": {"k": (4, 2), "p": (0.75, 0.25)},
    "lanes": {"lanes": (4, 8), "degree": (1.3, 1.0, 2.0)},
    "chain": {},
    "branches": {"branches": (4, 2, 8)},
}
_RATES = {"adam": (1e-3, 1e-2), "sgd": (1e-2, 3e-1)}


@dataclass(frozen=True)
class Space:
    """All networks that a search may look at. The first of each tuple is the default.

    Args:
        image_shape: height, width, channels of the image.
        classes: number of classes.
        kinds: generators.
        vertices: sizes of the graphs.
        graph_seeds: how many different graphs there are of each kind, size and parameters.
        stagings: all but ``"merges"``, which only FB has.
        halvings: chances for probabilistic staging.
        filters: channels of the first blocks.
        channel_caps: none below any of ``filters``.
        convolutions: some of ``CONVOLUTIONS``, of the paper's block.
        blocks: some of `keras_concurrent.networks.convolutions.BLOCKS`.
        depths: numbers of convolutions a vertex, but for the paper's block, which has one.
        optimizers: some of ``OPTIMIZERS``.
        rates: smallest and largest learning rate by optimiser; others have their defaults.
        wiring: values of generators' parameters, by kind and name; kinds that are not in it have
            those of their defaults with which the smallest graph exists.

    Raises:
        ValueError: an empty or unknown choice, or a combination that no network has.
    """

    image_shape: Shape
    classes: int
    kinds: tuple[str, ...] = ("DP", "lanes", "ER", "WS", "BA")
    vertices: tuple[int, ...] = (16, 12, 24, 32)
    graph_seeds: int = 1000
    stagings: tuple[str, ...] = ("probabilistic", "greedy")
    halvings: tuple[float, ...] = (0.5, 0.25, 0.75)
    filters: tuple[int, ...] = (16, 8, 24, 32)
    channel_caps: tuple[int, ...] = (64, 32, 128)
    convolutions: tuple[str, ...] = ("separable", "dense")
    blocks: tuple[str, ...] = ("paper",)
    depths: tuple[int, ...] = (2, 1)
    optimizers: tuple[str, ...] = ("adam",)
    rates: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    wiring: Mapping[str, Mapping[str, Sequence[Value]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_names()
        _check(self.graph_seeds >= 1, "graph_seeds", "at least 1", self.graph_seeds)
        _check(min(self.depths) >= 1, "depths", "at least 1", self.depths)
        least = min(self.channel_caps)
        _check(max(self.filters) <= least, "filters", f"at most {least}, a cap", self.filters)
        for name, (low, high) in self._rates.items():
            _check(0 < low < high, "rates", f"0 < low < high for {name}", (low, high))
        for kind in self.kinds:
            known = self._wiring(kind)
            least = min(self.vertices)
            for name, values in known.items():
                _check(len(values) > 0, f"{kind}'s {name}", f"wired with {least} vertices", values)
            for chosen in itertools.product(*known.values()):
                wiring = dict(zip(known, chosen, strict=True))
                _check(self._has(kind, wiring), "wiring", f"possible with {least} vertices",
                       {kind: wiring})  # fmt: skip
        architecture_of(self.defaults())

    def _check_names(self) -> None:
        for name, known in (
            ("kinds", KINDS),
            ("stagings", tuple(s for s in STAGINGS if s != "merges")),
            ("convolutions", CONVOLUTIONS),
            ("blocks", BLOCKS),
            ("optimizers", OPTIMIZERS),
            ("vertices", None),
            ("halvings", None),
            ("filters", None),
            ("channel_caps", None),
            ("depths", None),
        ):
            chosen = getattr(self, name)
            _check(len(chosen) > 0, name, "at least one value", chosen)
            _check(len(set(chosen)) == len(chosen), name, "different values", chosen)
            if known is not None:
                _check(set(chosen) <= set(known), name, f"some of {', '.join(known)}", chosen)
        for kind, values in self.wiring.items():
            _check(kind in KINDS, "wiring", f"kinds of {', '.join(KINDS)}", kind)
            _check(set(values) <= set(defaults(kind)), f"wiring of {kind}",
                   f"some of {', '.join(defaults(kind))}", tuple(values))  # fmt: skip
        _check(set(self.rates) <= set(OPTIMIZERS), "rates", f"{', '.join(OPTIMIZERS)}", self.rates)

    def _wiring(self, kind: str) -> dict[str, tuple[Value, ...]]:
        if kind in self.wiring:
            return {name: tuple(values) for name, values in self.wiring[kind].items()}
        fitting: dict[str, tuple[Value, ...]] = {}
        for name, values in _WIRING[kind].items():
            others = {other: chosen[0] for other, chosen in fitting.items() if chosen}
            fitting[name] = tuple(v for v in values if self._has(kind, {**others, name: v}))
        return fitting

    def _has(self, kind: str, wiring: Mapping[str, Value]) -> bool:
        """Whether the smallest graph can be wired so: what it can be, all can."""
        try:
            generate(kind, min(self.vertices), seed=0, **wiring)
        except ValueError:
            return False
        return True

    @property
    def _rates(self) -> dict[str, tuple[float, float]]:
        return {name: tuple(self.rates.get(name, _RATES[name])) for name in self.optimizers}  # type: ignore[misc] # two of them

    @cached_property
    def fixed(self) -> dict[str, Value]:
        """What is the same for all candidates."""
        return {"image": "x".join(map(str, self.image_shape)), "classes": self.classes}

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters, each after the one that it depends on."""
        return (
            Choice("kind", self.kinds),
            *(
                Choice(f"{kind}_{name}", values, ("kind", kind))
                for kind in self.kinds
                for name, values in self._wiring(kind).items()
            ),
            Choice("vertices", self.vertices),
            Whole("graph_seed", 0, self.graph_seeds - 1),
            Choice("staging", self.stagings),
            *(
                [Choice("halving", self.halvings, ("staging", "probabilistic"))]
                if "probabilistic" in self.stagings
                else []
            ),
            Choice("filters", self.filters),
            Choice("channel_cap", self.channel_caps),
            *self._blocks,
            Choice("optimizer", self.optimizers),
            *(
                Real(f"{name}_rate", low, high, ("optimizer", name))
                for name, (low, high) in self._rates.items()
            ),
        )

    @property
    def _blocks(self) -> Iterator[Parameter]:
        """What a vertex is; of the paper's block alone only its convolution has to be chosen."""
        papers_alone = self.blocks == ("paper",)
        if not papers_alone:
            yield Choice("block", self.blocks)
        for block in self.blocks:
            when = None if papers_alone else ("block", block)
            if block == "paper":
                yield Choice("convolution", self.convolutions, when)
            else:
                yield Choice(f"{block}_depth", self.depths, when)

    def _applying(self, values: Values) -> Iterator[Parameter]:
        """The parameters that apply, as ``values`` grows."""
        for parameter in self.parameters:
            if parameter.when is None or values.get(parameter.when[0]) == parameter.when[1]:
                yield parameter

    def defaults(self) -> dict[str, Value]:
        """The default candidate."""
        values = dict(self.fixed)
        for parameter in self._applying(values):
            if isinstance(parameter, Choice):
                values[parameter.name] = parameter.values[0]
            else:
                values[parameter.name] = (
                    parameter.default if isinstance(parameter, Real) else parameter.low
                )
        return values

    def draw(self, seed: int, index: int = 0) -> dict[str, Value]:
        """A random candidate.

        Args:
            seed: names a series of candidates.
            index: which one of the series: the same on every machine, whoever draws the others.
        """
        rng = random.Random(f"{seed}:{index}")
        values = dict(self.fixed)
        for parameter in self._applying(values):
            values[parameter.name] = parameter.draw(rng)
        return values

    def with_usual_rate(self, values: Values) -> dict[str, Value]:
        """A candidate with its optimiser's default learning rate.

        Which network is best shows sooner where all learn at a rate that is known to do.
        """
        usual = {p.name: p.default for p in self.parameters if isinstance(p, Real)}
        return {name: usual.get(name, value) for name, value in values.items()}


def architecture_of(values: Values) -> Architecture:
    """The network of a candidate; see the module's table.

    Args:
        values: from `Space.draw`, a KerasTuner trial's ``hyperparameters.values``, or a line of a
            leaderboard. Names that are not in the table are ignored.

    Raises:
        ValueError: a value is missing or out of range.
    """
    try:
        kind = str(values["kind"])
        wiring = {
            name.removeprefix(f"{kind}_"): value
            for name, value in values.items()
            if name.startswith(f"{kind}_")
        }
        block = str(values.get("block", "paper"))
        usual = block != "paper"
        seed = int(values["graph_seed"])
        sides = [int(side) for side in str(values["image"]).split("x")]
        _check(len(sides) == 3, "image", "a shape such as 32x32x3", values["image"])
        return stage(
            generate(kind, int(values["vertices"]), seed=seed, **wiring),
            (sides[0], sides[1], sides[2]),
            int(values["classes"]),
            staging=str(values["staging"]),
            probability=float(values.get("halving", 0.5)),
            filters=int(values["filters"]),
            channel_cap=int(values["channel_cap"]),
            separable=usual or values["convolution"] == "separable",
            block=block,
            depth=int(values[f"{block}_depth"]) if usual else 1,
            seed=seed,
        )
    except KeyError as error:
        raise ValueError(f"a candidate must have a value for {error.args[0]!r}") from None


def _check(holds: bool, name: str, expected: str, got: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {expected}, got {got!r}")
