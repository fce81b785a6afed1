"""What the boards tell of themselves: status, links, the doctor's words, the live table."""

import dataclasses
import threading
import time

import pytest
from costless import costless

from keras_concurrent.cli.top import COLUMNS, Sample, row, watch
from keras_concurrent.cluster import Board as BoardEntry
from keras_concurrent.edge.board.status import machine
from keras_concurrent.edge.board.stretch import Stretch
from keras_concurrent.edge.board.worker import Board
from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.link import answers, questions
from keras_concurrent.edge.link.answers import LinkFigures
from keras_concurrent.edge.link.pacing import EmulatedInterface
from keras_concurrent.edge.link.protocol import PROTOCOL_VERSION
from keras_concurrent.edge.link.transport import Exchange
from keras_concurrent.edge.manifest import WHOLE
from keras_concurrent.edge.segment_costs import SegmentCosts
from keras_concurrent.edge.watch.bench import random_images
from keras_concurrent.edge.watch.survey import examine, link_of, profile_cluster
from keras_concurrent.errors import BoardError, BundleError
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.network import Network

NAMES = ("s0", "s1")


def slow_boards(mbit_per_s=80.0, latency_ms=2.0):
    boards = (BoardEntry(n, 0.01, f"tcp/127.0.0.1:{7447 + i}", 0.0) for i, n in enumerate(NAMES))
    return costless(tuple(boards), Network(mbit_per_s, latency_ms))


@pytest.fixture(scope="module")
def bundle(small_file, tmp_path_factory):
    made = export_bundle(
        small_file, slow_boards(1e6, 0.0), tmp_path_factory.mktemp("survey") / "bundle"
    )
    assert set(made.placement("boards").programs) == set(NAMES)
    return made


