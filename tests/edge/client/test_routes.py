"""Routes without some boards: valid, near what the planner would do, and right when run."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent.board import Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.client.presence import avoid
from keras_concurrent.edge.client.routes import assign, reroute
from keras_concurrent.edge.manifest import WHOLE, Manifest, SegmentSpec, TensorSpec
from keras_concurrent.edge.placement import Event, Placement
from keras_concurrent.edge.segment_costs import SegmentCosts
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.interpreter import Segment
from keras_concurrent.network import ClientComputer, Network
from keras_concurrent.planning.schedule import decode
from keras_concurrent.planning.segments import plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph


def slow_boards(count, medium="switch", rates=(0.01,)):
    boards = tuple(
        Board(
            f"p{i}", rates[i % len(rates)], f"tcp/127.0.0.1:{7000 + i}", call_ms=0.05,
            message_ms=0.05, message_gb_per_s=1.0,
        )
        for i in range(count)
    )  # fmt: skip
    return Cluster(boards, Network(1000.0, 0.1, medium), client=ClientComputer(0.05))


@pytest.fixture(scope="module")
def made(small_file, tmp_path_factory):
    cluster = slow_boards(4)
    bundle = export_bundle(small_file, cluster, tmp_path_factory.mktemp("routes") / "bundle")
    assert len(bundle.placement("boards").programs) >= 3
    return bundle, cluster


# ---------------------------------------------------------------- whom to leave out


@pytest.mark.parametrize(
    ("absent", "cuts", "out"),
    [
        ("", "", ""),
        ("a", "", "a"),
        ("", "ab", "b"),  # of equals the later by name
        ("", "ab ac ad", "a"),  # the one with most cut links
        ("b", "ab", "b"),  # nothing is lost by a link to who is gone
        ("", "ab cd", "b d"),
        ("", "ab bc ca", "c b"),
    ],
)
def test_who_is_left_out(absent, cuts, out):
    pairs = [frozenset(pair) for pair in cuts.split()]
    assert avoid(set(absent.split()), pairs) == set(out.split())


def test_who_does_not_reach_the_client_is_left_out():
    assert avoid(set(), [frozenset(("a", "client"))]) == {"a"}


@given(st.lists(st.sampled_from("abcdef"), max_size=3), st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=8))  # fmt: skip
def test_no_two_that_are_left_are_cut_from_each_other(absent, pairs):
    cuts = [frozenset(pair) for pair in pairs if pair[0] != pair[1]]
    out = avoid(absent, cuts)
    assert out >= set(absent)
    assert all(cut & out for cut in cuts)


# ---------------------------------------------------------------- what the others do


def test_with_every_board_the_plan_itself_is_followed(made):
    bundle, cluster = made
    assert reroute(bundle.manifest, cluster, "boards", ()) is bundle.placement("boards")
    assert reroute(bundle.manifest, cluster, "boards", [b.name for b in cluster.boards]) is None


def run_route(bundle, placement, image):
    """Run a placement as boards would, each keeping its orders; the answer."""
    manifest = bundle.manifest
    holds = {"client": {manifest.inputs[0]: image}, **{b: {} for b in placement.programs}}
    left = {b: list(p.segments) for b, p in placement.programs.items()}
    sends = {b: list(p.sends) for b, p in placement.programs.items()}
    sends["client"] = list(placement.client_sends)
    moved = True
    while moved:
        moved = False
        for board, own in sends.items():
            while own and own[0].tensor in holds[board]:
                send = own.pop(0)
                assert send.tensor not in holds[send.receiver]  # a tensor travels once
                holds[send.receiver][send.tensor] = holds[board][send.tensor]
                moved = True
        for board, own in left.items():
            while own and set(manifest.segments[own[0]].inputs) <= holds[board].keys():
                segment = Segment(bundle.content(own.pop(0)))
                values = [holds[board][name] for name in segment.input_names]
                holds[board].update(zip(segment.output_names, segment.run(values), strict=True))
                moved = True
    assert not any(left.values())
    assert not any(sends.values())
    return holds["client"][manifest.outputs[0]]


@settings(max_examples=12, deadline=None)
@given(out=st.sets(st.sampled_from(["p0", "p1", "p2", "p3"]), max_size=3))
def test_any_loss_leaves_a_route_that_gives_the_same_answer(made, out):
    bundle, cluster = made
    placement = reroute(bundle.manifest, cluster, "boards", out)
    assert not out & placement.programs.keys()
    placements = {**bundle.manifest.placements, "boards": placement}
    dataclasses.replace(bundle.manifest, placements=placements).check()
    image = np.random.default_rng(0).random((1, 16, 16, 3), dtype=np.float32)
    whole = Segment(bundle.content(WHOLE)).run([image])[0]
    assert np.array_equal(run_route(bundle, placement, image), whole)


def test_the_more_boards_are_lost_the_later_the_answer_and_never_later_than_one_boards(made):
    bundle, cluster = made
    latencies = [
        reroute(bundle.manifest, cluster, "boards", [f"p{i}" for i in range(lost)])
        .predicted_latency_s
        for lost in range(4)
    ]  # fmt: skip
    assert latencies == sorted(latencies)
    alone = bundle.placement("one_board").predicted_latency_s
    assert latencies[3] == pytest.approx(alone)


@pytest.mark.parametrize("medium", ["switch", "shared"])
@pytest.mark.parametrize("rates", [(0.01,), (0.01, 0.02)])
def test_times_are_near_the_planners_own_for_the_same_assignment(small_file, medium, rates,
                                                                 tmp_path):  # fmt: skip
    """An independent second way: the planner may fill a gap, so it is never later by much."""
    cluster = slow_boards(4, medium, rates)
    bundle = export_bundle(small_file, cluster, tmp_path / "bundle")
    plan = plan_segments(TaskGraph.from_tflite(small_file), cluster)
    order = [e.name for e in bundle.placement("boards").predicted if e.kind == "run"]
    names = dict(zip(order, (task.name for task in plan.graph.tasks), strict=True))
    rng = np.random.default_rng(0)
    for _ in range(10):
        boards = {name: f"p{rng.integers(4)}" for name in order}
        ours = assign(
            bundle.manifest, cluster, order, boards, SegmentCosts(bundle.manifest, cluster)
        ).predicted_latency_s
        theirs = decode(
            plan.graph, cluster, {names[name]: board for name, board in boards.items()}
        ).latency_s
        assert theirs * 0.999 <= ours <= theirs * 1.1


def test_int8_segments_take_on_each_board_what_its_int8_rate_says(made):
    bundle, cluster = made
    segments = bundle.manifest.segments
    int8 = {name: dataclasses.replace(s, int8_flops=s.flops) for name, s in segments.items()}
    manifest = dataclasses.replace(bundle.manifest, segments=int8)
    rates = {"p0": (0.01, None), "p1": (0.01, 0.03), "p2": (0.02, 0.03), "p3": (0.01, 0.08)}
    boards = (
        dataclasses.replace(b, gflops_per_s=rates[b.name][0], int8_gops_per_s=rates[b.name][1])
        for b in cluster.boards
    )
    costs = SegmentCosts(manifest, dataclasses.replace(cluster, boards=tuple(boards)))
    ops = int8[WHOLE].flops
    assert ops == sum(segment.flops for name, segment in int8.items() if name != WHOLE)
    planned_s = costs.run_s(WHOLE, "p0") - 0.05e-3  # without the call
    assert planned_s == pytest.approx(ops / 0.01e9)
    for board, times in (("p1", 3), ("p2", 3), ("p3", 8)):
        assert costs.run_s(WHOLE, board) - 0.05e-3 == pytest.approx(planned_s / times)


def test_a_board_that_is_slower_than_described_gets_less(made):
    bundle, cluster = made
    placement = reroute(bundle.manifest, cluster, "boards", (), {"p1": 3.0})
    costs = SegmentCosts(bundle.manifest, cluster, {"p1": 3.0})
    planned = bundle.placement("boards")
    order = [e.name for e in planned.predicted if e.kind == "run"]
    where = {s: b for b, program in planned.programs.items() for s in program.segments}
    kept = assign(bundle.manifest, cluster, order, where, costs)
    assert placement.predicted_latency_s < 0.9 * kept.predicted_latency_s
    dataclasses.replace(
        bundle.manifest, placements={**bundle.manifest.placements, "boards": placement}
    ).check()


def test_a_board_gets_no_more_than_it_has_memory_for(made):
    bundle, cluster = made
    planned = bundle.placement("boards").programs
    sizes = {b: sum(bundle.manifest.segments[s].bytes for s in p.segments)
             for b, p in planned.items()}  # fmt: skip
    lost = max(sizes, key=sizes.get)
    full, roomy = sorted(board.name for board in cluster.boards if board.name != lost)[:2]
    tight = dataclasses.replace(cluster, boards=tuple(
        dataclasses.replace(b, memory_mb=(sizes.get(full, 0) + 1) / 1e6) if b.name == full else b
        for b in cluster.boards
    ))  # fmt: skip
    placement = reroute(bundle.manifest, tight, "boards", [lost])
    for board, program in placement.programs.items():
        held = sum(bundle.manifest.segments[segment].bytes for segment in program.segments)
        assert held <= tight.board(board).memory_bytes
    free = reroute(bundle.manifest, cluster, "boards", [lost])
    assert roomy in free.programs
    assert placement.predicted_latency_s >= free.predicted_latency_s


def test_tensors_are_sent_as_they_become_ready_whatever_the_order_in_the_file():
    spec = SegmentSpec("x.tflite", "0" * 64, 1, (), (), flops=10**6)
    segments = {
        "early": dataclasses.replace(spec, inputs=("image",), outputs=("z",)),
        "late": dataclasses.replace(spec, inputs=("image",), outputs=("a",)),
        "join": dataclasses.replace(spec, inputs=("a", "z"), outputs=("y",)),
    }
    events = tuple(Event("run", name, "p0", 0.0, 0.1) for name in segments)
    placement = Placement({}, (), 0.3, events)
    tensors = {name: TensorSpec((1, 1000), "float32") for name in ("image", "a", "z", "y")}
    manifest = Manifest(("image",), ("a", "y", "z"), tensors, segments, {"boards": placement})
    cluster = slow_boards(2)
    placed = assign(
        manifest, cluster, list(segments), {"early": "p0", "late": "p0", "join": "p1"},
        SegmentCosts(manifest, cluster),
    )  # fmt: skip
    sends = [(send.tensor, send.receiver) for send in placed.programs["p0"].sends]
    assert sends == [("z", "p1"), ("a", "p1"), ("z", "client"), ("a", "client")]
