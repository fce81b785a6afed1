"""A network as it is drawn: vertices by depth from left to right, coloured by board.

The usual three steps for layered graphs: every vertex stands at its depth (longest path from the
source), the vertices of a depth are ordered so that few arrows cross, then they move up and down
until arrows run straight. An arrow over several depths bends through a place of its own in each of
them; all arrows of one producer share these places, as one tensor is sent however many read it.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.manifest import Manifest
from keras_concurrent.networks.architecture import Architecture
from keras_concurrent.networks.generators import SINK, SOURCE
from keras_concurrent.report.summary import segment_boards, vertex_boards
from keras_concurrent.report.words import short

_SWEEPS = 8
_BEND = 0.35  # height of a bend, where a vertex has height 1
_Place = Hashable


@dataclass(frozen=True)
class Node:
    """A vertex, or a segment, or source or sink.

    Args:
        name: its name.
        label: what is written into it.
        board: who computes it; the source's is the client, the sink's whoever has the answer.
            ``None`` where no segment names it.
        x: depth; 0 for the source.
        y: downwards, in heights of a vertex.
        channels: how many its output has; 0 where unknown.
        detail: more about it.
    """

    name: str
    label: str
    board: str | None
    x: float
    y: float
    channels: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Arrow:
    """A tensor from a node to a reader, through ``bends``; ``crosses`` from board to board."""

    start: str
    end: str
    bends: tuple[tuple[float, float], ...]
    crosses: bool


@dataclass(frozen=True)
class Drawing:
    """A network.

    Args:
        unit: what a node is, ``"vertex"`` or ``"segment"``.
        nodes: source first, sink last.
        arrows: between them.
    """

    unit: str
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]

    @property
    def depth(self) -> float:
        """The sink's depth."""
        return max(node.x for node in self.nodes)

    @property
    def height(self) -> float:
        """In heights of a vertex."""
        heights = [y for arrow in self.arrows for _, y in arrow.bends]
        return max([*heights, *(node.y for node in self.nodes)]) + 1.0


def draw_network(manifest: Manifest) -> Drawing:
    """The architecture's vertices, or the plan's segments where there is no architecture."""
    if manifest.architecture is None:
        return _segments(manifest)
    architecture = Architecture.from_json(manifest.architecture)
    home = vertex_boards(manifest)
    details = {}
    for block in architecture.blocks:
        height, width, channels = architecture.shapes[block.name]
        details[block.name] = (channels, f"{height}×{width}, {channels} channels")
    reads = {block.name: block.inputs for block in architecture.blocks}
    reads[SINK] = architecture.outputs
    return _laid_out("vertex", reads, {**home, **_ends(manifest)}, details)


def _segments(manifest: Manifest) -> Drawing:
    home = segment_boards(manifest)
    writer = dict.fromkeys(manifest.sources, SOURCE)
    for name in home:
        writer.update(dict.fromkeys(manifest.segments[name].outputs, name))
    reads: dict[str, Sequence[str]] = {}
    details = {}
    waiting = list(home)
    while waiting:  # starts may tie, so the planned order is not always a topological one
        for name in waiting:
            inputs = {writer[tensor]: None for tensor in manifest.segments[name].inputs}
            if all(read == SOURCE or read in reads for read in inputs):
                reads[name] = tuple(inputs)
                vertices = len(manifest.segments[name].vertices)
                details[name] = (0, f"{vertices} vertices" if vertices else "")
                waiting.remove(name)
                break
        else:
            raise ValueError(f"segments must not wait for each other, got {', '.join(waiting)}")
    reads[SINK] = tuple({writer[tensor]: None for tensor in manifest.outputs})
    return _laid_out("segment", reads, {**home, **_ends(manifest)}, details)


def _ends(manifest: Manifest) -> dict[str, str]:
    """Who has the source and the sink."""
    ends = {SOURCE: CLIENT}
    for segment, board in segment_boards(manifest).items():
        if set(manifest.outputs) & set(manifest.segments[segment].outputs):
            ends[SINK] = board
    return ends


