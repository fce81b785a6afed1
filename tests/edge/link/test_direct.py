"""Two planes: tensors by direct links, who is let in there, and what follows when one breaks."""

import socket
import ssl
import time
from contextlib import closing, contextmanager, suppress

import pytest
from costless import costless

from keras_concurrent.board import CLIENT, tensor_port_beside
from keras_concurrent.cluster import Board as BoardEntry
from keras_concurrent.edge.link import direct, meeting
from keras_concurrent.edge.link.direct import DirectChannel
from keras_concurrent.edge.link.frames import Session, header
from keras_concurrent.edge.link.keys import AUTHORITY, CERTIFICATE, KEY, Keys, make_keys
from keras_concurrent.edge.link.meeting import has_aes
from keras_concurrent.edge.link.protocol import Ask, Echo, Probe, Tensor, content_of
from keras_concurrent.edge.link.questions import Ping
from keras_concurrent.edge.link.transport import Gone, Here, Left, Malformed
from keras_concurrent.edge.testbed.local_boards import free_ports
from keras_concurrent.network import Network


def cluster_of(count, scheme="tcp"):
    boards = (
        BoardEntry(f"p{i}", 0.01, f"{scheme}/127.0.0.1:{port}", call_ms=0.0)
        for i, port in enumerate(free_ports(count))
    )
    return costless(tuple(boards), Network(1e6, 0.0))


def until(condition, *channels, timeout_s=5.0):
    """Let channels work until something is so; what came, by channel."""
    came = {channel: [] for channel in channels}
    deadline = time.monotonic() + timeout_s
    while not condition(came) and time.monotonic() < deadline:
        for channel in channels:
            packet = channel.receive(0.01)
            if packet is not None:
                came[channel].append(packet)
    assert condition(came), {channel._name: packets for channel, packets in came.items()}
    return came


def stands(one, name, other, other_name):
    return lambda came: one.direct(name) and other.direct(other_name)


def messages(packets, *kinds):
    return [packet.message for packet in packets if isinstance(packet.message, kinds)]


@contextmanager
def joined(cluster, *names, keys=None):
    channels = []
    try:
        for name in names:
            channels.append(DirectChannel(name, cluster, keys and Keys(keys / name)))
        yield channels
    finally:
        for channel in channels:
            channel.close()


@pytest.fixture
def pair():
    """The channels of a board and of the client, whose direct link stands."""
    with joined(cluster_of(1), "p0", CLIENT) as (board, client):
        until(stands(client, "p0", board, CLIENT), board, client)
        client.send("p0", Ask(5, 1, Ping()))
        until(lambda came: messages(came[board], Ask), board, client)
        yield board, client


# ---------------------------------------------------------------- which plane


def no_zenoh(*channels):
    def refuse(receiver, message):
        raise AssertionError(f"{message} over Zenoh")

    for channel in channels:
        channel._control.send = refuse


def test_tensors_and_probes_go_by_the_direct_link_and_questions_over_zenoh(pair):
    board, client = pair
    link = client._boards["p0"]
    client._boards["p0"] = None  # no question needs it
    client.send("p0", Ask(5, 2, Ping()))
    client._boards["p0"] = link
    until(lambda came: messages(came[board], Ask) == [Ask(5, 2, Ping())], board, client)
    no_zenoh(board, client)
    sent = [Tensor(5, n, 1, n, bytes([n]) * n * 40_000) for n in range(6)]
    for tensor in sent:
        client.send("p0", tensor)
    client.send("p0", Probe(5, 3, b"x" * 262_144))
    came = until(lambda came: messages(came[board], Probe), board, client)[board]
    assert messages(came, Tensor) == sent
    assert all(packet.sender == CLIENT for packet in came)
    board.send(CLIENT, Echo(5, 3))
    board.send(CLIENT, Tensor(5, 9, 0, 0, b"answer"))
    came = until(lambda came: messages(came[client], Tensor), board, client)[client]
    assert [p.message for p in came] == [Echo(5, 3), Tensor(5, 9, 0, 0, b"answer")]


def test_what_is_too_large_is_told_and_the_next_still_comes(pair):
    board, client = pair
    board.largest = lambda sender, message: 3
    for content in (b"12345", b"x" * 100_000, b"123"):
        client.send("p0", Tensor(5, 1, 0, 7, content))
    came = until(lambda came: messages(came[board], Tensor), board, client)[board]
    told = [p.message.cause for p in came if isinstance(p.message, Malformed)]
    assert told == [f"Tensor with {size} bytes, at most 3 are taken" for size in (5, 100_000)]
    assert messages(came, Tensor) == [Tensor(5, 1, 0, 7, b"123")]
    assert board.refused() == 2


