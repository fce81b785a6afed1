"""The number of threads on which a board is quickest: tried, chosen, written."""

import threading

import pytest
from costless import costless

from keras_concurrent.cluster import Board as BoardEntry
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.board.stretch import Stretch
from keras_concurrent.edge.board.worker import Board
from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.link import questions
from keras_concurrent.edge.link.transport import Exchange
from keras_concurrent.edge.manifest import WHOLE
from keras_concurrent.edge.watch.survey import examine, profile_cluster
from keras_concurrent.edge.watch.threads import ROUNDS, ThreadsTried, numbers_to_try
from keras_concurrent.errors import BoardError
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.network import Network

TWO = costless(
    tuple(
        BoardEntry(f"s{i}", 0.01, f"tcp/127.0.0.1:{7447 + i}", 0.0, cores=cores)
        for i, cores in enumerate((None, 4))
    ),
    Network(1e6, 0.0),
)


class Simulated(Workshop):
    """A board of four cores that takes a second and a half of one for the model.

    A thread costs 0.1 s, and the fourth waits for the messages: 1.6, 0.95, 0.8, and 1.0 s. Pieces
    take equal parts of it, and a call nothing.
    """

    def measure(self, names=None, threads=None):
        threads = self.threads if threads is None else threads
        took_s = 1.5 / min(threads, 3) + 0.1 * threads + 0.1 * (threads > 3)
        pieces = len(self.manifest.segments) - 1
        names = self.manifest.segments if names is None else names
        return {name: took_s / (1 if name == WHOLE else pieces) for name in names}


@pytest.fixture
def served(small_file, tmp_path):
    """Starts boards with given workshops; gives a client of them, and the bundle."""
    bundle, stopped, running = export_bundle(small_file, TWO, tmp_path / "b"), threading.Event(), []
    exchange = Exchange()

    def start(*workshops):
        names = [board.name for board in TWO.boards]
        for name, workshop in zip(names, workshops, strict=True):
            others = frozenset(names) - {name}
            board = Board(name, bundle, exchange.join(name), others, workshop)
            running.append(threading.Thread(target=board.serve, args=(stopped,)))
            running[-1].start()
        client = Client(bundle, TWO, exchange.join("client"))
        running.append(client)
        client.wait_ready(10)
        return client, bundle

    yield start
    if running:
        running.pop().close()
    stopped.set()
    for thread in running:
        thread.join()


def test_one_two_all_and_all_but_one_are_tried():
    assert [numbers_to_try(n) for n in (1, 2, 3, 4, 8)] == [
        (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), (1, 2, 7, 8)
    ]  # fmt: skip


def test_the_quickest_is_best_and_of_those_as_quick_the_fewest():
    assert ThreadsTried({1: 40e-3, 2: 22e-3, 3: 15.1e-3, 4: 14.3e-3}, 4).best == 4
    assert ThreadsTried({1: 40e-3, 2: 22e-3, 3: 14.5e-3, 4: 14.3e-3}, 4).best == 3
    assert ThreadsTried({1: 1e-3, 2: 2e-3}, 2).best == 1
    said = str(ThreadsTried({1: 40.2e-3, 3: 15.1e-3, 4: 14.3e-3}, 4))
    assert said == "4 threads 14.3 ms, 3 threads 15.1 ms, 1 thread 40.2 ms"


def test_profile_writes_the_quickest_number_and_what_it_takes(served, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    client, bundle = served(Simulated(threads=4), Simulated(threads=2))
    told = []
    profiled = profile_cluster(client, bundle, TWO, lambda *done: told.append(done))
    total = 2 * ROUNDS * 4 + 2 + 3 + 1  # threads, segments, links, messages
    assert told == [(n, total) for n in range(1, total + 1)]
    for name, in_use in (("s0", 4), ("s1", 2)):
        tried = profiled.threads[name]
        assert tried.seconds == pytest.approx({1: 1.6, 2: 0.95, 3: 0.8, 4: 1.0})
        assert (tried.best, tried.in_use) == (3, in_use)
        assert profiled.seconds[name][WHOLE] == pytest.approx(0.8)
    path = tmp_path / "measured.toml"
    path.write_text(profiled.cluster.to_toml())
    assert [board.cores for board in Cluster.read(path).boards] == [3, 3]
    flops = bundle.manifest.segments[WHOLE].flops
    for board in profiled.cluster.boards:
        assert board.seconds(flops) == pytest.approx(0.8)
        assert board.call_s == pytest.approx(0.0, abs=1e-6)


def test_a_board_measures_on_as_many_threads_as_asked_and_not_more(served, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    client, bundle = served(Workshop(threads=1), Workshop(threads=2))
    for board, in_use in (("s0", 1), ("s1", 2)):
        for threads in (1, 2):
            measured = client.questions.ask(board, questions.Measure((WHOLE,), threads))
            assert measured.seconds[WHOLE] > 0
        assert client.questions.ask(board, questions.Status()).threads == in_use
        for threads in (0, 3, 1 << 40):
            with pytest.raises(BoardError, match=f"1 to 2, its cores, got {threads}"):
                client.questions.ask(board, questions.Measure((WHOLE,), threads))
        with pytest.raises(BoardError, match="has no segment 'nothing'"):
            client.questions.ask(board, questions.Measure(("nothing",), 3 - in_use))
    facts = [f.fact for f in examine(client, bundle, TWO) if "computes with" in f.fact]
    assert facts == [
        "computes with 1 thread, cores: 2",
        "computes with 2 threads, cores: 2, the cluster file says 4",
    ]


def test_emulated_boards_keep_their_cores(served, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    client, bundle = served(Workshop(Stretch(2.0)), Workshop(Stretch(3.0)))
    profiled = profile_cluster(client, bundle, TWO)
    assert profiled.threads == {}
    assert [board.cores for board in profiled.cluster.boards] == [None, 4]
    with pytest.raises(BoardError, match="an emulated board computes as 1 thread does"):
        client.questions.ask("s0", questions.Measure((WHOLE,), 2))


def test_where_there_is_one_core_none_is_tried(served, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    client, bundle = served(Workshop(), Workshop())
    assert profile_cluster(client, bundle, TWO).threads == {}
