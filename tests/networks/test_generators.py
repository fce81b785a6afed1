import json
import math
import os
import statistics
import subprocess
import sys

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent.networks.generators import KINDS, SINK, SOURCE, defaults, generate


def inner(graph):
    """The graph without source and sink."""
    return graph.subgraph([v for v in graph if v not in (SOURCE, SINK)])


def ring_distance(a, b, vertices):
    return min(abs(a - b), vertices - abs(a - b))


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(KINDS), vertices=st.integers(16, 60), seed=st.integers(0, 2**63 - 1))
def test_every_kind_is_a_dag_between_one_source_and_one_sink(kind, vertices, seed):
    graph = generate(kind, vertices, seed=seed)
    assert list(graph) == [SOURCE, *range(vertices), SINK]
    assert nx.is_directed_acyclic_graph(graph)
    assert [v for v, degree in graph.in_degree if degree == 0] == [SOURCE]
    assert [v for v, degree in graph.out_degree if degree == 0] == [SINK]
    assert all(a < b for a, b in inner(graph).edges)
    # Source and sink touch only vertices that would otherwise have no one.
    assert all(graph.in_degree(v) == 1 for v in graph.successors(SOURCE))
    assert all(graph.out_degree(v) == 1 for v in graph.predecessors(SINK))
    recipe = graph.graph
    assert (recipe["kind"], recipe["vertices"], recipe["seed"]) == (kind, vertices, seed)
    assert recipe["parameters"] == defaults(kind)


def test_a_chain_reads_only_its_neighbour():
    assert list(generate("chain", 4, seed=0).edges) == [
        (SOURCE, 0), (0, 1), (1, 2), (2, 3), (3, SINK)
    ]  # fmt: skip


def test_er_with_probability_0_and_1_is_empty_and_complete():
    empty = generate("ER", 7, seed=3, p=0)
    assert inner(empty).number_of_edges() == 0
    assert set(empty.successors(SOURCE)) == set(range(7)) == set(empty.predecessors(SINK))
    complete = generate("ER", 7, seed=3, p=1)
    assert set(inner(complete).edges) == {(a, b) for a in range(7) for b in range(a + 1, 7)}


def test_er_draws_each_pair_with_its_probability():
    # 200 graphs of 20 * 19 / 2 = 190 pairs: 38,000 draws with p = 0.2.
    edges = sum(inner(generate("ER", 20, seed=s)).number_of_edges() for s in range(200))
    assert edges / 38_000 == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 / 38_000))


def test_ws_without_rewiring_is_a_ring_of_four_neighbours():
    ring = inner(generate("WS", 11, seed=0, p=0)).to_undirected()
    expected = {frozenset((v, (v + d) % 11)) for v in range(11) for d in (1, 2)}
    assert {frozenset(edge) for edge in ring.edges} == expected
    assert {degree for _, degree in ring.degree} == {4}


def test_ws_rewires_without_adding_edges():
    rewired = inner(generate("WS", 40, seed=5))
    assert rewired.number_of_edges() == 40 * 4 // 2
    near = sum(ring_distance(a, b, 40) <= 2 for a, b in rewired.edges)
    # An edge stays with probability 0.25: 80 * 0.25 = 20, and a few land near again.
    assert 8 <= near <= 36


def test_ba_adds_m_edges_a_vertex():
    # A star of 5 edges on the first 6 vertices, then 34 vertices with 5 edges each: 175.
    graph = inner(generate("BA", 40, seed=2))
    assert graph.number_of_edges() == 5 + 34 * 5 == 175
    assert all(graph.in_degree(v) == 5 for v in range(6, 40))


def test_dp_is_complete_or_empty_at_the_ends_of_its_range():
    complete = inner(generate("DP", 9, seed=1, p=1, alpha=1))
    assert complete.number_of_edges() == 9 * 8 // 2
    assert inner(generate("DP", 9, seed=1, alpha=0)).number_of_edges() == 0
    assert inner(generate("DP", 9, seed=1, p=0)).number_of_edges() == 0


def test_dp_joins_vertices_by_ring_distance_as_equation_1_says():
    vertices, seeds, alpha, p, beta = 12, 400, 0.8, 0.5, 0.5
    found = dict.fromkeys(range(1, 7), 0)
    for seed in range(seeds):
        graph = generate("DP", vertices, seed=seed, alpha=alpha, p=p, beta=beta)
        for a, b in inner(graph).edges:
            found[ring_distance(a, b, vertices)] += 1
    for distance, edges in found.items():
        draws = seeds * (6 if distance == 6 else 12)  # six diameters, otherwise twelve pairs
        expected = alpha * p ** (beta * distance)
        error = math.sqrt(expected * (1 - expected) / draws)
        assert edges / draws == pytest.approx(expected, abs=4 * error), distance


