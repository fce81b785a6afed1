"""Over Zenoh: who is let in, what of it is heard, and whose errors are raised."""

import dataclasses
import json
import socket
import time

import numpy as np
import pytest
from costless import costless

from keras_concurrent.cluster import Board as BoardEntry
from keras_concurrent.edge.link import door, zenoh_channel
from keras_concurrent.edge.link.keys import keys_of, make_keys
from keras_concurrent.edge.link.protocol import Ask, Tensor, encode
from keras_concurrent.edge.link.questions import Ping
from keras_concurrent.edge.link.transport import Gone, Here, Malformed
from keras_concurrent.edge.link.zenoh_channel import ZenohChannel
from keras_concurrent.edge.testbed.local_boards import LocalBoards, free_ports
from keras_concurrent.edge.watch.bench import random_images, reference
from keras_concurrent.errors import BundleError, TransportError
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.network import Network

PING = Ask(1, 1, Ping())


def cluster_of(*endpoints):
    boards = (
        BoardEntry(f"p{i}", 0.01, endpoint, call_ms=0.0) for i, endpoint in enumerate(endpoints)
    )
    return costless(tuple(boards), Network(1e6, 0.0))


def protected(count):
    return cluster_of(*(f"tls/127.0.0.1:{port}" for port in free_ports(count)))


