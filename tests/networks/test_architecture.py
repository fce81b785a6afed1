import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent.networks.architecture import Architecture, Block
from keras_concurrent.networks.generators import KINDS, generate
from keras_concurrent.networks.staging import STAGINGS, stage

CHAIN = generate("chain", 5, seed=0)


def three_vertices(**changes):
    """vertex_0 halves, vertex_1 does not, vertex_2 reads both."""
    blocks = (
        Block("vertex_0", ("source",), filters=4, strides=2),
        Block("vertex_1", ("source",), filters=6, strides=1),
        Block("vertex_2", ("vertex_0", "vertex_1"), filters=8, strides=1),
    )
    return Architecture(**{"input_shape": (8, 8, 3), "classes": 10, "blocks": blocks, **changes})


def test_shapes_and_bytes_of_three_vertices():
    architecture = three_vertices()
    assert architecture.shapes == {
        "source": (8, 8, 3),
        "vertex_0": (4, 4, 4),
        "vertex_1": (8, 8, 6),
        "vertex_2": (4, 4, 8),
    }
    # The smallest resolution and the most channels among (4, 4, 4) and (8, 8, 6).
    assert architecture.scaled_shape(architecture.blocks[2]) == (4, 4, 6)
    assert architecture.outputs == ("vertex_2",)
    assert architecture.block_bytes("vertex_1") == 8 * 8 * 6 * 4
    assert three_vertices(stem_filters=16).shapes["source"] == (8, 8, 16)


# Sigmoid, weight, pooling and widening of each vertex, in front of its convolution.
VERTEX_0_FRONT = 8 * 8 * 3  # the image gets a weight and no sigmoid
VERTEX_1_FRONT = 8 * 8 * 3
VERTEX_2_FRONT = (
    (2 * 4 * 4 * 6 * 4 + 4 * 4 * 6 + 4 * 4 * 6)  # vertex_0: 1x1 from 4 to 6, sigmoid, weight
    + (2 * 2 * 4 * 4 * 6 + 4 * 4 * 6 + 4 * 4 * 6)  # vertex_1: 2x2 pooling, sigmoid, weight
    + 4 * 4 * 6  # one addition
)


def test_flops_of_three_separable_vertices():
    assert three_vertices().block_flops == {
        "vertex_0": VERTEX_0_FRONT + 2 * 9 * 4 * 4 * 3 + 2 * 4 * 4 * 4 * 3,
        "vertex_1": VERTEX_1_FRONT + 2 * 9 * 8 * 8 * 3 + 2 * 8 * 8 * 6 * 3,
        "vertex_2": VERTEX_2_FRONT + 2 * 9 * 4 * 4 * 6 + 2 * 4 * 4 * 8 * 6,
    }
    assert three_vertices().block_flops["vertex_2"] == 4896


def test_flops_of_three_dense_vertices():
    assert three_vertices(separable=False).block_flops == {
        "vertex_0": VERTEX_0_FRONT + 2 * 9 * 4 * 4 * 4 * 3,
        "vertex_1": VERTEX_1_FRONT + 2 * 9 * 8 * 8 * 6 * 3,
        "vertex_2": VERTEX_2_FRONT + 2 * 9 * 4 * 4 * 8 * 6,
    }


def test_a_stem_gets_one_sigmoid_for_all_its_readers_and_the_image_none():
    image, stem = three_vertices().block_flops, three_vertices(stem_filters=3).block_flops
    assert stem["vertex_0"] - image["vertex_0"] == 8 * 8 * 3
    assert stem["vertex_1"] == image["vertex_1"]
    assert stem["vertex_2"] == image["vertex_2"]


def test_a_tensor_pooled_alike_for_two_readers_is_counted_once():
    blocks = (
        Block("small", ("source",), 4, 2),
        Block("large", ("source",), 4, 1),
        Block("first", ("small", "large"), 4, 1),
        Block("second", ("small", "large"), 4, 1),
    )
    costs = Architecture((8, 8, 1), 2, blocks).block_flops
    pool = 2 * 2 * 4 * 4 * 4
    sigmoids = 2 * (4 * 4 * 4)
    assert costs["first"] - costs["second"] == pool + sigmoids


