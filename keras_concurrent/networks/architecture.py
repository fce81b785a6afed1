"""The recipe of a concurrent network: blocks of known shapes, and which block reads which.

Everything a scheduler or the concurrency score needs (shapes, FLOPs, bytes) follows from it by
arithmetic, without TensorFlow. `keras_concurrent.networks.staging` makes one from a graph.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from keras_concurrent.networks.block_work import FLOAT_BYTES, Shape, Work, work_of_blocks
from keras_concurrent.networks.capacity import parameters_of, receptive_field_of
from keras_concurrent.networks.convolutions import Unit, check_block, ends_rectified, units_of
from keras_concurrent.networks.generators import SOURCE
from keras_concurrent.networks.network_work import tasks_of_network
from keras_concurrent.networks.shapes import (
    check_input_shape,
    common_shape,
    source_shape,
    window_side,
)
from keras_concurrent.planning.taskgraph import Task, TaskGraph
from keras_concurrent.versioned import FileKind

_FILE = FileKind("an architecture", 2, "generate it anew", reads=(1,))  # 1: the paper's block
HEADS = ("concat", "merge")


@dataclass(frozen=True)
class Block:
    """One vertex: a transformation block, or a short branch of usual ones.

    Args:
        name: ``"vertex_07"``.
        inputs: the names of the blocks it reads, ``"source"`` among them or alone.
        filters: output channels.
        strides: 2 where it halves the resolution, 4 where twice, otherwise 1.
    """

    name: str
    inputs: tuple[str, ...]
    filters: int
    strides: int


@dataclass(frozen=True)
class Architecture:
    """A concurrent network before any Keras model exists.

    Args:
        input_shape: height, width, channels of the image.
        classes: number of outputs of the softmax.
        blocks: in topological order.
        stem_filters: filters of a 3x3 convolution between the image and the blocks; ``None`` hands
            the image itself to every first block, so that no board waits for another's stem.
        separable: whether the paper's block has separable convolutions, as in the paper, or dense
            ones; the others are what their names say.
        head: how the sink joins the last blocks. ``"concat"`` averages each over its positions
            and joins the vectors: a board then sends a few hundred bytes. ``"merge"`` is a
            block without a convolution, whose result is averaged.
        recipe: where the blocks came from (generator, seed, staging), for the record.
        block: what every vertex is, one of `keras_concurrent.networks.convolutions.BLOCKS`.
            ``"paper"`` is the paper's transformation block, which squashes what it reads and needs
            sizes that are whole multiples of each other; the others weigh what they read, halve
            odd sizes too (rounded up), and start with their convolution where they read one tensor.
        depth: convolutions a vertex; 1 with the paper's block.
        stem_strides: 2 halves the resolution in the stem.

    Raises:
        ValueError: a block that reads an unknown or later block, a value out of range, or sizes
            that cannot be pooled to each other.
    """

    input_shape: Shape
    classes: int
    blocks: tuple[Block, ...]
    stem_filters: int | None = None
    separable: bool = True
    head: str = "concat"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    block: str = "paper"
    depth: int = 1
    stem_strides: int = 1

    def __post_init__(self) -> None:
        check_input_shape(self.input_shape)
        source_shape(self.input_shape, self.stem_filters, self.stem_strides)  # checks the stem
        check_block(self.block, self.depth)
        if self.classes < 2:
            raise ValueError(f"classes must be at least 2, got {self.classes!r}")
        if self.head not in HEADS:
            raise ValueError(f"head must be one of {', '.join(HEADS)}, got {self.head!r}")
        if not self.blocks:
            raise ValueError("blocks must hold at least one block, got none")
        known = {SOURCE}
        for block in self.blocks:
            if not block.inputs or not known.issuperset(block.inputs):
                raise ValueError(
                    f"block {block.name!r} must read source or earlier blocks, got {block.inputs!r}"
                )
            if block.name in known:
                raise ValueError(f"block names must differ, got {block.name!r} twice")
            known.add(block.name)
            for what in ("filters", "strides"):
                if getattr(block, what) < 1:
                    raise ValueError(
                        f"block {block.name!r}: {what} must be at least 1, "
                        f"got {getattr(block, what)!r}"
                    )
            allowed = [2**halvings for halvings in range(self.depth + 1)]
            if self.block != "paper" and block.strides not in allowed:
                raise ValueError(
                    f"block {block.name!r}: strides must be one of "
                    f"{', '.join(map(str, allowed))} with depth {self.depth}, got {block.strides!r}"
                )
        _ = self.shapes  # raises where sizes do not fit

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Output shape (height, width, channels) of every block and of ``"source"``."""
        return self._all_shapes[0]

    @cached_property
    def _all_shapes(self) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """Output shapes by name, and what the blocks' scaling blocks make of their inputs."""
        shapes = {SOURCE: source_shape(self.input_shape, self.stem_filters, self.stem_strides)}
        scaled = {}
        padding = self.padding
        for block in self.blocks:
            common = common_shape(block.name, [shapes[name] for name in block.inputs], padding)
            height, width, _ = scaled[block.name] = common
            strides = block.strides
            if strides > 1 and padding == "valid" and (height % strides or width % strides):
                raise ValueError(
                    f"block {block.name!r} cannot stride {strides} over {height}x{width}"
                )
            shapes[block.name] = (-(-height // strides), -(-width // strides), block.filters)
        return shapes, scaled

    @property
    def padding(self) -> str:
        """How blocks pool what they read, see `keras_concurrent.networks.shapes`."""
        return "valid" if self.block == "paper" else "same"

    def window(self, name: str, common: Shape) -> tuple[int, int]:
        """By what a block's output is pooled to fit a common shape."""
        height, width, _ = self.shapes[name]
        down = window_side(height, common[0], self.padding)
        across = window_side(width, common[1], self.padding)
        return down or 1, across or 1  # never None: `common_shape` has looked

    def units(self, block: Block) -> tuple[Unit, ...]:
        """What a block computes after the sum of its inputs."""
        return units_of(
            self.block,
            self.scaled_shape(block)[2],
            block.filters,
            block.strides,
            self.depth,
            self.separable,
        )

    def scaled_shape(self, block: Block) -> Shape:
        """The common shape of a block's inputs after its scaling block."""
        return self._all_shapes[1][block.name]

    @property
    def sink_shape(self) -> Shape:
        """The common shape of the last blocks, to which the ``"merge"`` head scales them."""
        return common_shape("the sink", [self.shapes[name] for name in self.outputs], self.padding)

    def squashes(self, block: Block) -> bool:
        """Whether a block puts a sigmoid on its inputs, as the paper's does.

        One that reads the image itself does not: pixels are bounded already, and a sigmoid that
        all first blocks share would be computed on one board and sent to all others.
        """
        image_alone = self.stem_filters is None and block.inputs == (SOURCE,)
        return self.block == "paper" and not image_alone

    def weighs(self, inputs: Sequence[str]) -> bool:
        """Whether a sum of these inputs has weights: with the paper's block even of one."""
        return self.block == "paper" or len(inputs) > 1

    def multiplies(self, name: str, inputs: Sequence[str], common: Shape) -> bool:
        """Whether the weight of a term of a sum takes a product in the converted model.

        Otherwise there is none, or it is part of a convolution: of the one that widens the term, or
        of the last of the block that gives it, where no ReLU and no other reader is between.

        Args:
            name: of the block that gives the term.
            inputs: all terms.
            common: their shape in the sum.
        """
        if self.block == "paper":
            return True
        widens = self.shapes[name][2] < common[2]
        folded = name in self._convolutions_read_once and self.window(name, common) == (1, 1)
        return self.weighs(inputs) and not widens and not folded

    @cached_property
    def _convolutions_read_once(self) -> frozenset[str]:
        """Blocks that end with a convolution and that one block reads, or the sink."""
        if ends_rectified(self.block):
            return frozenset()
        reads = Counter(name for block in self.blocks for name in block.inputs)
        if self.head == "merge":
            reads.update(self.outputs)
        ends = (block.name for block in self.blocks if not self.units(block)[-1].shortcut)
        return frozenset(name for name in ends if reads[name] == 1)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The blocks that no block reads: what the sink takes."""
        read = {name for block in self.blocks for name in block.inputs}
        return tuple(block.name for block in self.blocks if block.name not in read)

    @property
    def block_flops(self) -> dict[str, int]:
        """FLOPs of every block, without the stem and the head."""
        return {name: work.flops for name, work in self.block_work.items()}

    @cached_property
    def block_work(self) -> dict[str, Work]:
        """What every block computes, without the stem and the head."""
        return work_of_blocks(self)

    @cached_property
    def parameters(self) -> int:
        """Number of weights of the whole network, moving averages included, as Keras counts."""
        return parameters_of(self)

    @cached_property
    def receptive_field(self) -> int:
        """Side in pixels of the part of the image that one position of a last block can see.

        The largest over the last blocks; where the network is deep it exceeds the image.
        """
        return receptive_field_of(self)

    def block_bytes(self, name: str) -> int:
        """Bytes of a block's output in float32."""
        height, width, channels = self.shapes[name]
        return height * width * channels * FLOAT_BYTES

    def tasks(self) -> TaskGraph:
        """One task a vertex, one tensor a vertex; source and sink are no tasks (paper, III-C).

        The source's tensor is the graph's input. A block that only the sink reads hands over what
        the sink takes of it: with the ``"concat"`` head its averages.
        """
        tasks = tuple(
            Task(
                block.name,
                work.flops,
                block.inputs,
                (block.name,),
                vertices=(block.name,),
                touched_bytes=work.touched_bytes,
                operator_count=work.operators,
            )
            for block, work in zip(self.blocks, self.block_work.values(), strict=True)
        )
        sizes = {name: self.block_bytes(name) for name in self.shapes}
        if self.head == "concat":
            for name in self.outputs:
                sizes[name] = FLOAT_BYTES * self.shapes[name][2]
        return TaskGraph(tasks, sizes, (SOURCE,), self.outputs)

    def network_tasks(self) -> TaskGraph:
        """The whole network with its head, as boards run it; what latencies are predicted from.

        See `keras_concurrent.networks.network_work`.
        """
        return tasks_of_network(self)

    def to_json(self) -> str:
        """The architecture as a JSON text, read back by `from_json`."""
        return _FILE.to_json(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Read what `to_json` wrote.

        Raises:
            ValueError: no JSON, another schema version, or a missing or unknown key.
        """
        try:
            data = _FILE.content(json.loads(text))
            blocks = tuple(
                Block(**{**block, "inputs": tuple(block["inputs"])}) for block in data.pop("blocks")
            )
            return cls(**{**data, "blocks": blocks, "input_shape": tuple(data["input_shape"])})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not an architecture file: {error}") from error
