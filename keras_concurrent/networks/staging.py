"""Staging: a graph's vertices get their filters and strides (paper, section III-B).

Staging without a bottleneck: resolution and channels change block by block, not in merge points.

================= ================================================================================
``uniform``       the same channels everywhere, no downsampling
``greedy``        every block below the channel cap halves the resolution, doubles the channels
``probabilistic`` the same with probability 0.5 (the paper's choice)
``merges``        only where a stage of an FB graph ends: the prior work's bottleneck
================= ================================================================================

A size is halved only while it is even, so that every two resolutions in a network stay whole
multiples of each other and a pooling window always fits.
"""

from __future__ import annotations

import random
from typing import Any

import networkx as nx

from keras_concurrent.networks.architecture import (
    Architecture,
    Block,
    check_input_shape,
    common_shape,
)
from keras_concurrent.networks.block_work import Shape
from keras_concurrent.networks.generators import SINK, SOURCE

STAGINGS = ("uniform", "greedy", "probabilistic", "merges")


def stage(
    graph: nx.DiGraph,
    input_shape: Shape,
    classes: int,
    *,
    staging: str = "probabilistic",
    filters: int = 16,
    channel_cap: int = 128,
    growth: float = 2.0,
    probability: float = 0.5,
    seed: int = 0,
    stem_filters: int | None = None,
    separable: bool = True,
    head: str = "concat",
) -> Architecture:
    """Give every vertex of a graph its filters and its stride (paper, section III-B).

    Args:
        graph: from `keras_concurrent.generate`.
        input_shape: height, width, channels of the image.
        classes: number of classes.
        staging: one of ``STAGINGS``.
        filters: channels of a first block that does not halve the resolution; with a stem, the
            stem's channels take their place.
        channel_cap: channels stop growing here; a block at the cap downsamples no more.
        growth: by how much channels grow where the resolution halves; 1 keeps them.
        probability: with ``probabilistic`` staging, the chance that a block below the cap halves
            the resolution and doubles the channels.
        seed: draws that chance.
        stem_filters: see `Architecture`.
        separable: see `Architecture`.
        head: see `Architecture`.

    Returns:
        The architecture; its ``recipe`` holds the graph's recipe and these arguments.

    Raises:
        ValueError: an argument out of range.
    """
    if staging not in STAGINGS:
        raise ValueError(f"staging must be one of {', '.join(STAGINGS)}, got {staging!r}")
    if staging == "merges" and "merges" not in graph.graph:
        raise ValueError("staging 'merges' needs a graph of kind FB, which has stages")
    if filters < 1 or channel_cap < filters:
        raise ValueError(
            f"filters must be at least 1 and at most channel_cap, got filters={filters}, "
            f"channel_cap={channel_cap}"
        )
    if not 1.0 <= growth < float("inf"):
        raise ValueError(f"growth must be at least 1, got {growth!r}")
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"probability must lie between 0 and 1, got {probability!r}")
    check_input_shape(input_shape)
    vertices = [v for v in graph if v not in (SOURCE, SINK)]
    digits = len(str(max(vertices)))
    names = {SOURCE: SOURCE, **{v: f"vertex_{v:0{digits}d}" for v in vertices}}
    merges = set(graph.graph.get("merges", ()))
    rng = random.Random(seed)
    shapes: dict[Any, Shape] = {SOURCE: (*input_shape[:2], stem_filters or input_shape[2])}
    blocks = []
    for vertex in vertices:  # ids ascend along every edge
        inputs = sorted(graph.predecessors(vertex), key=names.__getitem__)
        height, width, channels = common_shape(names[vertex], [shapes[v] for v in inputs])
        if inputs == [SOURCE] and stem_filters is None:
            channels = filters
        wanted = (
            staging == "greedy"
            or (staging == "probabilistic" and rng.random() < probability)
            or (staging == "merges" and vertex in merges)
        )
        halves = wanted and channels < channel_cap and height % 2 == 0 and width % 2 == 0
        if halves:
            height, width = height // 2, width // 2
            channels = min(round(growth * channels), channel_cap)
        shapes[vertex] = (height, width, channels)
        blocks.append(
            Block(names[vertex], tuple(names[v] for v in inputs), channels, 2 if halves else 1)
        )
    recipe = {
        **graph.graph,
        "staging": staging,
        "filters": filters,
        "channel_cap": channel_cap,
        "growth": growth,
        "probability": probability,
        "staging_seed": seed,
    }
    return Architecture(
        input_shape=input_shape,
        classes=classes,
        blocks=tuple(blocks),
        stem_filters=stem_filters,
        separable=separable,
        head=head,
        recipe=recipe,
    )