def test_the_pixels_that_a_last_block_sees():
    # Each convolution sees 3 positions. vertex_1 is pooled: 4 pixels, in steps of 2; then 4 more.
    assert three_vertices().receptive_field == 8
    assert three_vertices(stem_filters=16).receptive_field == 10
    assert stage(CHAIN, (32, 32, 3), 10, staging="uniform").receptive_field == 1 + 5 * 2
    greedy = stage(CHAIN, (32, 32, 3), 10, staging="greedy", filters=4)
    assert greedy.receptive_field == 1 + 2 * (1 + 2 + 4 + 8 + 16)


def sizes(architecture):
    return [architecture.shapes[block.name] for block in architecture.blocks]


def test_uniform_staging_keeps_size_and_channels():
    architecture = stage(CHAIN, (32, 32, 3), 10, staging="uniform", filters=16)
    assert sizes(architecture) == [(32, 32, 16)] * 5


def test_greedy_staging_halves_and_doubles_up_to_the_cap():
    architecture = stage(CHAIN, (32, 32, 3), 10, staging="greedy", filters=16, channel_cap=128)
    assert sizes(architecture) == [
        (16, 16, 32), (8, 8, 64), (4, 4, 128), (4, 4, 128), (4, 4, 128)
    ]  # fmt: skip


def test_a_cap_that_is_no_doubling_is_reached_and_not_passed():
    architecture = stage(CHAIN, (32, 32, 3), 10, staging="greedy", filters=16, channel_cap=50)
    assert sizes(architecture) == [
        (16, 16, 32), (8, 8, 50), (8, 8, 50), (8, 8, 50), (8, 8, 50)
    ]  # fmt: skip


def test_odd_sizes_are_never_halved():
    # 28 -> 14 -> 7, and there it stays although the cap is far.
    architecture = stage(CHAIN, (28, 28, 1), 10, staging="greedy", filters=8, channel_cap=512)
    assert sizes(architecture) == [
        (14, 14, 16), (7, 7, 32), (7, 7, 32), (7, 7, 32), (7, 7, 32)
    ]  # fmt: skip
    uneven = stage(CHAIN, (28, 30, 1), 10, staging="greedy", filters=8)
    assert sizes(uneven)[:2] == [(14, 15, 16), (14, 15, 16)]


def test_probability_0_is_uniform_and_1_is_greedy():
    graph = generate("DP", 20, seed=1)

    def blocks(**arguments):
        return stage(graph, (32, 32, 3), 10, **arguments).blocks

    assert blocks(probability=0) == blocks(staging="uniform")
    assert blocks(probability=1) == blocks(staging="greedy")
    assert blocks(probability=0.5) not in (blocks(probability=0), blocks(probability=1))


def test_half_of_the_free_blocks_downsample_with_probability_one_half():
    graph = generate("DP", 400, seed=0, alpha=0)  # no edges: every block stands at the image
    halved = [
        sum(b.strides == 2 for b in stage(graph, (32, 32, 3), 10, seed=seed).blocks)
        for seed in range(10)
    ]
    assert sum(halved) / 4000 == pytest.approx(0.5, abs=4 * (0.25 / 4000) ** 0.5)
    assert len(set(halved)) > 1


def test_merges_staging_downsamples_only_where_a_stage_ends():
    graph = generate("FB", 40, seed=3)
    architecture = stage(graph, (64, 64, 3), 10, staging="merges", filters=8, channel_cap=64)
    halved = [i for i, block in enumerate(architecture.blocks) if block.strides == 2]
    assert halved == [9, 19, 29]
    assert architecture.shapes["vertex_39"] == (8, 8, 64)


def test_growth_1_halves_and_keeps_the_channels():
    graph = generate("FB", 16, seed=0, stages=3)
    kept = stage(graph, (32, 32, 3), 10, staging="merges", filters=8, channel_cap=99, growth=1.0)
    assert {block.filters for block in kept.blocks} == {8}
    assert [block.strides for block in kept.blocks].count(2) == 2
    more = stage(graph, (32, 32, 3), 10, staging="merges", filters=8, channel_cap=99, growth=1.5)
    assert {block.filters for block in more.blocks} == {8, 12, 18}