@pytest.fixture(scope="module")
def dp_forty():
    return [inner(generate("DP", 40, seed=seed)) for seed in range(300)]


def mean_and_error(values):
    return statistics.mean(values), statistics.stdev(values) / math.sqrt(len(values))


@pytest.mark.parametrize(
    ("what", "published"),
    [("components", 13.7), ("depth", 7.2), ("edges", 29), ("isolated", 7)],
)
def test_dp_defaults_have_the_calibrated_shape(dp_forty, what, published):
    measure = {
        "components": nx.number_weakly_connected_components,
        "depth": lambda graph: nx.dag_longest_path_length(graph) + 1,
        "edges": nx.DiGraph.number_of_edges,
        "isolated": lambda graph: sum(1 for _ in nx.isolates(graph)),
    }[what]
    mean, error = mean_and_error([measure(graph) for graph in dp_forty])
    rounding = 0.5 if isinstance(published, int) else 0.05
    assert abs(mean - published) < 4 * error + rounding


def test_dp_defaults_agree_with_their_expected_values(dp_forty):
    # A vertex has two neighbours at each distance 1..19 and one at 20.
    r = 0.5**1.25
    edges = 40 * sum(r**d for d in range(1, 20)) + 20 * r**20
    isolated = 40 * math.prod((1 - r**d) ** 2 for d in range(1, 20)) * (1 - r**20)
    mean, error = mean_and_error([graph.number_of_edges() for graph in dp_forty])
    assert mean == pytest.approx(edges, abs=4 * error)
    mean, error = mean_and_error([len(list(nx.isolates(graph))) for graph in dp_forty])
    assert mean == pytest.approx(isolated, abs=4 * error)


