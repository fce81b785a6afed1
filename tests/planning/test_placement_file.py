import dataclasses
import re

import pytest
from hypothesis import given, settings
from plans import check_replay, check_valid, cluster_of, clusters, graphs, with_memory, work

from keras_concurrent.errors import ClusterError, PlacementError
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.placement_file import placement_toml, read_placement
from keras_concurrent.planning.segments import plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph

SHA = "ab" * 32


def numbered(graph):
    """As a .tflite's graph is: one task an operator."""
    tasks = (dataclasses.replace(task, operators=(i,)) for i, task in enumerate(graph.tasks))
    return dataclasses.replace(graph, tasks=tuple(tasks))


# image -> a -> x -> b -> y -> c -> answer, and x -> d -> other
GRAPH = numbered(
    TaskGraph(
        (
            work("a", 1, "image", "x"),
            work("b", 2, "x", "y"),
            work("c", 3, "y", "answer"),
            work("d", 4, "x", "other"),
        ),
        dict.fromkeys(("image", "x", "y", "answer", "other"), 1000),
        ("image",),
        ("answer", "other"),
    )
)
GOOD = f"""\
schema_version = 1
model_sha256 = "{SHA}"

[[segment]]
board = "p1"
operators = "0"

[[segment]]
board = "p2"
operators = "3"

[[segment]]
board = "p1"
operators = "1-2"
"""


@pytest.fixture
def read(tmp_path):
    def read(text, cluster=None, graph=GRAPH):
        path = tmp_path / "placement.toml"
        path.write_text(text)
        return read_placement(path, graph, cluster or cluster_of(1.0, 1.0), SHA)

    return read


def test_what_is_written_is_planned_as_it_stands(read):
    plan = read(GOOD)
    assert [(s.task, s.board) for s in plan.slots] == [("a", "p1"), ("b", "p1"), ("d", "p2")]
    # image 2, a 1; b and c 5, the answer 2; x 2 and d 4 on p2, the other answer 2
    assert plan.latency_s == pytest.approx(0.011)
    check_valid(plan, cluster_of(1.0, 1.0), calls=True)


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), cluster=clusters())
def test_a_plan_survives_its_file(tmp_path_factory, graph, cluster):
    own = numbered(graph)
    plan = plan_segments(own, cluster, effort=Effort(50))
    path = tmp_path_factory.getbasetemp() / "placement.toml"
    path.write_text(placement_toml(plan, SHA))
    again = read_placement(path, own, cluster, SHA)
    for board in cluster.boards:
        assert [again.graph.by_name[name].operators for name in again.tasks_on(board.name)] == [
            plan.graph.by_name[name].operators for name in plan.tasks_on(board.name)
        ]
    check_replay(again, cluster, calls=True)


def edited(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("= nonsense", "is no TOML file"),
        (
            edited("schema_version = 1", "schema_version = 2"),
            "must have schema_version 1, got 2: `keras-concurrent plan --out` writes one",
        ),
        (edited(SHA, "cd"), f"it places another model: model_sha256 must be {SHA}, got 'cd'"),
        (edited('"p2"', '"p9"'), "segment 2: no board is named 'p9'; the cluster has p1, p2"),
        (edited('"1-2"', '"1-2 4"'), "segment 3: there is no operator 4; the model's are 0-3"),
        (edited('"1-2"', '"1-3"'), "operator 3 is in segment 2 and in 3"),
        (edited('"1-2"', '"1"'), "no segment has the operators 2"),
        (edited('"1-2"', '"2-1"'), "segment 3: operators must not be empty, got '2-1'"),
        (edited('"1-2"', '"one"'), "segment 3: operators must look like '0-11 14', got 'one'"),
        (edited('"1-2"', "[1, 2]"), "operators must look like"),
        (edited('"1-2"', '"1-99999999"'), "1-99999999 is too long a range"),
        (edited('operators = "3"', ""), "segment 2 must have board and operators"),
        (edited('[[segment]]\nboard = "p2"', '[segments]\nboard = "p2"'), "got segments"),
        (
            edited('"0"', '"0 2"').replace('"1-2"', '"1"'),
            "the segments cannot run in any order: groups must not wait for each other",
        ),
        (
            edited('"0"', '"x"').replace('"1-2"', '"0"').replace('"x"', '"1-2"'),
            "segment 1 needs what segment 3 writes; move it behind that",
        ),
    ],
)
def test_what_cannot_run_is_refused_with_the_reason(read, text, message):
    with pytest.raises(PlacementError, match=re.escape(message)) as caught:
        read(text)
    assert "placement.toml" in str(caught.value)


def test_operators_that_are_one_task_stay_together(read):
    chains = GRAPH.quotient([["a"], ["b", "c"], ["d"]])
    assert read(GOOD, graph=chains).latency_s == read(GOOD).latency_s
    apart = edited('"1-2"', '"1"') + '[[segment]]\nboard = "p2"\noperators = "2"\n'
    with pytest.raises(PlacementError, match="operators 1-2 are one task"):
        read(apart, graph=chains)


def test_memory_is_checked(read):
    tasks = tuple(dataclasses.replace(task, parameter_bytes=500_000) for task in GRAPH.tasks)
    heavy = dataclasses.replace(GRAPH, tasks=tasks)
    with pytest.raises(ClusterError, match=r"p1 needs 1\.5 MB .* has 1\.0 MB"):
        read(GOOD, with_memory(cluster_of(1.0, 1.0), 1.0, 1.0), heavy)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PlacementError, match=r"cannot read .*nowhere\.toml"):
        read_placement(tmp_path / "nowhere.toml", GRAPH, cluster_of(1.0), SHA)