@pytest.mark.parametrize("side", [28, 32, 96, 224])
@pytest.mark.parametrize("staging", ["uniform", "greedy", "probabilistic"])
def test_staging_works_at_the_usual_sizes(side, staging):
    # 28 = 4 * 7, 224 = 32 * 7, 96 = 32 * 3: halving stops where a side is odd.
    smallest = {28: 7, 32: 1, 96: 3, 224: 7}[side]
    architecture = stage(
        generate("chain", 12, seed=0), (side, side, 3), 10, staging=staging, channel_cap=10**6,
        probability=0.9, seed=1,
    )  # fmt: skip
    last = architecture.shapes[architecture.blocks[-1].name]
    assert last[0] == last[1] == (side if staging == "uniform" else smallest)


LAST_SIDES = {8: 8, 28: 7, 32: 8, 48: 6, 96: 6, 224: 7, 299: 10}


@pytest.mark.parametrize(("side", "last"), LAST_SIDES.items())
@pytest.mark.parametrize(("vertices", "depth"), [(5, 1), (8, 1), (3, 2)])
def test_balanced_staging_ends_at_a_side_of_about_7(side, last, vertices, depth):
    network = stage(
        generate("chain", vertices, seed=0), (side, side, 3), 10, staging="balanced", filters=4,
        channel_cap=40, block="plain", depth=depth,
    )  # fmt: skip
    shapes = sizes(network)
    assert shapes[-1][:2] == (last, last)
    halvings = round(math.log2(side / last))
    for block, (height, _, channels) in zip(network.blocks, shapes, strict=True):
        level = round(math.log2(side / height))
        assert channels == min(4 * 2**level, 40)
        assert block.strides <= 2**depth
    # No resolution but the image's own, which a stem may take, is left out or lasts much longer.
    ends = [round(math.log2(side / height)) for height, _, _ in shapes]
    convolutions = vertices * depth
    for level in range(1, halvings + 1):
        before = sum(end < level for end in ends) * depth
        assert abs(before - level * (convolutions + 1) / (halvings + 1)) <= depth


def test_balanced_staging_by_hand():
    network = stage(
        generate("chain", 6, seed=0), (28, 28, 1), 10, staging="balanced", block="plain"
    )
    assert sizes(network) == [(28, 28, 16)] * 2 + [(14, 14, 32)] * 2 + [(7, 7, 64)] * 2
    photograph = stage(
        generate("chain", 4, seed=0), (299, 224, 3), 10, staging="balanced", block="residual",
        stem_filters=8, stem_strides=2, channel_cap=100,
    )  # fmt: skip
    assert photograph.shapes["source"] == (150, 112, 8)
    assert sizes(photograph) == [(75, 56, 16), (38, 28, 32), (19, 14, 64), (10, 7, 100)]


def test_with_the_paper_s_block_balanced_staging_halves_while_sizes_are_even():
    network = stage(generate("chain", 8, seed=0), (100, 100, 3), 10, staging="balanced")
    assert sizes(network)[-1] == (25, 25, 64)
    assert sizes(stage(CHAIN, (299, 299, 3), 10, staging="balanced")) == [(299, 299, 16)] * 5


