import csv
import statistics

import pytest

from keras_concurrent.cluster import Cluster
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.planning.chains import chains_as_tasks, vertices
from keras_concurrent.planning.effort import LISTS_ALONE, SCREENING
from keras_concurrent.planning.schedule import schedule
from keras_concurrent.planning.segments import merge_segments, one_board
from keras_concurrent.scoring.efficiency import efficiency
from keras_concurrent.search import Costs, Screening, Space, architecture_of, screen
from keras_concurrent.search.screening import Candidate, capacity_of

SPACE = Space((16, 16, 3), 10, vertices=(12, 16))
CLUSTER = Cluster.of("pi4", 4, "1gbit")


@pytest.fixture(scope="module")
def screened():
    return screen(SPACE, CLUSTER, 450, seed=3, processes=1)


def candidate(index, latency_s, capacity):
    return Candidate(index, {"n": index}, Costs(latency_s, 1.0, 1, 1, 0.5), capacity)


def test_the_number_of_processes_does_not_matter(screened):
    told = []
    again = screen(
        SPACE, CLUSTER, 450, seed=3, processes=3, progress=lambda *done: told.append(done)
    )
    assert again == screened
    assert told[-1] == (450, 450)


def test_a_candidate_costs_what_its_plan_says(screened):
    for each in screened.candidates[::50]:
        network = architecture_of(each.values)
        graph = network.network_tasks()
        alone = one_board(graph, CLUSTER)
        chained = chains_as_tasks(graph)
        wholes = chained.quotient(vertices(chained))
        tried = ((chained, LISTS_ALONE), (wholes, LISTS_ALONE), (wholes, SCREENING))
        plans = [
            merge_segments(schedule(grain, CLUSTER, effort=effort), CLUSTER)
            for grain, effort in tried
        ]
        plan = min([alone, *plans], key=lambda plan: plan.latency_s)
        assert each.costs.latency_s == pytest.approx(plan.latency_s)
        assert each.costs.one_board_latency_s == pytest.approx(alone.latency_s)
        assert each.costs.efficiency == pytest.approx(efficiency(plan, CLUSTER, alone).efficiency)
        assert each.costs.flops == graph.flops > sum(network.block_flops.values())
        assert each.costs.parameters == network.parameters


def test_candidates_are_the_draws_each_once():
    tiny = Space(
        (8, 8, 1), 2, kinds=("chain",), vertices=(2, 3), graph_seeds=2, stagings=("uniform",),
        filters=(4,), channel_caps=(8,), convolutions=("dense",), optimizers=("adam",),
    )  # fmt: skip
    # Two sizes and two seeds; the learning rate is continuous, but always the default here.
    found = screen(tiny, CLUSTER, 60)
    draws = [tiny.draw(0, c.index) for c in found.candidates]
    assert {(v["vertices"], v["graph_seed"]) for v in draws} == {(2, 0), (2, 1), (3, 0), (3, 1)}
    assert len(draws) == 4
    rate = tiny.defaults()["adam_rate"]
    assert [c.values for c in found.candidates] == [{**v, "adam_rate": rate} for v in draws]
    assert all(v["adam_rate"] != rate for v in draws)


def test_capacity_is_the_weights_times_the_share_of_the_image_that_is_seen(screened):
    # A chain of four: 3, 5, 7, 9 pixels of a side of 16.
    chain = stage(generate("chain", 4, seed=0), (16, 16, 3), 10, staging="uniform", filters=8)
    assert capacity_of(chain) == pytest.approx(chain.parameters * 9 / 16)
    # Halving at each: 3, 7, 15, 31 pixels, more than there are.
    chain = stage(generate("chain", 4, seed=0), (16, 16, 3), 10, staging="greedy", filters=4)
    assert capacity_of(chain) == chain.parameters
    for each in screened.candidates[::50]:
        assert each.capacity == capacity_of(architecture_of(each.values))


def test_limits_keep_what_they_say(screened):
    latency_s = statistics.median(c.costs.latency_s for c in screened.candidates)
    parameters = statistics.median_low(c.costs.parameters for c in screened.candidates)
    kept = screened.keeping(f"latency_s <= {latency_s!r}", f"parameters <= {parameters}")
    assert 0 < len(kept.candidates) < len(screened.candidates)
    assert {c.index for c in kept.candidates} == {
        c.index
        for c in screened.candidates
        if c.costs.latency_s <= latency_s and c.costs.parameters <= parameters
    }


def test_a_screening_does_not_know_the_concurrency_score(screened):
    with pytest.raises(ValueError, match=r"are on latency_s, .* got 'concurrency_score <= 1'"):
        screened.keeping("concurrency_score <= 1")


def test_no_candidate_beats_one_of_the_pareto_set(screened):
    best = screened.pareto({"latency_s": "min", "flops": "max"})
    assert [c.costs.latency_s for c in best] == sorted(c.costs.latency_s for c in best)
    for one in best:
        for other in screened.candidates:
            quicker = other.costs.latency_s <= one.costs.latency_s
            larger = other.costs.flops >= one.costs.flops
            same = (other.costs.latency_s, other.costs.flops) == (
                one.costs.latency_s, one.costs.flops,
            )  # fmt: skip
            assert same or not (quicker and larger)


def test_a_spread_takes_the_two_most_capable_and_the_widest_gap_by_turns():
    # On the front: latencies 1, 2, 4, 8, 16; in its shadow: 3 with the capacity of 1.
    on = [candidate(i, float(2**i), 2.0**i) for i in range(5)]
    shadow = [candidate(9, 3.0, 1.0)]
    spread = Screening((*shadow, *on)).spread(9)
    # Capacities 16 and 8; farthest from both, 1; capacities 4 and 2; what is left.
    assert [c.costs.latency_s for c in spread] == [16.0, 8.0, 1.0, 4.0, 2.0, 3.0]
    assert Screening((*shadow, *on)).spread(3) == spread[:3]
    assert Screening(()).spread(3) == ()


def test_a_spread_takes_networks_of_the_same_figures_once():
    twins = [candidate(i, 2.0, 3.0) for i in range(4)]
    assert [c.index for c in Screening((*twins, candidate(4, 1.0, 1.0))).spread(9)] == [0, 4]


def test_the_table_holds_costs_and_values(screened):
    rows = list(csv.DictReader(screened.to_csv().splitlines()))
    assert len(rows) == len(screened.candidates)
    first = screened.candidates[0]
    assert float(rows[0]["latency_s"]) == first.costs.latency_s
    assert float(rows[0]["capacity"]) == first.capacity
    assert rows[0]["kind"] == first.values["kind"]


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"processes": 0}])
def test_numbers_below_one_are_refused(wrong):
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        screen(SPACE, CLUSTER, **wrong)
