"""After which windows strips exchange rows: the program against every choice there is."""

from dataclasses import replace
from itertools import chain, combinations

import pytest
from drawn_networks import Network
from in_process import slow_boards

from keras_concurrent.export.exchanging import Exchanging
from keras_concurrent.planning.schedule import decode
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.strips.decisions import Choice
from keras_concurrent.tflite.strips.rewriting import decided_for, strips

SHARES = (1, 1, 1)


def cluster(message_ms):
    """Three boards whose segments cost nothing to call."""
    boards = slow_boards(3).boards
    return replace(
        slow_boards(3),
        boards=tuple(replace(b, call_ms=0.0, message_ms=message_ms) for b in boards),
    )


@pytest.fixture(scope="module")
def file():
    """Five windows, the images twice as small after the third."""
    network = Network()
    x = network.convolution(network.image(24, 24, 3), 16)
    for stride in (1, 2, 1, 1):
        x = network.convolution(x, 16, stride=stride)
    network.mean(x)
    return network.file()


def chosen(file, cluster, weight=1.0):
    draft, _, decided = decided_for(file, Choice(SHARES))
    graph = TaskGraph.from_tflite(file)
    return Exchanging(graph, cluster, cluster.boards, draft, decided).best(weight)


def latency_s(file, cluster, after):
    split = strips(file, SHARES, exchange_after=after)
    graph = TaskGraph.from_tflite(split.file)
    home = {i: cluster.boards[strip].name for i, strip in split.strip_of.items()}
    first = cluster.boards[0].name
    homes = {task.name: home.get(task.operators[0], first) for task in graph.tasks}
    return decode(graph, cluster, homes).latency_s


def test_rows_are_exchanged_after_each_window_where_messages_cost_nothing(file):
    assert chosen(file, cluster(1.0), weight=0.0) == (1, 2, 3, 4)


def test_rows_are_never_exchanged_where_messages_cost_more_than_all_rows(file):
    assert chosen(file, cluster(1e4)) == ()


@pytest.mark.parametrize("message_ms", [0.01, 0.3, 1.0, 3.0, 10.0])
def test_no_other_exchanges_make_a_plan_much_shorter(file, message_ms):
    boards = cluster(message_ms)
    levels = (1, 2, 3, 4)
    every = chain.from_iterable(combinations(levels, n) for n in range(5))
    least_s = min(latency_s(file, boards, after) for after in every)
    assert latency_s(file, boards, chosen(file, boards)) < 1.05 * least_s