@given(
    kind=st.sampled_from(["DP", "ER", "WS", "lanes", "BA"]),
    seed=st.integers(0, 10**6),
    side=st.integers(8, 300),
    depth=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_vertices_of_one_depth_have_one_shape_when_balanced(kind, seed, side, depth):
    graph = generate(kind, 16, seed=seed)
    network = stage(
        graph, (side, side + 5, 3), 10, staging="balanced", block="plain", depth=depth, seed=seed
    )
    depths = {"source": 0}
    for block in network.blocks:
        depths[block.name] = 1 + max(depths[name] for name in block.inputs)
    by_depth = {}
    for name, at in depths.items():
        by_depth.setdefault(at, set()).add(network.shapes[name])
    assert all(len(shapes) == 1 for shapes in by_depth.values())
    heights = [next(iter(by_depth[at]))[0] for at in sorted(by_depth)]
    assert heights == sorted(heights, reverse=True)


def test_other_blocks_halve_odd_sizes_up():
    greedy = stage(
        CHAIN, (28, 5, 1), 10, staging="greedy", filters=8, channel_cap=512, block="plain"
    )
    assert sizes(greedy) == [(14, 3, 16), (7, 2, 32), (4, 1, 64), (2, 1, 128), (1, 1, 256)]
    blocks = (
        Block("a", ("source",), 4, 2),
        Block("b", ("a",), 4, 2),
        Block("c", ("b", "source"), 4, 1),
    )
    network = Architecture((13, 9, 1), 2, blocks, block="plain")
    assert network.shapes["c"] == (4, 3, 4)
    assert network.window("source", (4, 3, 4)) == (4, 4)


def test_a_file_of_the_version_before_is_the_paper_s_block():
    data = json.loads(three_vertices().to_json())
    for key in ("block", "depth", "stem_strides"):
        del data[key]
    assert Architecture.from_json(json.dumps({**data, "schema_version": 1})) == three_vertices()


def test_a_stem_gives_the_first_blocks_its_channels():
    architecture = stage(CHAIN, (32, 32, 3), 10, staging="uniform", stem_filters=24)
    assert architecture.shapes["source"] == (32, 32, 24)
    assert sizes(architecture) == [(32, 32, 24)] * 5


def test_names_are_padded_so_that_they_sort_as_numbers():
    names = [block.name for block in stage(generate("ER", 11, seed=0), (8, 8, 1), 2).blocks]
    assert names == sorted(names)
    assert (names[0], names[10]) == ("vertex_00", "vertex_10")


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    staging=st.sampled_from(STAGINGS),
    size=st.sampled_from([28, 32, 96, 224]),
    vertices=st.integers(16, 40),
    seed=st.integers(0, 10**6),
    stem=st.sampled_from([None, 8]),
)
def test_any_generator_and_staging_gives_sizes_that_pool_to_each_other(
    kind, staging, size, vertices, seed, stem
):
    graph = generate("FB" if staging == "merges" else kind, vertices, seed=seed)
    architecture = stage(
        graph, (size, size, 3), 10, staging=staging, seed=seed, stem_filters=stem, channel_cap=128
    )
    for block in architecture.blocks:
        ins = [architecture.shapes[name] for name in block.inputs]
        height, width, channels = architecture.shapes[block.name]
        smallest = min(shape[0] for shape in ins)
        assert all(shape[0] == shape[1] and shape[0] % smallest == 0 for shape in ins)
        assert (height, width) == (smallest // block.strides, smallest // block.strides)
        assert smallest % block.strides == 0
        assert 1 <= channels <= 128
        assert architecture.block_flops[block.name] > 0
    read = {name for block in architecture.blocks for name in block.inputs}
    assert set(architecture.outputs) == {block.name for block in architecture.blocks} - read
    assert Architecture.from_json(architecture.to_json()) == architecture
    again = stage(
        graph, (size, size, 3), 10, staging=staging, seed=seed, stem_filters=stem, channel_cap=128
    )
    assert again == architecture


def test_the_recipe_says_where_the_blocks_came_from():
    architecture = stage(generate("WS", 9, seed=4, p=0.5), (8, 8, 1), 2, seed=6, filters=12)
    recipe = Architecture.from_json(architecture.to_json()).recipe
    assert recipe["kind"] == "WS"
    assert recipe["seed"] == 4
    assert recipe["parameters"] == {"k": 4, "p": 0.5}
    assert (recipe["staging"], recipe["staging_seed"]) == ("probabilistic", 6)
    assert (recipe["filters"], recipe["channel_cap"]) == (12, 128)


def changed(**keys):
    return json.dumps({**json.loads(three_vertices().to_json()), **keys})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not an architecture file"),
        ("[]", "not an architecture file"),
        ("3", "not an architecture file"),
        ("{}", "an architecture must have schema_version 2, got None"),
        (changed(schema_version=3), "must have schema_version 2, got 3: generate it anew"),
        (changed(colour="red"), "colour"),
        (changed(head="sum"), "head must be one of concat, merge, got 'sum'"),
        (changed(blocks=[{"name": "a"}]), "inputs"),
        (changed(blocks=[{"name": "a", "inputs": ["source"], "filters": 1}]), "strides"),
        (changed(blocks=[]), "blocks must hold at least one block"),
        (changed(classes=None), "not an architecture file"),
    ],
)
def test_a_text_that_is_no_architecture_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Architecture.from_json(text)


