"""The networks of `score_study`: drawn, scored and planned in every setting."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from keras_concurrent import Cluster, TaskGraph, concurrency_score, generate, stage
from keras_concurrent.board import Board
from keras_concurrent.cli.console import progress_bars
from keras_concurrent.network import Network
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.schedule import schedule
from keras_concurrent.scoring.concurrency import eta
from keras_concurrent.scoring.efficiency import efficiency, scheduled_efficiency

WIRINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "ER": ("ER", {}),
    "ER, p=0.1": ("ER", {"p": 0.1}),
    "BA": ("BA", {}),
    "BA, m=2": ("BA", {"m": 2}),
    "WS": ("WS", {}),
    "DP": ("DP", {}),
    "lanes": ("lanes", {}),
    "FB": ("FB", {}),
}
STAGED = "FB"
VERTICES, SHAPE, CHANNELS, CLASSES = 50, (32, 32, 3), 78, 10
UNIT_BYTES = 4 * 32 * 32 * CHANNELS  # U_c, the same for all: no rank depends on it
LINKS = {  # Mbit/s, ms on the wire
    "1gbit": (1000.0, 0.2),
    "100mbit": (100.0, 0.5),
    "54mbit": (54.0, 2.0),
}
FEW, MANY = 300, 60_000  # evaluations: of a score, and of the best plan found
DECIMALS = 2  # of a speed-up: closer ones are equal, for the search is not more exact


@dataclass(frozen=True)
class Setting:
    """A cluster of equal boards.

    Args:
        boards: how many.
        link: one of ``LINKS``.
        gflops_per_s: of each board.
    """

    boards: int
    link: str
    gflops_per_s: float

    def cluster(self) -> Cluster:
        """The boards and their network."""
        bandwidth, latency = LINKS[self.link]
        boards = tuple(
            Board(f"board-{i}", self.gflops_per_s, f"tcp/127.0.0.1:{7446 + i}", call_ms=0.0)
            for i in range(1, self.boards + 1)
        )
        return Cluster(boards, Network(bandwidth_mbit_per_s=bandwidth, latency_ms=latency))


@dataclass(frozen=True)
class Staging:
    """What candidates that are compared with each other share.

    Args:
        convolution: ``"dense"`` or ``"separable"``.
        how: ``"uniform"`` or ``"probabilistic"``.
    """

    convolution: str
    how: str


SHOWN = Setting(4, "100mbit", 3.0)  # in the picture, with the first staging
SETTINGS = tuple(Setting(*s) for s in itertools.product((2, 4, 8), LINKS, (3.0, 10.0)))
STAGINGS = tuple(
    Staging(*s) for s in itertools.product(("dense", "separable"), ("probabilistic", "uniform"))
)


@dataclass(frozen=True)
class Candidate:
    """A network.

    Args:
        wiring: one of ``WIRINGS``.
        staging: one of ``STAGINGS``.
        seed: of its graph and staging.
    """

    wiring: str
    staging: Staging
    seed: int

    def graph(self) -> TaskGraph:
        """Its tasks, one a vertex."""
        kind, parameters = WIRINGS[self.wiring]
        architecture = stage(
            generate(kind, VERTICES, seed=self.seed, **parameters),
            SHAPE,
            CLASSES,
            staging=self.staging.how,
            filters=CHANNELS,
            channel_cap=CHANNELS if self.staging.how == "uniform" else 4 * CHANNELS,
            separable=self.staging.convolution == "separable",
            seed=self.seed,
        )
        return TaskGraph.from_architecture(architecture)


@dataclass(frozen=True)
class Sample:
    """A candidate in a setting.

    Args:
        predictions: what each of ``PREDICTORS`` says.
        one_board_s: latency on one of the boards.
        best_s: the least latency found.
    """

    candidate: Candidate
    setting: Setting
    predictions: Mapping[str, float]
    one_board_s: float
    best_s: float

    @property
    def speed_up(self) -> float:
        """How many times sooner the best plan is than one board, rounded to ``DECIMALS``."""
        return round(self.one_board_s / self.best_s, DECIMALS)


CS, ETA = "concurrency score (paper)", "eta alone"
LISTED, SEARCHED = "efficiency, portfolio", f"efficiency, {FEW} evaluations"
# By name, whether more of it is better. What the last two predict is latency.
SCORES = {CS: False, ETA: False, LISTED: True, SEARCHED: True}
PREDICTORS = SCORES | {"latency, portfolio": False, "FLOPs": False}


def measure(candidate: Candidate, settings: Sequence[Setting], evaluations: int) -> list[Sample]:
    """One sample a setting."""
    graph = candidate.graph()
    scores = {
        boards: concurrency_score(graph, boards, unit_bytes=UNIT_BYTES).best.concurrency_score
        for boards in dict.fromkeys(setting.boards for setting in settings)
    }
    found = []
    for setting in settings:
        cluster = setting.cluster()
        listed = scheduled_efficiency(graph, cluster)
        searched = efficiency(schedule(graph, cluster, effort=Effort(FEW, seed=1)), cluster)
        best_s = schedule(graph, cluster, effort=Effort(evaluations, seed=0)).latency_s
        values = (
            scores[setting.boards], eta(graph, setting.boards), listed.rank, searched.rank,
            listed.latency_s, graph.flops,
        )  # fmt: skip
        predictions = dict(zip(PREDICTORS, values, strict=True))
        best_s = min(best_s, listed.latency_s, searched.latency_s)
        found.append(Sample(candidate, setting, predictions, listed.one_board_latency_s, best_s))
    return found


def measure_all(
    candidates: Sequence[Candidate], settings: Sequence[Setting], evaluations: int
) -> list[Sample]:
    """Measure on all cores; the result is in order and does not depend on their number."""
    found: list[Sample] = []
    with (
        progress_bars() as progress,
        ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool,
    ):
        bar = progress("candidates")
        jobs = (itertools.repeat(each) for each in (settings, evaluations))
        for done, samples in enumerate(pool.map(measure, candidates, *jobs), 1):
            found += samples
            bar(done, len(candidates))
    return found
