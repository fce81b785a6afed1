import random

import pytest

from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.search import Space, architecture_of

SPACE = Space((32, 32, 3), 10)


def test_the_values_say_all_there_is_to_say_about_a_network():
    values = {
        "image": "16x16x3",
        "classes": 4,
        "kind": "lanes",
        "lanes_lanes": 4,
        "lanes_degree": 1.3,
        "vertices": 12,
        "graph_seed": 7,
        "staging": "probabilistic",
        "halving": 0.25,
        "filters": 8,
        "channel_cap": 32,
        "convolution": "dense",
        "optimizer": "adam",
        "adam_rate": 0.01,
        "tuner/epochs": 3,
    }
    graph = generate("lanes", 12, seed=7, lanes=4, degree=1.3)
    assert architecture_of(values) == stage(
        graph, (16, 16, 3), 4, probability=0.25, filters=8, channel_cap=32, separable=False, seed=7
    )


def test_a_candidate_is_the_same_whoever_draws_the_others():
    alone = SPACE.draw(5, 17)
    random.seed(1)
    assert [SPACE.draw(5, index) for index in (3, 17)][1] == alone
    assert SPACE.draw(5, 18) != alone
    assert SPACE.draw(6, 17) != alone


def test_a_known_candidate():
    """The same on every machine, and from one version to the next: records are built again."""
    assert SPACE.draw(0, 0) == KNOWN


KNOWN = {
    "image": "32x32x3",
    "classes": 10,
    "kind": "BA",
    "BA_m": 5,
    "vertices": 16,
    "graph_seed": 263,
    "staging": "probabilistic",
    "halving": 0.75,
    "filters": 24,
    "channel_cap": 128,
    "convolution": "separable",
    "optimizer": "adam",
    "adam_rate": pytest.approx(0.005791285053361236),
}


def test_every_drawn_candidate_has_what_applies_to_it_and_nothing_else():
    space = Space((32, 32, 3), 10, kinds=("DP", "chain", "WS"), optimizers=("adam", "sgd"))
    for index in range(100):
        values = space.draw(0, index)
        assert ("DP_beta" in values) == (values["kind"] == "DP")
        assert ("WS_k" in values) == (values["kind"] == "WS")
        assert ("halving" in values) == (values["staging"] == "probabilistic")
        rate = values[f"{values['optimizer']}_rate"]
        low, high = {"adam": (1e-3, 1e-2), "sgd": (1e-2, 3e-1)}[values["optimizer"]]
        assert low <= rate <= high
        network = architecture_of(values)
        assert len(network.blocks) == values["vertices"]
        assert network.recipe["kind"] == values["kind"]


def test_blocks_that_are_asked_for_are_drawn_with_their_depths():
    space = Space(
        (30, 30, 3), 10, blocks=("residual", "paper", "plain"), depths=(3, 1),
        stagings=("balanced", "greedy"),
    )  # fmt: skip
    assert space.defaults()["block"] == "residual"
    assert space.defaults()["residual_depth"] == 3
    seen = set()
    for index in range(60):
        values = space.draw(0, index)
        block = values["block"]
        assert ("convolution" in values) == (block == "paper")
        assert {name for name in values if name.endswith("_depth")} == (
            set() if block == "paper" else {f"{block}_depth"}
        )
        network = architecture_of(values)
        assert (network.block, network.depth) == (block, values.get(f"{block}_depth", 1))
        seen.add((network.block, network.depth, network.recipe["staging"]))
    assert len(seen) == 2 * (2 + 1 + 2)


def test_a_record_without_a_block_is_of_the_paper_s():
    assert "block" not in SPACE.defaults()
    assert architecture_of(SPACE.defaults()).block == "paper"


def test_small_graphs_have_the_defaults_that_fit_them():
    space = Space((32, 32, 3), 10, kinds=("lanes", "BA"), vertices=(4, 9))
    values = {parameter.name: getattr(parameter, "values", ()) for parameter in space.parameters}
    assert values["lanes_lanes"] == (4,)
    assert values["BA_m"] == (1, 2)


def test_the_default_candidate_is_the_first_of_everything():
    values = SPACE.defaults()
    assert (values["kind"], values["vertices"], values["graph_seed"]) == ("DP", 16, 0)
    assert values["adam_rate"] == pytest.approx((1e-3 * 1e-2) ** 0.5)
    architecture_of(values)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kinds": ()}, "kinds must be at least one value"),
        ({"kinds": ("XX",)}, "kinds must be some of ER"),
        ({"stagings": ("merges",)}, "stagings must be some of uniform"),
        ({"filters": (64,), "channel_caps": (32, 128)}, "filters must be at most 32"),
        (
            {"vertices": (6,), "kinds": ("lanes",), "wiring": {"lanes": {"lanes": (8,)}}},
            "wiring must be possible with 6 vertices, got .*'lanes': 8",
        ),
        ({"vertices": (8,), "kinds": ("FB",)}, "FB's k must be wired with 8 vertices"),
        ({"rates": {"adam": (0.1, 0.01)}}, "rates must be 0 < low < high for adam"),
        ({"rates": {"lion": (0.1, 0.2)}}, "rates must be adam, sgd"),
        ({"wiring": {"DP": {"q": (1,)}}}, "wiring of DP must be some of p, alpha, beta"),
        ({"vertices": (8, 8)}, "vertices must be different values"),
        ({"graph_seeds": 0}, "graph_seeds must be at least 1"),
        ({"blocks": ("dense",)}, "blocks must be some of paper, plain"),
        ({"depths": (0, 1)}, "depths must be at least 1"),
        ({"classes": 1}, "classes must be at least 2"),
    ],
)
def test_a_space_holds_only_networks_that_exist(wrong, message):
    with pytest.raises(ValueError, match=message):
        Space(**{"image_shape": (32, 32, 3), "classes": 10, **wrong})


def test_a_record_that_lacks_something_says_what():
    values = SPACE.defaults()
    del values["staging"]
    with pytest.raises(ValueError, match="must have a value for 'staging'"):
        architecture_of(values)
