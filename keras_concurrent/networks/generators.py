"""Seeded random multi-chain graphs (paper, section III-A).

Every generator draws an undirected graph on the vertices ``0..N-1``; each edge is then directed
from the lower to the higher id, which makes a directed acyclic graph. One ``"source"`` feeds every
vertex without predecessors and one ``"sink"`` takes every vertex without successors; neither counts
among the N.

============ ===================================================================== =================
kind         rule                                                                  parameters
============ ===================================================================== =================
``ER``       each pair with probability ``p`` (Erdos-Renyi)                        ``p=0.2``
``BA``       each new vertex adds ``m`` edges, by degree (Barabasi-Albert)         ``m=5``
``WS``       ring of ``k`` nearest neighbours, rewired with probability ``p``      ``k=4, p=0.75``
             (Watts-Strogatz)
``DP``       the paper's own: an edge between vertices at ring distance ``d`` has  ``p=0.5, alpha=1,
             probability ``alpha * p ** (beta * d)`` (Eq. 1)                       beta=1.25``
``FB``       staged random wiring (Xie et al., ICCV 2019), the paper's baseline:   ``k=4, p=0.75,
             WS in each stage, everything merges between stages                    stages=4``
``lanes``    our own: vertices on a strip of depths and lanes; an edge towards     ``lanes=8,
             greater depth is likelier the nearer in depth and lane                degree=1.3,
                                                                                   decay=0.1``
``chain``    one chain, the usual network                                          none
``branches`` equal chains that never meet: as concurrent as a network can be       ``branches=4``
============ ===================================================================== =================

Example:
    >>> graph = generate("DP", 40, seed=1)
    >>> graph.graph["kind"], graph.number_of_nodes()
    ('DP', 42)
"""

from __future__ import annotations

import itertools
import math
import numbers
import random
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import networkx as nx
import numpy as np

SOURCE = "source"
SINK = "sink"

Edges = Iterable[tuple[int, int]]
Array = np.ndarray[Any, Any]


def _probability(name: str, value: float) -> float:
    if not isinstance(value, numbers.Real) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be a probability between 0 and 1, got {value!r}")
    return float(value)


def _count(name: str, value: int, low: int, high: int) -> int:
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")
    return int(value)


def _erdos_renyi(vertices: int, rng: random.Random, *, p: float = 0.2) -> Edges:
    return list(nx.gnp_random_graph(vertices, _probability("p", p), seed=rng).edges)


def _barabasi_albert(vertices: int, rng: random.Random, *, m: int = 5) -> Edges:
    m = _count("m", m, 1, vertices - 1)
    return list(nx.barabasi_albert_graph(vertices, m, seed=rng).edges)


def _watts_strogatz(vertices: int, rng: random.Random, *, k: int = 4, p: float = 0.75) -> Edges:
    k = _count("k", k, 2, vertices - 1)
    return list(nx.watts_strogatz_graph(vertices, k, _probability("p", p), seed=rng).edges)


def _distance_probability(
    vertices: int,
    rng: random.Random,
    *,
    p: float = 0.5,
    alpha: float = 1.0,
    beta: float = 1.25,
) -> Edges:
    _probability("p", p)
    if not (alpha >= 0 and beta >= 0):  # NaN must fail too
        raise ValueError(f"alpha and beta must not be negative, got alpha={alpha}, beta={beta}")
    low, high, likely = _ring_edges(vertices, float(p), float(alpha), float(beta))
    chosen = np.random.default_rng(rng.getrandbits(64)).random(low.size) < likely
    return zip(low[chosen].tolist(), high[chosen].tolist(), strict=True)


@lru_cache(maxsize=8)
def _ring_edges(vertices: int, p: float, alpha: float, beta: float) -> tuple[Array, ...]:
    """Every possible edge of a ring (from, to), and its probability."""
    low, high = np.triu_indices(vertices, k=1)
    distance = np.minimum(high - low, vertices - (high - low))
    return low, high, alpha * p ** (beta * distance)


def _lanes(
    vertices: int,
    rng: random.Random,
    *,
    lanes: int = 8,
    degree: float = 1.3,
    decay: float = 0.1,
) -> Edges:
    """Edges with probability ``min(1, c * decay ** (steps + sideways - 1))``.

    ``c`` makes the vertices that are not in the first depth read ``degree`` others in the mean.
    """
    lanes = _count("lanes", lanes, 1, vertices)
    if not 0 <= degree < float("inf"):  # NaN must fail too
        raise ValueError(f"degree must not be negative or infinite, got {degree!r}")
    low, high, likely = _lane_edges(vertices, lanes, float(degree), _probability("decay", decay))
    chosen = np.random.default_rng(rng.getrandbits(64)).random(low.size) < likely
    return zip(low[chosen].tolist(), high[chosen].tolist(), strict=True)


@lru_cache(maxsize=8)
def _lane_edges(vertices: int, lanes: int, degree: float, decay: float) -> tuple[Array, ...]:
    """Every possible edge of a strip (from, to), and its probability."""
    low, high = np.triu_indices(vertices, k=1)
    steps = high // lanes - low // lanes
    low, high, steps = low[steps > 0], high[steps > 0], steps[steps > 0]
    nearness = decay ** (steps + np.abs(high % lanes - low % lanes) - 1)
    return low, high, _scaled_to(nearness, degree * (vertices - lanes))