@pytest.fixture(scope="module")
def secured(small_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("secured")
    cluster = protected(2)
    make_keys(cluster, folder / "keys")
    (folder / "cluster.toml").write_text(cluster.to_toml())
    return export_bundle(small_file, cluster, folder / "bundle"), cluster, folder


# ---------------------------------------------------------------- who is let in


def test_boards_with_certificates_answer(secured):
    bundle, cluster, folder = secured
    image = random_images(bundle, 1)[0]
    with LocalBoards(bundle, cluster, keys=folder / "keys") as boards:
        answer = boards.client.infer(image)
    assert np.array_equal(answer["classes"], reference(bundle, [image])[0]["classes"])


def test_rooms_whose_ports_others_have_taken_are_chosen_anew(secured, monkeypatch):
    _, cluster, folder = secured
    free, chosen = door._free_ports, []
    with socket.create_server(("127.0.0.1", 0)) as taken:

        def ports():
            chosen.append([taken.getsockname()[1]] if not chosen else free())
            return chosen[-1]

        monkeypatch.setattr(door, "_free_ports", ports)
        ZenohChannel("p0", cluster, keys_of("p0", cluster, folder / "keys")).close()
    assert len(chosen) == 2


@pytest.fixture
def listening(secured):
    _, cluster, folder = secured
    channel = ZenohChannel("p0", cluster, keys_of("p0", cluster, folder / "keys"))
    yield channel
    channel.close()


def ask_p0(channel):
    """Knock for a second; whether p0 was found."""
    deadline = time.monotonic() + 1.5
    while "p0" in channel.unreached() and time.monotonic() < deadline:
        time.sleep(0.02)
    channel.send("p0", PING)
    return "p0" not in channel.unreached()


def heard(channel):
    """What came from others, presence aside."""
    packets = []
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        packet = channel.receive(0.1)
        if packet is not None and not isinstance(packet.message, (Here, Gone)):
            packets.append(packet)
            break
    return packets


def test_the_client_with_its_certificate_is_heard(secured, listening):
    _, cluster, folder = secured
    client = ZenohChannel("client", cluster, keys_of("client", cluster, folder / "keys"))
    try:
        assert ask_p0(client)
        assert [(p.sender, p.message) for p in heard(listening)] == [("client", PING)]
        assert "client" not in listening.unreached()
    finally:
        client.close()


def test_a_peer_with_another_authoritys_certificate_is_not_let_in(secured, listening, tmp_path):
    _, cluster, _ = secured
    make_keys(cluster, tmp_path)
    stranger = ZenohChannel("client", cluster, keys_of("client", cluster, tmp_path))
    try:
        assert not ask_p0(stranger)
        assert heard(listening) == []
    finally:
        stranger.close()


def test_a_peer_without_a_certificate_is_not_let_in(secured, listening):
    import zenoh

    _, cluster, folder = secured
    config = zenoh.Config()
    for key, value in {
        "connect/endpoints": [cluster.boards[0].endpoint],
        "connect/timeout_ms": -1,
        "connect/exit_on_failure": False,
        "scouting/multicast/enabled": False,
        "transport/link/tls/root_ca_certificate": str(folder / "keys" / "authority.pem"),
    }.items():
        config.insert_json5(key, json.dumps(value))
    session = zenoh.open(config)
    try:
        time.sleep(1.0)
        text, content = encode(PING)
        session.put(f"{zenoh_channel.TO}/p0/client", content, attachment=text)
        assert heard(listening) == []
    finally:
        session.close()


def test_a_board_cannot_speak_in_the_clients_name(secured, listening):
    """p1's certificate is of the authority, and still gives it no right to be the client."""
    _, cluster, folder = secured
    keys = keys_of("p1", cluster, folder / "keys")
    disguised = ZenohChannel("client", cluster, keys)
    try:
        ask_p0(disguised)
        assert heard(listening) == []
    finally:
        disguised.close()


def test_a_board_with_a_stale_bundle_is_refused(secured, small_file, tmp_path):
    bundle, cluster, folder = secured
    stale = export_bundle(
        small_file, dataclasses.replace(cluster, network=Network(10.0, 5.0)), tmp_path / "stale"
    )
    assert stale.sha256 != bundle.sha256
    boards = LocalBoards(stale, cluster, keys=folder / "keys")
    start = boards.processes.start

    def start_and_change(board, options):
        start(board, options)
        boards._bundle = bundle  # what the client goes on with

    boards.processes.start = start_and_change
    with pytest.raises(BundleError, match="has another bundle"):
        boards.__enter__()


# ---------------------------------------------------------------- what is heard


@pytest.fixture
def pair():
    """The channels of a board and of the client, which see each other."""
    cluster = cluster_of(*(f"tcp/127.0.0.1:{port}" for port in free_ports(2)))
    with_board = ZenohChannel("p0", cluster)
    client = ZenohChannel("client", cluster)
    assert ask_p0(client)
    assert heard(with_board)
    yield with_board, client
    with_board.close()
    client.close()


def publish(client, key, text, content=b""):
    client._session.put(key, content, attachment=text)


def test_what_is_none_of_ours_is_counted_and_told_with_its_sender(pair):
    board, client = pair
    board.largest = lambda sender, message: 3
    text = encode(Tensor(1, 1, 0, 7))[0]
    refused = [(b"{", b""), (text, b"1234"), (None, b"")]
    for number, (wrong, content) in enumerate(refused, start=1):
        publish(client, f"{zenoh_channel.TO}/p0/client", wrong, content)
        (packet,) = heard(board)
        assert packet.sender == "client"
        assert isinstance(packet.message, Malformed)
        assert board.refused() == number
    publish(client, f"{zenoh_channel.TO}/p0/stranger", text, b"123")
    assert heard(board) == []
    assert board.refused() == len(refused) + 1
    publish(client, f"{zenoh_channel.TO}/p0/client", text, b"123")
    assert [packet.message for packet in heard(board)] == [Tensor(1, 1, 0, 7, b"123")]


@pytest.mark.parametrize(("key", "protocol"), [("p1", 1), ("p1/1", 1), ("p1/99", 99)])
def test_participants_of_another_version_are_noticed_and_not_heard(pair, key, protocol):
    board, client = pair
    token = client._session.liveliness().declare_token(f"{zenoh_channel.ALIVE}/{key}")
    publish(client, "keras_concurrent/to/p0/p1", b'["tensor","p1",1,1,0,"x"]')
    publish(client, "keras_concurrent/99/to/p0/p1", b"{}")
    assert noticed(board, "p1") == Here(protocol)
    token.undeclare()
    assert noticed(board, "p1") == Gone(protocol)
    assert heard(board) == []
    assert board.refused() == 0


def noticed(channel, name):
    """What a channel says of a participant next."""
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        packet = channel.receive(0.1)
        if packet is not None and packet.sender == name:
            return packet.message
    return None


# ---------------------------------------------------------------- whose errors


def test_zenohs_errors_come_as_ours(pair, monkeypatch):
    import zenoh

    _, client = pair
    client.close()
    with pytest.raises(TransportError, match="nothing can be sent to p0"):
        client.send("p0", PING)
    cluster = cluster_of(f"tcp/127.0.0.1:{free_ports(1)[0]}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_ports(1)[0]))
        taken.listen()
        used = cluster_of(f"tcp/127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(TransportError, match=r"p0 cannot listen on .*: is the port in use\?"):
            ZenohChannel("p0", used)
    monkeypatch.setattr(zenoh, "open", lambda config: client._session)  # which is closed
    with pytest.raises(TransportError, match="p0 cannot take part"):
        ZenohChannel("p0", cluster)
