"""Staging: a graph's vertices get their filters and strides (paper, section III-B).

Staging without a bottleneck: resolution and channels change block by block, not in merge points.

================= ================================================================================
``uniform``       the same channels everywhere, no downsampling
``greedy``        every block below the channel cap halves the resolution, doubles the channels
``probabilistic`` the same with probability 0.5 (the paper's choice)
``merges``        only where a stage of an FB graph ends: the prior work's bottleneck
``balanced``      evenly along the depth of the graph, down to a side of about 7
================= ================================================================================

With the paper's block a size is halved only while it is even, so that every two resolutions in a
network stay whole multiples of each other and a pooling window always fits. The other blocks halve
odd sizes too, rounded up.

``balanced`` staging suits images of any size: the vertices of one depth (the longest path from the
image) have one resolution, each resolution has an equal share of the convolutions of a longest
path, and channels grow with each halving up to the cap. A path of fewer convolutions than halvings
ends at a larger side.
"""

from __future__ import annotations

import math
import random
from typing import Any

import networkx as nx

from keras_concurrent.networks.architecture import Architecture, Block
from keras_concurrent.networks.block_work import Shape
from keras_concurrent.networks.convolutions import check_block
from keras_concurrent.networks.generators import SINK, SOURCE
from keras_concurrent.networks.shapes import check_input_shape, common_shape, source_shape

STAGINGS = ("uniform", "greedy", "probabilistic", "merges", "balanced")
LAST_SIDE = 7  # as usual networks have it


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
    stem_strides: int = 1,
    separable: bool = True,
    head: str = "concat",
    block: str = "paper",
    depth: int = 1,
) -> Architecture:
    """Give every vertex of a graph its filters and its stride (paper, section III-B).

    Args:
        graph: from `keras_concurrent.generate`.
        input_shape: height, width, channels of the image.
        classes: number of classes.
        staging: one of ``STAGINGS``.
        filters: channels of a first block that does not halve the resolution; with a stem, the
            stem's channels take their place.
        channel_cap: channels stop growing here; a block at the cap downsamples no more, but for
            ``balanced`` staging.
        growth: by how much channels grow where the resolution halves; 1 keeps them.
        probability: with ``probabilistic`` staging, the chance that a block below the cap halves
            the resolution and doubles the channels.
        seed: draws that chance.
        stem_filters: see `Architecture`.
        stem_strides: see `Architecture`.
        separable: see `Architecture`.
        head: see `Architecture`.
        block: see `Architecture`.
        depth: see `Architecture`.

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
    check_block(block, depth)
    vertices = [v for v in graph if v not in (SOURCE, SINK)]
    digits = len(str(max(vertices)))
    names = {SOURCE: SOURCE, **{v: f"vertex_{v:0{digits}d}" for v in vertices}}
    merges = set(graph.graph.get("merges", ()))
    rng = random.Random(seed)
    shapes: dict[Any, Shape] = {SOURCE: source_shape(input_shape, stem_filters, stem_strides)}
    padding = "valid" if block == "paper" else "same"
    levels = (
        _balanced_levels(graph, shapes[SOURCE][:2], depth, padding) if staging == "balanced" else {}
    )
    blocks = []
    for vertex in vertices:  # ids ascend along every edge
        inputs = sorted(graph.predecessors(vertex), key=names.__getitem__)
        common = common_shape(names[vertex], [shapes[v] for v in inputs], padding)
        height, width, channels = common
        if inputs == [SOURCE] and stem_filters is None:
            channels = filters
        if staging == "balanced":
            halvings = levels[vertex] - max(levels[v] for v in inputs)
            grown = (stem_filters or filters) * growth ** levels[vertex]
            channels = min(round(grown), channel_cap)
        else:
            wanted = (
                staging == "greedy"
                or (staging == "probabilistic" and rng.random() < probability)
                or (staging == "merges" and vertex in merges)
            )
            halvings = int(wanted and channels < channel_cap and _halves((height, width), padding))
            if halvings:
                channels = min(round(growth * channels), channel_cap)
        strides = 2**halvings
        shapes[vertex] = (-(-height // strides), -(-width // strides), channels)
        blocks.append(Block(names[vertex], tuple(names[v] for v in inputs), channels, strides))
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
        block=block,
        depth=depth,
        stem_strides=stem_strides,
    )


def _halves(size: tuple[int, int], padding: str) -> bool:
    """Whether a size can be halved once more."""
    if padding == "valid":
        return size[0] % 2 == 0 and size[1] % 2 == 0
    return max(size) > 1


def _balanced_levels(
    graph: nx.DiGraph, size: tuple[int, int], depth: int, padding: str
) -> dict[Any, int]:
    """How often the resolution is halved between the first blocks' input and a vertex's output."""
    halvings, (height, width) = 0, size
    wanted = max(0, round(math.log2(min(size) / LAST_SIDE)))
    while halvings < wanted and _halves((height, width), padding):
        height, width, halvings = -(-height // 2), -(-width // 2), halvings + 1
    convolved = {SOURCE: 0}  # convolutions of a longest path from the image to here
    for vertex in graph:
        if vertex not in (SOURCE, SINK):
            before = [convolved[v] for v in graph.predecessors(vertex)]
            convolved[vertex] = max(before) + depth
    longest = max(convolved.values())
    halvings = min(halvings, longest)  # one a convolution at most
    return {v: at * (halvings + 1) // (longest + 1) for v, at in convolved.items()}
