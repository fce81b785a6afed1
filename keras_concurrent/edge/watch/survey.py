"""What the boards and links of a cluster really do: for the cluster file, and for its doctor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from keras_concurrent._version import __version__
from keras_concurrent.board import CLIENT, Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.link import answers, questions
from keras_concurrent.edge.link.answers import LinkFigures
from keras_concurrent.edge.link.protocol import PROTOCOL_VERSION, SAME_VERSION
from keras_concurrent.edge.manifest import WHOLE
from keras_concurrent.edge.segment_costs import SegmentCosts
from keras_concurrent.edge.watch.messaging import Probed, probes_cost, with_messaging
from keras_concurrent.edge.watch.threads import (
    ROUNDS,
    ThreadsTried,
    counted,
    numbers_to_try,
    try_threads,
)
from keras_concurrent.errors import BoardError, ProtocolError
from keras_concurrent.network import Link

_MEASURE_S = 120.0
_PROBE_S = 30.0
_SLOW_LINK = 0.5  # of the described bandwidth
_LEAST_FREE_BYTES = 64e6
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Profiled:
    """What was measured of a cluster.

    Args:
        cluster: each board's rate and cost of a call by its segments, on as many threads as are
            quickest, and each pair's link.
        seconds: that a board takes for a segment, by board, then by segment; the call included.
        threads: what was tried on each board that has a choice.
    """

    cluster: Cluster
    seconds: Mapping[str, Mapping[str, float]]
    threads: Mapping[str, ThreadsTried]


def profile_cluster(
    client: Client, bundle: Bundle, cluster: Cluster, progress: Progress = lambda done, total: None
) -> Profiled:
    """Measure every segment on every board, on its best number of threads, and every link.

    What messages take of the processors is measured too, by some images.

    Args:
        client: of boards that have the bundle and are ready.
        bundle: whose segments are measured.
        cluster: as described.
        progress: told how many measurements are done, and of how many.

    Raises:
        BoardError: a board does not answer, or an image is not answered.
    """
    costs = SegmentCosts(bundle.manifest, cluster)
    names = [board.name for board in cluster.boards]
    ask = client.questions.ask
    statuses = {name: ask(name, questions.Status()) for name in names}
    numbers = {name: _numbers(status) for name, status in statuses.items()}
    total = len(names) + len(names) * (len(names) + 1) // 2 + 1
    total += ROUNDS * sum(len(each) for each in numbers.values())
    boards, seconds, tried, done = [], {}, {}, 0

    def told() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    for board in cluster.boards:
        name, threads = board.name, None
        if numbers[name]:
            in_use = statuses[name].threads
            tried[name] = try_threads(ask, name, numbers[name], in_use, _MEASURE_S, told)
            threads = tried[name].best
        measured = ask(name, questions.Measure(threads=threads), timeout_s=_MEASURE_S).seconds
        seconds[name] = measured
        pieces = [segment for segment in measured if segment != WHOLE] or [WHOLE]
        call_s = _call_s(measured, pieces, board.call_s)
        planned_s = costs.run_s(WHOLE, name) - board.call_s
        took_s = max(measured[WHOLE] - call_s, 1e-6)
        faster = board.faster(planned_s / took_s)
        boards.append(replace(faster, call_ms=call_s * 1e3, cores=threads or board.cores))
        told()
    ways: dict[tuple[str, str], dict[str, LinkFigures]] = {}  # by pair, then by who was asked
    for index, name in enumerate(names):
        for other in (CLIENT, *names[:index]):
            ways[name, other] = {CLIENT: client.questions.probe(name)} if other == CLIENT else {
                name: link_of(client, name, other), other: link_of(client, other, name)
            }  # fmt: skip
            told()
    measured_boards = replace(cluster, boards=tuple(boards))
    found = with_messaging(client, bundle, measured_boards, list(ways.values()))
    told()
    links = tuple(_link(pair, list(ways.values()), both) for pair, both in ways.items())
    return Profiled(replace(found, links=links), seconds, tried)


def _numbers(status: answers.Status) -> tuple[int, ...]:
    """Numbers of threads to try on a board; none where there is no choice."""
    if status.identity.slowdown is not None or status.machine.cores == 1:
        return ()
    return numbers_to_try(status.machine.cores)


def _call_s(measured: Mapping[str, float], pieces: Sequence[str], described_s: float) -> float:
    """What a call costs: what the pieces take more than the uncut model, shared out equally."""
    if len(pieces) < 2:
        return described_s
    seconds = [measured[name] for name in pieces]
    return min(max(0.0, sum(seconds) - measured[WHOLE]) / (len(seconds) - 1), *seconds)


def link_of(client: Client, sender: str, receiver: str) -> LinkFigures:
    """What a board finds its link to another to do.

    Raises:
        BoardError: no echo comes.
    """
    return client.questions.ask(sender, questions.Probe(receiver), timeout_s=_PROBE_S)


def _link(pair: tuple[str, str], probed: Sequence[Probed], both: Probed) -> Link:
    """One entry for both directions: what probes take beside the processors of both ends."""
    ways = list(both.values())
    one_way_s = sum(way.one_way_s for way in ways) / len(ways)
    each_s = 1 / min(way.bytes_per_s for way in ways)
    ends = [probes_cost(name, probed) or probes_cost(CLIENT, probed) for name in pair]
    ends_s, ends_byte_s = (sum(end[i] for end in ends if end) for i in (0, 1))
    # Within one machine there is little else, and a difference of the two may be anything.
    wire_s = max(each_s - ends_byte_s, each_s / 10)
    return Link(pair, round(8 / wire_s / 1e6, 3), round(max(0.0, one_way_s - ends_s) * 1e3, 4))


@dataclass(frozen=True)
class Finding:
    """What a doctor says of one thing.

    Args:
        about: a board, or ``"a -> b"``.
        fact: what the boards or measurements say.
        advice: what to do; empty where all is well.
    """

    about: str
    fact: str
    advice: str = ""


def examine(client: Client, bundle: Bundle, cluster: Cluster) -> list[Finding]:
    """Look at every board, and every link in each direction."""
    findings = []
    names = [board.name for board in cluster.boards]
    reached = client.reach(names)
    for board in cluster.boards:
        protocol = client.questions.other_protocols.get(board.name)
        if protocol is not None:
            fact = f"speaks protocol {protocol}, this client {PROTOCOL_VERSION}"
            findings.append(Finding(board.name, fact, SAME_VERSION))
            continue
        if board.name not in reached:
            findings.append(Finding(
                board.name, f"does not answer at {board.endpoint}",
                "is it on, does 'keras-concurrent board' run there, may its port be reached "
                "(firewall), and are its keys of the same authority?",
            ))  # fmt: skip
            continue
        try:
            status, offset_s = (
                client.questions.ask(board.name, questions.Status()),
                client.questions.clock_offset_s(board.name),
            )
        except (BoardError, ProtocolError) as error:
            findings.append(Finding(board.name, str(error), "restart its board program"))
            continue
        findings += _of_status(board.name, status, offset_s, bundle)
        findings.append(_of_threads(board, status))
        for name in sorted(set(status.identity.unreached) & set(reached)):
            findings.append(Finding(
                f"{board.name} -> {name}", "cannot be reached",
                f"check the cable, WiFi client isolation, and the firewall of {name}",
            ))  # fmt: skip
    for name in reached:
        if not client.direct(name):
            findings.append(_not_direct(cluster, CLIENT, name))
    for sender in reached:
        for receiver in reached:
            if sender != receiver:
                findings.append(_of_link(client, cluster, sender, receiver))
    return findings


def _of_status(
    board: str, status: answers.Status, offset_s: float, bundle: Bundle
) -> list[Finding]:
    identity, machine = status.identity, status.machine
    right = identity.bundle_sha256 == bundle.sha256
    slowdown = identity.slowdown
    emulated = f", emulated {slowdown:.1f} times slower" if slowdown else ""
    free_bytes, version = machine.free_bytes, machine.version
    return [
        Finding(
            board,
            f"{machine.machine}, Python {machine.python}, {machine.interpreter}{emulated}",
            "install an interpreter: pip install 'keras-concurrent[edge]'"
            if machine.interpreter.startswith("none") else "",
        ),
        Finding(
            board, f"keras_concurrent {version}",
            "" if version == __version__ else f"install {__version__} as on this machine",
        ),
        Finding(
            board, f"bundle {identity.bundle_sha256[:12] or 'none'}",
            "" if right else f"deploy {bundle.sha256[:12]}: keras-concurrent deploy",
        ),
        Finding(
            board, f"{free_bytes / 1e6:.0f} MB of memory free",
            "" if free_bytes > _LEAST_FREE_BYTES else "end other programs, or use a smaller plan",
        ),
        Finding(board, f"clock {offset_s:+.4f} s against this machine's, taken into account"),
    ]  # fmt: skip


def _of_threads(board: Board, status: answers.Status) -> Finding:
    fact = f"computes with {counted(status.threads)}, cores: {status.machine.cores}"
    if board.cores not in (None, status.threads):
        fact += f", the cluster file says {board.cores}"
    return Finding(board.name, fact)


def _not_direct(cluster: Cluster, sender: str, receiver: str) -> Finding:
    """Tensors between two take a detour, since no direct link could be made."""
    names = [board.name for board in cluster.boards]
    # Each board calls those before it, the client all.
    called = receiver if sender == CLIENT else min(sender, receiver, key=names.index)
    port = cluster.board(called).tensor_port_used
    return Finding(
        f"{sender} -> {receiver}", "tensors go over Zenoh, which takes longer",
        f"open port {port} of {called} in its firewall, next to that of its endpoint",
    )  # fmt: skip


def _of_link(client: Client, cluster: Cluster, sender: str, receiver: str) -> Finding:
    about = f"{sender} -> {receiver}"
    try:
        figures = link_of(client, sender, receiver)
    except (BoardError, ProtocolError) as error:
        return Finding(about, str(error), "check the cable and the firewall between them")
    described = cluster.bytes_per_s(sender, receiver)
    fact = f"{figures.bytes_per_s * 8 / 1e6:.0f} Mbit/s, {figures.one_way_s * 1e3:.2f} ms"
    fact += ", direct" if figures.direct else ", over Zenoh"
    if not figures.direct:
        return replace(_not_direct(cluster, sender, receiver), fact=fact)
    if figures.bytes_per_s < _SLOW_LINK * described:
        return Finding(
            about, fact, f"the cluster file says {described * 8 / 1e6:.0f} Mbit/s: check cable and "
            "WiFi, or run keras-concurrent profile",
        )  # fmt: skip
    return Finding(about, fact)