def test_each_client_gets_the_answers_of_its_own_session(pair):
    board, first = pair
    with closing(DirectChannel(CLIENT, cluster_like(first), None)) as other:
        until(stands(other, "p0", board, CLIENT), board, first, other)
        other.send("p0", Ask(6, 1, Ping()))
        until(lambda came: messages(came[board], Ask), board, first, other)
        until(lambda came: sorted(k.session for k in board._clients) == [5, 6], board)
        no_zenoh(board)
        for session in (5, 6, 5):
            board.send(CLIENT, Tensor(session, 1, 0, 0, b"1"))
        got = until(
            lambda came: len(messages(came[first], Tensor)) == 2 and messages(came[other], Tensor),
            first, other,
        )  # fmt: skip
        assert [t.session for t in messages(got[other], Tensor)] == [6]


def test_a_board_hears_of_each_client_whose_link_ends_and_of_no_other(pair):
    board, client = pair
    with closing(DirectChannel(CLIENT, cluster_like(client))) as other:
        until(lambda came: other.direct("p0"), board, client, other)
        other.send("p0", Ask(6, 1, Ping()))
        until(lambda came: messages(came[board], Ask), board, client, other)
    came = until(lambda came: messages(came[board], Left), board, client)
    assert messages(came[board], Left) == [Left(6)]
    assert board.direct(CLIENT)
    tensor = Tensor(5, 1, 0, 0, b"still here")
    assert board.send_at_once(CLIENT, tensor)


def cluster_like(channel):
    """The cluster of one board that a channel knows."""
    ((_, port),) = channel._meeting._addresses.values()
    (endpoint,) = (p for p in (port - 1000, port + 1000) if tensor_port_beside(p) == port)
    board = BoardEntry("p0", 0.01, f"tcp/127.0.0.1:{endpoint}", call_ms=0.0)
    return costless((board,), Network(1e6, 0.0))