def _laid_out(
    unit: str,
    reads: Mapping[str, Sequence[str]],
    home: Mapping[str, str],
    details: Mapping[str, tuple[int, str]],
) -> Drawing:
    depth = {SOURCE: 0}
    for name, inputs in reads.items():
        depth[name] = 1 + max((depth[read] for read in inputs), default=0)
    depth[SINK] = max(depth.values())
    paths: dict[tuple[str, str], tuple[_Place, ...]] = {}
    for name, inputs in reads.items():
        for read in inputs:
            bends = ((read, x) for x in range(depth[read] + 1, depth[name]))
            paths[read, name] = (read, *bends, name)
    places = _coordinates(depth, paths.values(), _groups(reads, home))
    nodes = []
    for name in (SOURCE, *reads):
        x, y = places[name]
        channels, detail = details.get(name, (0, ""))
        label = "" if name in (SOURCE, SINK) else short(name)
        nodes.append(Node(name, label, home.get(name), x, y, channels, detail))
    arrows = tuple(
        Arrow(
            start,
            end,
            tuple(places[place] for place in path[1:-1]),
            start != SOURCE and {start, end} <= home.keys() and home[start] != home[end],
        )
        for (start, end), path in paths.items()
    )
    return Drawing(unit, tuple(nodes), arrows)


def _groups(reads: Mapping[str, Sequence[str]], home: Mapping[str, str]) -> dict[str, int]:
    """Rank of each node's connected component without source and sink: by board, largest first."""
    members: dict[str, list[str]] = {}
    group_of: dict[str, list[str]] = {}
    for name, inputs in reads.items():
        joined = [name]
        for read in inputs:
            if read != SOURCE and name != SINK and group_of[read] is not joined:
                joined = group_of[read] + joined
                for member in joined:
                    group_of[member] = joined
        group_of[name] = joined
    for name, group in group_of.items():
        if name != SINK:
            members[group[0]] = group
    usual = {}
    for first, group in members.items():
        boards = sorted(home.get(name, "") for name in group)
        usual[first] = max(boards, key=boards.count)
    ranked = sorted(members, key=lambda first: (usual[first], -len(members[first]), first))
    return {name: rank for rank, first in enumerate(ranked) for name in members[first]}


def _coordinates(
    depth: Mapping[str, int], paths: Iterable[tuple[_Place, ...]], groups: Mapping[str, int]
) -> dict[_Place, tuple[float, float]]:
    """Depth and height of every node and every bend."""
    columns: list[list[_Place]] = [[] for _ in range(depth[SINK] + 1)]
    left: dict[_Place, dict[_Place, None]] = {}
    right: dict[_Place, dict[_Place, None]] = {}
    for path in paths:
        for before, after in itertools.pairwise(path):
            left.setdefault(after, {})[before] = None
            right.setdefault(before, {})[after] = None
    for place in (SOURCE, *left):
        columns[_depth_of(place, depth)].append(place)
    y = {place: float(i) for column in columns for i, place in enumerate(column)}
    for sweep in range(2 * _SWEEPS):
        forwards = sweep % 2 == 0
        for column in columns if forwards else columns[::-1]:
            beside = left if forwards else right
            wanted = {
                place: fmean(y[other] for other in beside[place]) if place in beside else y[place]
                for place in column
            }
            if sweep < _SWEEPS:  # first their order, then where exactly
                column.sort(key=lambda place: (_group_of(place, groups), wanted[place]))
                y.update((place, float(i)) for i, place in enumerate(column))
            else:
                y.update(_spread(column, [wanted[place] for place in column]))
    top = min(y.values())
    return {
        place: (float(x), y[place] - top) for x, column in enumerate(columns) for place in column
    }


def _depth_of(place: _Place, depth: Mapping[str, int]) -> int:
    return int(place[1]) if isinstance(place, tuple) else depth[str(place)]


def _group_of(place: _Place, groups: Mapping[str, int]) -> int:
    name = place[0] if isinstance(place, tuple) else place
    return groups.get(str(name), 0)


def _spread(column: Sequence[_Place], wanted: Sequence[float]) -> dict[_Place, float]:
    """The heights nearest to the wanted ones (least squares) that keep order and distance.

    Without its distance from the first, each may be anywhere not above the one before: that is
    isotonic regression, solved by pooling neighbours that want to pass each other.
    """
    offsets = [0.0]
    for before, after in itertools.pairwise(column):
        heights = [_BEND if isinstance(place, tuple) else 1.0 for place in (before, after)]
        offsets.append(offsets[-1] + sum(heights) / 2)
    pools: list[tuple[float, int]] = []
    for value, offset in zip(wanted, offsets, strict=True):
        pools.append((value - offset, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (low, few), (high, more) = pools.pop(), pools.pop()
            pools.append(((low * few + high * more) / (few + more), few + more))
    levels = [level for level, count in pools for _ in range(count)]
    return {
        place: level + offset for place, level, offset in zip(column, levels, offsets, strict=True)
    }