@settings(max_examples=40, deadline=None)
@given(vertices=st.integers(16, 80), stages=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_fb_merges_everything_between_its_stages(vertices, stages, seed):
    graph = generate("FB", vertices, seed=seed, stages=stages)
    merges = graph.graph["merges"]
    assert len(merges) == stages - 1
    assert nx.is_weakly_connected(inner(graph)) or stages == 1
    for merge in merges:
        rest = graph.subgraph([v for v in graph if v != merge])
        before = {v for v in range(vertices) if v < merge}
        assert nx.descendants(rest, SOURCE) == before
        assert nx.ancestors(rest, SINK) == set(range(merge + 1, vertices))


def test_fb_stages_are_equally_long():
    assert generate("FB", 40, seed=0).graph["merges"] == [9, 19, 29]


def test_lanes_have_the_chosen_mean_in_degree():
    counts = [inner(generate("lanes", 40, seed=seed)).number_of_edges() for seed in range(300)]
    mean, error = mean_and_error([count / (40 - 8) for count in counts])
    assert mean == pytest.approx(1.3, abs=4 * error)


def test_lanes_lead_to_greater_depth_and_mostly_straight_on():
    edges = [
        e for seed in range(300) for e in inner(generate("lanes", 40, seed=seed, decay=0.3)).edges
    ]
    assert all(b // 8 > a // 8 for a, b in edges)
    straight = sum(b - a == 8 for a, b in edges)
    # c = 1.3 * 32 / (sum of all weights); 32 pairs lie straight on with weight 1.
    weights = [
        0.3 ** (b // 8 - a // 8 + abs(b % 8 - a % 8) - 1)
        for a in range(40)
        for b in range(40)
        if b // 8 > a // 8
    ]
    likely = 1.3 * 32 / sum(weights)
    assert likely < 1
    assert straight / (300 * 32) == pytest.approx(likely, abs=0.01)


@pytest.mark.parametrize("degree", [0.0, 0.7, 1.3, 3.0, 100.0])
@pytest.mark.parametrize("decay", [0.0, 0.3, 1.0])
def test_lanes_keep_their_degree_where_edges_are_certain(degree, decay):
    graphs = [
        inner(generate("lanes", 24, seed=seed, lanes=4, degree=degree, decay=decay))
        for seed in range(200)
    ]
    possible = 20 if decay == 0 else 4 * 4 * (5 + 4 + 3 + 2 + 1)
    mean, error = mean_and_error([graph.number_of_edges() for graph in graphs])
    assert mean == pytest.approx(min(possible, degree * 20), abs=4 * error + 1e-9)


def test_branches_are_equal_chains_that_never_meet():
    graph = inner(generate("branches", 12, seed=0, branches=3))
    assert sorted(graph.edges) == [
        (v, v + 1) for v in range(11) if v not in (3, 7)
    ]  # fmt: skip


def test_another_seed_gives_another_graph():
    for kind in set(KINDS) - {"chain", "branches"}:
        edges = {frozenset(generate(kind, 30, seed=seed).edges) for seed in range(5)}
        assert len(edges) == 5, kind


def test_the_same_seed_gives_the_same_graph_whatever_the_hash_seed():
    program = (
        "import json, sys\n"
        "from keras_concurrent.networks.generators import KINDS, generate\n"
        "graphs = [generate(kind, 30, seed=7) for kind in KINDS]\n"
        "heavy = [name for name in ('tensorflow', 'keras') if name in sys.modules]\n"
        "print(json.dumps([heavy, [[list(map(str, g)), [list(map(str, e)) for e in g.edges]]"
        " for g in graphs]]))\n"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("0", "1", "2")
    ]
    assert answers[0] == answers[1] == answers[2]
    heavy, graphs = json.loads(answers[0])
    assert heavy == []
    for kind, (nodes, edges) in zip(KINDS, graphs, strict=True):
        here = generate(kind, 30, seed=7)
        assert nodes == [str(v) for v in here]
        assert edges == [[str(a), str(b)] for a, b in here.edges]


def test_defaults_are_the_documented_ones():
    assert defaults("ER") == {"p": 0.2}
    assert defaults("BA") == {"m": 5}
    assert defaults("WS") == {"k": 4, "p": 0.75}
    assert defaults("DP") == {"p": 0.5, "alpha": 1.0, "beta": 1.25}
    assert defaults("FB") == {"k": 4, "p": 0.75, "stages": 4}
    assert defaults("lanes") == {"lanes": 8, "degree": 1.3, "decay": 0.1}
    assert defaults("chain") == {}
    assert defaults("branches") == {"branches": 4}


@pytest.mark.parametrize(
    ("kind", "vertices", "parameters", "message"),
    [
        ("XY", 10, {}, r"kind must be one of ER, .*, got 'XY'"),
        ("ER", 1, {}, r"vertices must be a whole number from 2 .*, got 1"),
        ("ER", 2.5, {}, r"vertices must be a whole number .*, got 2\.5"),
        ("ER", True, {}, r"vertices must be a whole number .*, got True"),
        ("ER", 10, {"p": 1.5}, r"p must be a probability between 0 and 1, got 1\.5"),
        ("ER", 10, {"p": math.nan}, r"p must be a probability .*, got nan"),
        ("DP", 10, {"p": -0.1}, r"p must be a probability .*, got -0\.1"),
        ("DP", 10, {"alpha": -1}, r"alpha and beta must not be negative, got alpha=-1"),
        ("DP", 10, {"beta": -1}, r"alpha and beta must not be negative, .*beta=-1"),
        ("ER", 10, {"q": 1}, r"'q' is no parameter of ER; it takes p"),
        ("chain", 10, {"p": 1}, r"'p' is no parameter of chain; it takes no parameters"),
        ("BA", 5, {}, r"m must be a whole number from 1 to 4, got 5"),
        ("WS", 10, {"k": 10}, r"k must be a whole number from 2 to 9, got 10"),
        ("WS", 10, {"k": 1}, r"k must be a whole number from 2 to 9, got 1"),
        ("FB", 16, {"stages": 5}, r"stages must be a whole number from 1 to 4, got 5"),
        ("lanes", 7, {}, r"lanes must be a whole number from 1 to 7, got 8"),
        ("lanes", 10, {"degree": -1}, r"degree must not be negative or infinite, got -1"),
        ("lanes", 10, {"degree": math.nan}, r"degree must not be negative or infinite, got nan"),
        ("lanes", 10, {"decay": 2}, r"decay must be a probability .*, got 2"),
        ("branches", 10, {"branches": 11}, r"branches must be a whole number from 1 to 10, got 11"),
        ("FB", 16, {"stages": 0}, r"stages must be a whole number from 1 to 4, got 0"),
    ],
)
def test_a_bad_argument_is_named_with_what_was_expected(kind, vertices, parameters, message):
    with pytest.raises(ValueError, match=message):
        generate(kind, vertices, seed=0, **parameters)


def test_defaults_of_an_unknown_kind_are_refused():
    with pytest.raises(ValueError, match=r"kind must be one of .*got 'nope'"):
        defaults("nope")


@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_not_a_number_is_refused_by_dp(name):
    with pytest.raises(ValueError, match="alpha and beta"):
        generate("DP", 10, seed=0, **{name: math.nan})


@pytest.mark.parametrize("value", ["many", math.nan])
def test_vertices_that_are_no_number_are_named(value):
    with pytest.raises(ValueError, match="vertices must be a whole number"):
        generate("ER", value, seed=0)
