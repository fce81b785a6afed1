"""264 networks on described clusters: what placement is measured on.

Every one of 24 settings (boards, link, speed of a board) has 11 networks of 50 to 54 vertices, each
drawn for it alone, in turn of every kind, convolution and staging. A block has 78 channels at 32x32
pixels: 0.32 MB a tensor, 14 MFLOP separable, 112 MFLOP dense.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from keras_concurrent import Cluster, TaskGraph, generate, stage
from keras_concurrent.board import Board
from keras_concurrent.network import ClientComputer, Network

KINDS = ("ER", "BA", "WS", "DP", "lanes", "FB")
CONVOLUTIONS = ("dense", "separable")
STAGINGS = ("uniform", "staged")  # staged: probabilistic, or for FB at its merges
BOARDS = (2, 4, 8)
LINKS = {  # Mbit/s, ms on the wire
    "1gbit": (1000.0, 0.2),
    "100mbit": (100.0, 0.5),
    "54mbit": (54.0, 2.0),
    "54mbit-wifi": (54.0, 2.0),  # one medium for all
}
GFLOPS_PER_S = (3.0, 10.0)
PER_SETTING = 11
_SOFTWARE_MS = 0.4
SHAPE, CHANNELS, CLASSES = (32, 32, 3), 78, 10


@dataclass(frozen=True)
class Setting:
    """A cluster of equal boards, the first at port 7447.

    Args:
        boards: how many.
        link: one of ``LINKS``.
        gflops_per_s: of each board.
    """

    boards: int
    link: str
    gflops_per_s: float

    def cluster(self) -> Cluster:
        """The boards and their network; calls cost nothing, and messages no processor.

        The schedulers of textbooks know of neither, nor can CP-SAT prove much about the latter.
        What software adds to a message is latency here.
        """
        bandwidth, latency = LINKS[self.link]
        boards = tuple(
            Board(
                f"board-{i}", self.gflops_per_s, f"tcp/127.0.0.1:{7446 + i}", call_ms=0.0,
                message_ms=0.0,
            )
            for i in range(1, self.boards + 1)
        )  # fmt: skip
        medium = "shared" if self.link.endswith("wifi") else "switch"
        return Cluster(
            boards,
            Network(bandwidth, latency + _SOFTWARE_MS, medium),
            client=ClientComputer(0, None),
        )


SETTINGS = tuple(Setting(*each) for each in itertools.product(BOARDS, LINKS, GFLOPS_PER_S))


@dataclass(frozen=True)
class Instance:
    """A network on a cluster.

    Args:
        number: from 0; also the seed of the network.
        setting: the cluster.
        kind: one of ``KINDS``.
        convolution: one of ``CONVOLUTIONS``.
        staging: one of ``STAGINGS``.
        vertices: of the graph.
    """

    number: int
    setting: Setting
    kind: str
    convolution: str
    staging: str
    vertices: int

    @property
    def name(self) -> str:
        """Such as ``"017 WS dense uniform, 2 x 10 GFLOP/s, 1gbit"``."""
        s = self.setting
        return (
            f"{self.number:03d} {self.kind} {self.convolution} {self.staging}, "
            f"{s.boards} x {s.gflops_per_s:g} GFLOP/s, {s.link}"
        )

    def graph(self) -> TaskGraph:
        """The network's tasks, one a vertex."""
        return draw(self.kind, self.convolution, self.staging, self.vertices, self.number)


def draw(kind: str, convolution: str, staging: str, vertices: int, seed: int) -> TaskGraph:
    """A network's tasks, one a vertex; see `Instance`."""
    varying = "merges" if kind == "FB" else "probabilistic"
    return TaskGraph.from_architecture(
        stage(
            generate(kind, vertices, seed=seed),
            SHAPE,
            CLASSES,
            staging=varying if staging == "staged" else "uniform",
            filters=CHANNELS,
            channel_cap=4 * CHANNELS if staging == "staged" else CHANNELS,
            separable=convolution == "separable",
            seed=seed,
        )
    )


def instances() -> Iterator[Instance]:
    """All of them, setting by setting."""
    networks = list(itertools.product(STAGINGS, CONVOLUTIONS, KINDS))
    for number in range(PER_SETTING * len(SETTINGS)):
        staging, convolution, kind = networks[number % len(networks)]
        setting = SETTINGS[number // PER_SETTING]
        yield Instance(number, setting, kind, convolution, staging, 50 + number % 5)