def test_where_no_direct_link_can_be_made_tensors_go_over_zenoh(caplog):
    cluster = cluster_of(1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", cluster.boards[0].tensor_port_used))
        with joined(cluster, "p0", CLIENT) as (board, client):
            begun = time.monotonic()
            came = until(lambda came: messages(came[client], Here), board, client)
            assert time.monotonic() - begun > direct.GRACE_S * 0.8
            assert len(messages(came[client], Here)) == 1
            assert not client.direct("p0")
            client.send("p0", Tensor(1, 1, 0, 0, b"a detour"))
            came = until(lambda came: messages(came[board], Tensor), board, client)
            assert messages(came[board], Tensor) == [Tensor(1, 1, 0, 0, b"a detour")]
    assert "p0 cannot listen for tensors on port" in caplog.text
    assert "client has no direct link to p0: tensors go over Zenoh" in caplog.text


def test_a_board_is_here_once_its_direct_link_stands():
    with joined(cluster_of(2), "p0", "p1") as (p0, p1):
        begun = time.monotonic()
        came = until(lambda came: all(messages(c, Here) for c in came.values()), p0, p1)
        assert time.monotonic() - begun < direct.GRACE_S
        assert p0.direct("p1")
        assert p1.direct("p0")
        assert [p.sender for p in came[p0]] == ["p1"]


def test_what_comes_while_a_board_computes_is_there_when_it_is_done(pair):
    board, client = pair
    content = b"x" * 20_000_000  # more than the network holds by itself
    with board.attended():
        client.send("p0", Tensor(5, 1, 0, 0, content))
        deadline = time.monotonic() + 5
        while not board._intake.packets and time.monotonic() < deadline:
            time.sleep(0.001)
        assert [len(content_of(p.message)) for p in board._intake.packets] == [len(content)]
    assert board.receive(1.0).message.content == content
    for number in range(50):  # the one reads, or the other
        with board.attended():
            client.send("p0", Tensor(5, number, 0, 0, b"1"))
        assert board.receive(2.0).message.image == number


# ---------------------------------------------------------------- what breaks


def test_a_link_that_breaks_is_told_as_a_loss_and_made_anew():
    with joined(cluster_of(2), "p0", "p1") as (p0, p1):
        until(lambda came: all(messages(c, Here) for c in came.values()), p0, p1)
        for channel in (p0, p1):
            (link,) = channel._boards.values()
            link._connection.shutdown(socket.SHUT_RDWR)
            came = until(lambda came: all(messages(c, Here) for c in came.values()), p0, p1)
            assert [type(p.message) for p in came[p0]] == [Gone, Here]
            assert [type(p.message) for p in came[p1]] == [Gone, Here]
            assert p0.direct("p1")
            p1.send("p0", Tensor(1, 1, 0, 0, b"1"))
            until(lambda came: messages(came[p0], Tensor), p0, p1)


def test_of_two_links_to_one_board_the_later_stays():
    """As where a call was answered late: it is told as a loss once, and then there is peace."""
    with joined(cluster_of(2), "p0", "p1") as (p0, p1):
        until(lambda came: all(messages(c, Here) for c in came.values()), p0, p1)
        p1._meet("p0", p1._meeting._call("p0"))
        came = until(lambda came: all(messages(c, Here) for c in came.values()), p0, p1)
        for _ in range(100):
            for channel in (p0, p1):
                packet = channel.receive(0.005)
                came[channel] += [packet] if packet is not None else []
        assert [[type(p.message) for p in packets] for packets in came.values()] == [
            [Gone, Here]
        ] * 2
        no_zenoh(p1, p0)
        p1.send("p0", Tensor(1, 1, 0, 0, b"1"))
        p0.send("p1", Tensor(1, 1, 0, 0, b"2"))
        until(lambda came: all(messages(c, Tensor) for c in came.values()), p0, p1)


def test_a_peer_that_has_gone_is_told_once():
    cluster = cluster_of(2)
    with joined(cluster, "p0") as (p0,):
        with joined(cluster, "p1") as (p1,):
            until(lambda came: messages(came[p0], Here), p0, p1)
            p1.send("p0", Tensor(1, 1, 0, 0, b"1"))
            until(lambda came: messages(came[p0], Tensor), p0, p1)
        came = until(lambda came: messages(came[p0], Gone), p0)
        deadline = time.monotonic() + 1.5 * direct.GRACE_S
        while time.monotonic() < deadline:
            packet = p0.receive(0.05)
            came[p0] += [packet] if packet is not None else []
        assert [type(p.message) for p in came[p0]] == [Gone]
        with joined(cluster, "p1") as (p1,):
            until(lambda came: messages(came[p0], Here), p0, p1)
            assert p0.direct("p1")


# ---------------------------------------------------------------- who is let in


def call(port, greeting=b"", then=b""):
    """A stranger's connection, what it said first, and then."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=3)
    with suppress(OSError):  # it may have hung up before it heard all
        connection.sendall(greeting + then)
    return connection


def all_of(connection):
    """What the other end says before it hangs up."""
    said = b""
    with suppress(ConnectionResetError):
        while more := connection.recv(4096):
            said += more
    return said


def greeting(sender, receiver, version=meeting.PROTOCOL_VERSION, mark=b"kcTL"):
    return meeting.GREETING.pack(mark, version, sender.encode(), receiver.encode()) + b"!"


def test_strangers_are_refused_and_a_thousand_malformed_headers_outlived(pair):
    board, client = pair
    port = client._meeting._addresses["p0"][1]
    tensor = header(Tensor(5, 1, 0, 0), 1) + b"1"
    strangers = [
        greeting("p7", "p0"), greeting("p0", "p0"), greeting(CLIENT, "p1"),
        greeting(CLIENT, "p0", version=3), greeting(CLIENT, "p0", mark=b"HTTP"), b"GET /" * 40,
    ]  # fmt: skip
    for number, said in enumerate(strangers, start=1):
        with call(port, said, tensor) as connection:
            assert all_of(connection) == b""
        until(lambda came, number=number: board.refused() == number, board, client)
    garbage = [header(Session(7), 0), bytes(64), tensor[:-1] * 9, b"\xff" * 99]
    for number in range(200):  # as the client would, and then nonsense
        with call(port, greeting(CLIENT, "p0"), garbage[number % 4]) as connection:
            with suppress(ConnectionResetError):
                connection.recv(meeting.GREETING.size)
            board.receive(0.0)
    client.send("p0", Tensor(5, 77, 0, 0, b"still here"))
    came = until(
        lambda came: any(m.image == 77 for m in messages(came[board], Tensor)), board, client
    )  # fmt: skip
    assert board.refused() > len(strangers) + 50
    assert not [m for m in messages(came[board], Tensor) if m.session != 5]


def test_callers_that_say_nothing_keep_nobody_out(pair):
    board, client = pair
    port = client._meeting._addresses["p0"][1]
    silent = [call(port) for _ in range(40)]
    try:
        client._boards["p0"]._connection.shutdown(socket.SHUT_RDWR)
        until(lambda came: messages(came[client], Here), board, client, timeout_s=8)
        assert board.refused() >= 40 - meeting._MOST_GUESTS
    finally:
        for connection in silent:
            connection.close()


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    cluster, folder = cluster_of(2, "tls"), tmp_path_factory.mktemp("keys")
    make_keys(cluster, folder)
    return cluster, folder


def heard_tensor(board, *others):
    deadline = time.monotonic() + 0.5
    came = []
    while time.monotonic() < deadline:
        for channel in (board, *others):
            packet = channel.receive(0.01)
            came += [packet] if packet is not None and channel is board else []
    return messages(came, Tensor)


def test_with_certificates_tensors_go_direct_and_encrypted(keyed):
    cluster, folder = keyed
    with joined(cluster, "p0", "p1", CLIENT, keys=folder) as (p0, p1, client):
        until(lambda came: all(c.direct("p0") for c in (p1, client)), p0, p1, client)
        until(lambda came: p0.direct("p1"), p0, p1, client)
        assert p1._boards["p0"]._connection.version() in ("TLSv1.2", "TLSv1.3")
        no_zenoh(p1)
        sent = [Tensor(1, n, 0, 0, bytes([n]) * size) for n, size in enumerate((0, 9, 3_000_000))]
        for tensor in sent:
            p1.send("p0", tensor)
        came = until(lambda came: len(messages(came[p0], Tensor)) == 3, p0, p1, client)[p0]
        assert messages(came, Tensor) == sent


@pytest.mark.parametrize("first", [True, False])
def test_a_machine_without_aes_speaks_chacha_with_one_that_has_it(keyed, monkeypatch, first):
    cluster, folder = keyed
    answers = iter([first, first, not first, not first])
    monkeypatch.setattr(meeting, "has_aes", lambda: next(answers))
    with joined(cluster, "p0", "p1", keys=folder) as (p0, p1):
        until(lambda came: p1.direct("p0"), p0, p1)
        assert "CHACHA20" in p1._boards["p0"]._connection.cipher()[0]


def test_no_one_without_the_right_certificate_is_heard(keyed, tmp_path):
    cluster, folder = keyed
    make_keys(cluster, tmp_path)  # of another authority
    port = cluster.boards[0].tensor_port_used
    with joined(cluster, "p0", keys=folder) as (p0,):
        refused = p0.refused()
        with call(port, greeting(CLIENT, "p0"), header(Tensor(1, 1, 0, 0), 0)):  # without TLS
            assert heard_tensor(p0) == []
        for keys in (tmp_path / CLIENT, folder / "p1"):  # a stranger's, and a board's own
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(folder / AUTHORITY)
            context.load_cert_chain(keys / CERTIFICATE, keys / KEY)
            with (
                call(port) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
            ):
                with suppress(OSError):
                    connection.sendall(greeting(CLIENT, "p0") + header(Tensor(1, 1, 0, 0), 0))
                assert heard_tensor(p0) == []
                assert not p0.direct(CLIENT)
        until(lambda came: p0.refused() == refused + 3, p0)


def test_a_board_that_is_another_is_not_called_for_it(keyed):
    """Who listens in p0's place must have p0's certificate."""
    cluster, folder = keyed
    met = []

    def meet(peer, connection):
        met.append(peer)
        connection.close()

    impostor, caller = (
        meeting.Meeting(
            name, cluster, Keys(folder / keys), meet, lambda: None
        )
        for name, keys in (("p0", "p1"), (CLIENT, CLIENT))
    )  # fmt: skip
    try:
        with pytest.raises(OSError, match="the certificate of 'p1' says it is 'p0'"):
            caller._call("p0")
        assert set(met) <= {CLIENT}  # the impostor may think that it was met
    finally:
        impostor.close()
        caller.close()


@pytest.mark.parametrize(
    ("lines", "aes"),
    [
        ("Features : fp asimd evtstrm crc32 cpuid", False),
        ("Features : fp asimd aes pmull sha1", True),
        ("flags\t\t: fpu sse2 aes avx", True),
        ("flags\t\t: fpu sse2 vaes2", False),
        ("processor: 0", True),
    ],
)
def test_aes_is_what_the_processor_says(tmp_path, lines, aes):
    (tmp_path / "cpuinfo").write_text(f"processor: 0\n{lines}\n")
    assert has_aes(tmp_path / "cpuinfo") == aes
    assert has_aes(tmp_path / "none")