@pytest.mark.parametrize("key", ["input_shape", "classes", "blocks"])
def test_a_missing_key_is_named(key):
    data = json.loads(three_vertices().to_json())
    del data[key]
    with pytest.raises(ValueError, match=key):
        Architecture.from_json(json.dumps(data))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_shape": (8, 8)}, r"input_shape must be \(height, width, channels\), got \(8, 8\)"),
        ({"input_shape": (8, 0, 3)}, r"input_shape must be .*got \(8, 0, 3\)"),
        ({"classes": 1}, "classes must be at least 2, got 1"),
        ({"head": "none"}, "head must be one of concat, merge, got 'none'"),
        ({"blocks": ()}, "blocks must hold at least one block, got none"),
        (
            {"blocks": (Block("a", ("b",), 4, 1), Block("b", ("source",), 4, 1))},
            r"block 'a' must read source or earlier blocks, got \('b',\)",
        ),
        ({"blocks": (Block("a", (), 4, 1),)}, r"block 'a' must read source .*got \(\)"),
        (
            {"blocks": (Block("a", ("source",), 4, 1), Block("a", ("source",), 4, 1))},
            "block names must differ, got 'a' twice",
        ),
        ({"blocks": (Block("a", ("source",), 4, 3),)}, "block 'a' cannot stride 3 over 8x8"),
        ({"block": "dense"}, "block must be one of paper, plain, .*got 'dense'"),
        ({"depth": 2}, "depth must be at least 1, with the paper's block 1, got 2 with 'paper'"),
        ({"block": "plain", "depth": 0}, "depth must be at least 1.*got 0 with 'plain'"),
        ({"stem_strides": 2}, "stem_strides must be 1 or, of a stem, 2, got 2 with .*=None"),
        ({"stem_filters": 4, "stem_strides": 3}, "stem_strides must be .*got 3 with .*=4"),
        (
            {"block": "plain", "blocks": (Block("a", ("source",), 4, 4),)},
            "block 'a': strides must be one of 1, 2 with depth 1, got 4",
        ),
        (
            {
                "input_shape": (12, 12, 1),
                "blocks": (
                    Block("a", ("source",), 4, 2),
                    Block("b", ("source",), 4, 3),
                    Block("c", ("a", "b"), 4, 1),
                ),
            },
            "c expects every input size to be a whole multiple of the smallest, got 6x6 beside 4x4",
        ),
    ],
)
def test_an_impossible_architecture_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        three_vertices(**changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"staging": "lazy"}, "staging must be one of uniform, .*got 'lazy'"),
        ({"staging": "merges"}, "staging 'merges' needs a graph of kind FB"),
        ({"filters": 0}, "filters must be at least 1 .*filters=0"),
        ({"filters": 64, "channel_cap": 32}, "at most channel_cap, got filters=64, channel_cap=32"),
        ({"probability": 1.5}, r"probability must lie between 0 and 1, got 1\.5"),
        ({"probability": float("nan")}, "probability must lie between 0 and 1, got nan"),
        ({"growth": 0.5}, r"growth must be at least 1, got 0\.5"),
        ({"growth": float("nan")}, "growth must be at least 1, got nan"),
        ({"head": "sum"}, "head must be one of concat, merge, got 'sum'"),
    ],
)
def test_a_bad_argument_of_stage_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        stage(CHAIN, (32, 32, 3), 10, **arguments)


def test_stage_refuses_a_single_class():
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        stage(CHAIN, (32, 32, 3), 1)


@pytest.mark.parametrize("shape", [(32, 32), (0, 32, 3)])
def test_stage_names_a_bad_input_shape(shape):
    with pytest.raises(ValueError, match="input_shape must be"):
        stage(CHAIN, shape, 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks": (Block("a", ("source",), 0, 1),)}, "filters"),
        ({"blocks": (Block("a", ("source",), 4, 0),)}, "strides"),
        ({"stem_filters": -1}, "stem_filters"),
    ],
)
def test_a_block_without_filters_or_strides_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        three_vertices(**changes)