@pytest.fixture
def running(bundle):
    """A client of boards whose links are paced, and of which each is emulated."""
    cluster, exchange, stopped = slow_boards(), Exchange(), threading.Event()
    threads = [
        threading.Thread(
            target=Board(
                name, bundle, exchange.join(name), frozenset(NAMES) - {name},
                Workshop(Stretch(factor)), pacer=EmulatedInterface(cluster, name),
            ).serve,
            args=(stopped,),
        )
        for name, factor in zip(NAMES, (40.0, 120.0), strict=True)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    channel = exchange.join("client")
    with Client(bundle, cluster, channel, pacer=EmulatedInterface(cluster, "client")) as client:
        client.wait_ready(10)
        yield client, exchange
    stopped.set()
    for thread in threads:
        thread.join()


# ---------------------------------------------------------------- links


def test_a_paced_link_is_measured_as_it_was_described(running):
    client, _ = running
    for found in (link_of(client, "s0", "s1"), client.questions.probe("s1")):
        assert isinstance(found, LinkFigures)
        assert 0.5 * 10e6 < found.bytes_per_s < 1.05 * 10e6  # 80 Mbit/s
        assert 0.002 <= found.one_way_s < 0.012  # 2 ms each way
    with pytest.raises(BoardError, match="no board is named 'nobody'"):
        link_of(client, "s0", "nobody")


def test_profile_finds_the_boards_rates_and_links(running, bundle):
    client, _ = running
    told = []
    profiled = profile_cluster(client, bundle, slow_boards(), lambda *done: told.append(done))
    found = profiled.cluster
    assert told[-1] == (6, 6)
    rates = [board.gflops_per_s for board in found.boards]
    # Slowed down by 40 and by 120: about 3, but for what a loaded machine adds to either.
    assert 1.5 < rates[0] / rates[1] < 6.0
    assert {link.between for link in found.links} == {
        ("s0", "client"), ("s1", "client"), ("s1", "s0")
    }  # fmt: skip
    for link in found.links:
        assert 40 < link.bandwidth_mbit_per_s < 85
        ends_ms = sum(found.message_costs_s(end)[0] for end in link.between) * 1e3
        # The client stays as described, whatever its processor took of the 2 ms.
        assert 2.0 - ("client" in link.between) <= link.latency_ms + ends_ms < 12.0
    assert found.client == slow_boards().client
    # By these figures a board takes for its segments what it was measured to take.
    measured = client.questions.ask("s1", questions.Measure()).seconds
    described = SegmentCosts(bundle.manifest, slow_boards())
    pieces = [name for name in measured if name != WHOLE]
    planned_s = described.run_s(WHOLE, "s1") * 0.01 / rates[1] + found.board("s1").call_s
    assert planned_s == pytest.approx(measured[WHOLE], rel=0.6)
    assert {board: set(known) for board, known in profiled.seconds.items()} == {
        name: set(bundle.manifest.segments) for name in NAMES
    }
    total_s = sum(measured[name] for name in pieces)
    assert sum(profiled.seconds["s1"][name] for name in pieces) == pytest.approx(total_s, rel=0.6)
    own = client.questions.ask("s0", questions.Measure(("model",))).seconds
    assert set(own) == {WHOLE}
    with pytest.raises(BoardError, match="has no segment 'nothing'"):
        client.questions.ask("s0", questions.Measure(("nothing",)))


def test_who_asks_a_board_that_disappears_hears_of_it_at_once(running):
    client, exchange = running
    timer = threading.Timer(0.2, lambda: exchange.cut("client", "s0"))
    timer.start()
    begun = time.monotonic()
    many = questions.Measure(("model",) * 1000)
    with pytest.raises(BoardError, match="s0 disappeared before it answered 'measure'"):
        client.questions.ask("s0", many, timeout_s=20)
    assert time.monotonic() - begun < 10


# ---------------------------------------------------------------- slow boards


def test_a_slow_board_is_noticed_and_a_rebalance_takes_work_from_it(running, bundle):
    client, _ = running
    image = random_images(bundle, 1)[0]
    for _ in range(3):
        client.infer(image)
    before = {event.board for event in client.timeline() if event.kind == "run"}
    assert before == set(NAMES)
    # By plan the boards take many milliseconds, here less; so make the plan's times small.
    client.rebalance({"s1": 50.0})
    deadline = time.monotonic() + 5
    while client._requests.route == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    client.infer(image)
    runs = [event for event in client.timeline() if event.kind == "run"]
    assert {event.board for event in runs} == {"s0"}
    assert set(client.slow_boards()) <= {"s0"}


def test_boards_slower_than_planned_are_named_with_how_much(running, bundle):
    client, _ = running
    planned = {
        e.name: e.end_s - e.start_s for e in bundle.placement("boards").predicted if e.kind == "run"
    }
    times = {"s0": 1.2, "s1": 3.0}  # a fifth more is no reason to complain
    client.questions.ask = lambda board, question: dataclasses.replace(
        STATUS, p95_s={name: seconds * times[board] for name, seconds in planned.items()}
    )
    assert client.slow_boards() == {"s1": pytest.approx(3.0)}


# ---------------------------------------------------------------- the doctor


def test_the_doctor_finds_nothing_wrong_where_nothing_is(running, bundle):
    client, _ = running
    findings = examine(client, bundle, slow_boards())
    links = [finding for finding in findings if "->" in finding.about]
    assert [finding.about for finding in links] == ["s0 -> s1", "s1 -> s0"]
    assert {finding.about for finding in findings} == {*NAMES, "s0 -> s1", "s1 -> s0"}
    facts = " ".join(finding.fact for finding in findings)
    assert "emulated 40.0 times slower" in facts
    assert f"bundle {bundle.sha256[:12]}" in facts
    assert [f for f in findings if f.advice and "memory" not in f.fact] == []


def test_the_doctor_says_what_to_do_about_each_fault(running, bundle, small_file, tmp_path):
    client, exchange = running
    more = slow_boards(mbit_per_s=10_000.0)
    more = dataclasses.replace(
        more, boards=(*more.boards, BoardEntry("s2", 1.0, "tcp/127.0.0.1:7999"))
    )
    client.reach = lambda names, timeout_s=0.0: tuple(n for n in names if n != "s2")
    exchange.cut("s0", "s1")
    other = export_bundle(small_file, slow_boards(5.0), tmp_path / "other")
    deadline = time.monotonic() + 5
    while (
        not client.questions.ask("s0", questions.Status()).identity.unreached
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    client.questions.ask = _impatient(client.questions.ask)
    advice = {}
    for finding in examine(client, other, more):
        if finding.advice:
            advice.setdefault(finding.about, []).append(f"{finding.fact}: {finding.advice}")
    assert "does not answer at tcp/127.0.0.1:7999" in advice["s2"][0]
    assert any("keras-concurrent deploy" in line for line in advice["s0"])
    assert any("cannot be reached: check the cable" in line for line in advice["s0 -> s1"])
    assert any("does not answer 'probe'" in line for line in advice["s1 -> s0"])


def test_the_doctor_says_which_links_are_direct_and_which_port_to_open(running, bundle):
    client, exchange = running
    exchange._named("s0")[0].direct = lambda receiver: False
    exchange._named("client")[0].direct = lambda receiver: receiver != "s1"
    found = {finding.about: finding for finding in examine(client, bundle, slow_boards())}
    assert found["s0 -> s1"].fact.endswith(" ms, over Zenoh")
    assert found["s1 -> s0"].fact.endswith(" ms, direct")
    assert "client -> s0" not in found
    ports = {name: slow_boards().board(name).tensor_port_used for name in ("s0", "s1")}
    # The later board calls the earlier one, the client calls all.
    assert found["s0 -> s1"].advice.startswith(f"open port {ports['s0']} of s0 in its firewall")
    assert found["client -> s1"].advice.startswith(f"open port {ports['s1']} of s1 in its")


def test_a_boards_words_do_nothing_to_the_terminal(running, bundle, monkeypatch, caplog, capsys):
    client, _ = running
    client.wait_ready(5)
    escape, image = "\x1b]0;owned\x07\x1b[2J", random_images(bundle, 1)[0]
    honest = machine()
    words = dict.fromkeys(("version", "python", "machine", "interpreter"), escape)
    monkeypatch.setattr(
        "keras_concurrent.edge.board.worker.machine", lambda: dataclasses.replace(honest, **words)
    )
    findings = examine(client, bundle, slow_boards())
    shown = [finding.about + finding.fact + finding.advice for finding in findings]
    assert any("?]0;owned??[2J" in text for text in shown)
    watch(client, bundle, slow_boards(), 0.05, 1)

    def refuse(*_):
        raise BundleError(escape)

    monkeypatch.setattr(Workshop, "measure", refuse)
    with pytest.raises(BoardError, match="s0 refuses 'measure'") as refused:
        client.questions.ask("s0", questions.Measure())
    monkeypatch.setattr(Workshop, "run", refuse)
    with pytest.raises(BoardError, match="failed in") as failed:
        client.infer(image, deadline_s=5)
    shown += [str(refused.value), str(failed.value), capsys.readouterr().out]
    shown += [record.message for record in caplog.records if record.message.startswith("client:")]
    assert not any(control in text for text in shown for control in "\x1b\x07")


def test_the_doctor_and_the_table_name_a_board_of_another_version(running, bundle, capsys):
    client, exchange = running
    exchange.leave("s1")
    exchange.join("s1", protocol=1)
    begun = time.monotonic()
    while "s1" not in client.questions.other_protocols and time.monotonic() < begun + 1:
        time.sleep(0.01)
    (finding,) = [f for f in examine(client, bundle, slow_boards()) if f.about == "s1"]
    assert finding.fact == f"speaks protocol 1, this client {PROTOCOL_VERSION}"
    assert finding.advice == "install the same version of keras-concurrent on both"
    watch(client, bundle, slow_boards(), 0.05, 1)
    assert time.monotonic() - begun < 1.0
    said = " ".join(capsys.readouterr().out.split())
    assert f"board s1 speaks protocol 1, this client {PROTOCOL_VERSION}: install the same" in said


def _impatient(ask):
    return lambda board, question, timeout_s=5.0: ask(board, question, timeout_s=0.5)


def test_the_doctor_names_a_link_that_is_slower_than_described(running, bundle):
    client, _ = running
    findings = examine(client, bundle, slow_boards(mbit_per_s=1000.0))
    slow = [
        finding for finding in findings if "the cluster file says 1000 Mbit/s" in finding.advice
    ]
    assert [finding.about for finding in slow] == ["s0 -> s1", "s1 -> s0"]


# ---------------------------------------------------------------- the live table


STATUS = answers.Status(
    identity=answers.Identity("pi1", "x", None, 0.0, ()),
    machine=answers.Machine("1", "3.11", "aarch64", "ai-edge-litert", 50_000_000, 10**9, 4),
    refused=0, images=10, in_flight=2, compute_s=1.0, p95_s={"a": 0.03}, threads=4,
    messages=30, message_bytes=3000, beside_computing_s=0.1,
)  # fmt: skip


def test_a_row_says_what_a_board_did_since_the_last_look():
    before = Sample(100.0, STATUS)
    now = Sample(102.0, dataclasses.replace(STATUS, images=30, compute_s=2.5))
    assert row("pi1", before, now, {"a": 0.02}, "x") == (
        "pi1", "ready", "10.0", "75%", "2", "1.50", "50", "0"
    )  # fmt: skip
    assert row("pi1", None, now, {"a": 0.02}, "y")[1:4] == ("another bundle", "-", "-")
    restarted = Sample(103.0, dataclasses.replace(STATUS, images=0, p95_s={}))
    assert row("pi1", now, restarted, {}, "x")[2:6] == ("-", "-", "2", "-")
    assert row("pi1", now, Sample(1.0, None), {}, "x") == ("pi1", "gone", *"------")
    newer = Sample(1.0, None, protocol=3)
    assert row("pi1", now, newer, {}, "x") == ("pi1", "protocol 3", *"------")
    assert len(row("pi1", before, now, {}, "x")) == len(COLUMNS)


def test_the_table_is_drawn_as_often_as_asked(running, bundle, capsys):
    client, _ = running
    client.infer(random_images(bundle, 1)[0])
    watch(client, bundle, slow_boards(), 0.05, 2)
    said = capsys.readouterr().out
    assert all(name in said for name in NAMES)
    assert "ready" in said