def _scaled_to(weights: Array, total: float) -> Array:
    """Probabilities ``min(1, c * weights)`` that add up to ``total``, or to as much as they can."""
    ordered = sorted((float(w) for w in weights if w > 0), reverse=True)
    certain = 0
    while certain < len(ordered):
        factor = max(0.0, total - certain) / math.fsum(ordered[certain:])
        if factor * ordered[certain] <= 1.0:
            return np.minimum(1.0, factor * weights)
        certain = sum(factor * weight > 1.0 for weight in ordered)
    return (weights > 0).astype(float)


def _branches(vertices: int, rng: random.Random, *, branches: int = 4) -> Edges:
    branches = _count("branches", branches, 1, vertices)
    bounds = [round(vertices * branch / branches) for branch in range(branches + 1)]
    return [(v, v + 1) for first, end in itertools.pairwise(bounds) for v in range(first, end - 1)]


def _chain(vertices: int, rng: random.Random) -> Edges:
    return zip(range(vertices - 1), range(1, vertices), strict=True)


def _staged(
    vertices: int, rng: random.Random, *, k: int = 4, p: float = 0.75, stages: int = 4
) -> Edges:
    """One WS graph a stage; the last vertex of a stage but the last merges everything in it."""
    stages = _count("stages", stages, 1, max(1, vertices // 4))
    bounds = [round(vertices * stage / stages) for stage in range(stages + 1)]
    edges: list[tuple[int, int]] = []
    for stage, (first, end) in enumerate(itertools.pairwise(bounds)):
        merges = stage < stages - 1
        inner = end - first - merges
        wired = list(_watts_strogatz(inner, rng, k=min(k, inner - 1), p=p))
        wired = [(min(a, b), max(a, b)) for a, b in wired]
        if stage:
            fed = {b for _, b in wired}
            edges += [(first - 1, first + v) for v in range(inner) if v not in fed]
        edges += [(first + a, first + b) for a, b in wired]
        if merges:
            feeding = {a for a, _ in wired}
            edges += [(first + v, end - 1) for v in range(inner) if v not in feeding]
    return edges


_KINDS: dict[str, Callable[..., Edges]] = {
    "ER": _erdos_renyi,
    "BA": _barabasi_albert,
    "WS": _watts_strogatz,
    "DP": _distance_probability,
    "FB": _staged,
    "lanes": _lanes,
    "chain": _chain,
    "branches": _branches,
}

KINDS = tuple(_KINDS)


def defaults(kind: str) -> dict[str, Any]:
    """The parameters of a generator with their default values.

    Raises:
        ValueError: ``kind`` is not one of ``KINDS``.
    """
    return dict(_draw_of(kind).__kwdefaults__ or {})


def _draw_of(kind: str) -> Callable[..., Edges]:
    if kind not in _KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    return _KINDS[kind]


def generate(kind: str, vertices: int, *, seed: int, **parameters: Any) -> nx.DiGraph:
    """Draw one random concurrent graph.

    Args:
        kind: one of ``KINDS``.
        vertices: N, the number of vertices without source and sink; at least 2.
        seed: the same seed gives the same graph on every machine.
        **parameters: the generator's own, see the module's table.

    Returns:
        A directed acyclic graph on ``0..N-1``, ``"source"`` and ``"sink"``. Its ``graph``
        attribute holds the recipe: ``kind``, ``vertices``, ``seed``, ``parameters``, and for FB
        ``merges``, the vertices at which a stage ends. Connected components are *not* joined: DP's
        many separate chains are what makes it concurrent.

    Raises:
        ValueError: an unknown kind or parameter, or a value out of range.
    """
    draw = _draw_of(kind)
    vertices = _count("vertices", vertices, 2, 1_000_000)
    seed = _count("seed", seed, 0, 2**63 - 1)
    known = defaults(kind)
    for name in parameters:
        if name not in known:
            accepted = ", ".join(known) or "no parameters"
            raise ValueError(f"{name!r} is no parameter of {kind}; it takes {accepted}")
    parameters = known | parameters
    graph = nx.DiGraph(kind=kind, vertices=vertices, seed=seed, parameters=parameters)
    graph.add_node(SOURCE)
    graph.add_nodes_from(range(vertices))
    graph.add_node(SINK)
    drawn = draw(vertices, random.Random(seed), **parameters)
    edges = sorted((a, b) if a < b else (b, a) for a, b in drawn)
    fed, read = {b for _, b in edges}, {a for a, _ in edges}
    graph.add_edges_from(edges)
    graph.add_edges_from((SOURCE, v) for v in range(vertices) if v not in fed)
    graph.add_edges_from((v, SINK) for v in range(vertices) if v not in read)
    if kind == "FB":
        stages = parameters["stages"]
        graph.graph["merges"] = [round(vertices * s / stages) - 1 for s in range(1, stages)]
    return graph
