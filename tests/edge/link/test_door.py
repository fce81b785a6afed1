"""Strangers at a board's ports: however many call, who is of the cluster is served."""

import os
import resource
import socket
import ssl
import threading
import time
from contextlib import ExitStack, closing, suppress

import pytest

from keras_concurrent.board import Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.link import door as door_module
from keras_concurrent.edge.link.direct import DirectChannel
from keras_concurrent.edge.link.door import Door
from keras_concurrent.edge.link.keys import keys_of, make_keys
from keras_concurrent.edge.link.meeting import address_of
from keras_concurrent.edge.link.protocol import Ask
from keras_concurrent.edge.link.questions import Ping
from keras_concurrent.edge.testbed.local_boards import free_ports
from keras_concurrent.errors import TransportError
from keras_concurrent.network import Network

STRANGERS = 1100
HELLO = b"\x16\x03\x01"


@pytest.fixture(scope="module")
def protected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("protected")
    (port,) = free_ports(1)
    cluster = Cluster((Board("p0", 1.0, f"tls/127.0.0.1:{port}"),), Network(1000.0, 0.2))
    make_keys(cluster, folder)
    return cluster, folder, port


@pytest.fixture(autouse=True)
def descriptors():
    """A test holds as many connections as its board must not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_here():
    return len(os.listdir("/proc/self/fd"))


def served_s(cluster, folder, board):
    """Seconds until a client that comes now is heard by a board."""
    start = time.monotonic()
    client = DirectChannel("client", cluster, keys_of("client", cluster, folder))
    try:
        while time.monotonic() < start + 20.0:
            if not client.unreached():
                client.send("p0", Ask(1, 1, Ping()))
            packet = board.receive(0.05)
            if packet is not None and isinstance(packet.message, Ask):
                return time.monotonic() - start
    finally:
        client.close()
    raise AssertionError("the client was not heard within 20 s")


@pytest.mark.parametrize("says", ["nothing", "half a greeting", "a whole greeting", "nonsense"])
def test_a_client_is_served_however_many_strangers_hold_the_line(protected, says):
    cluster, folder, port = protected
    words = {
        "nothing": b"", "half a greeting": HELLO, "nonsense": os.urandom(200),
        "a whole greeting": client_hello(),
    }[says]  # fmt: skip
    with ExitStack() as held:
        board = held.enter_context(
            closing(DirectChannel("p0", cluster, keys_of("p0", cluster, folder)))
        )
        before = open_here()
        for i in range(STRANGERS):
            target = (port, address_of(cluster.board("p0"))[1])[i % 2]
            stranger = held.enter_context(socket.create_connection(("127.0.0.1", target), 5.0))
            with suppress(OSError):
                stranger.sendall(words)
        assert served_s(cluster, folder, board) < 5.0
        assert open_here() - before < STRANGERS + 200  # the board itself keeps few of them


def client_hello():
    """What a TLS client says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


# ---------------------------------------------------------------- the door alone


@pytest.fixture
def rooms():
    """A door whose only room echoes what it is told, as long as anyone talks."""
    (port,) = free_ports(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(door_module, "_ROOMS", 1)
        with closing(Door("p0", "127.0.0.1", port)) as door:
            room = socket.create_server(("127.0.0.1", door.rooms[0]))
            threading.Thread(target=echo_all, args=(room,), daemon=True).start()
            yield door, port
            room.close()


def echo_all(room):
    while True:
        try:
            connection, _ = room.accept()
        except OSError:
            return
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


def echo(connection):
    with connection, suppress(OSError):
        while said := connection.recv(1 << 16):
            connection.sendall(said)


def call(port):
    caller = socket.create_connection(("127.0.0.1", port), 5.0)
    caller.settimeout(5.0)
    return caller


def turn(caller, said):
    """Say something and hear it back."""
    caller.sendall(said)
    heard = b""
    while len(heard) < len(said):
        more = caller.recv(1 << 16)
        assert more, "the door was shut"
        heard += more
    assert heard == said


def knock(caller):
    for said in (client_hello(), b"certificate", b"session"):
        turn(caller, said)


def test_what_goes_through_is_what_was_said(rooms):
    _, port = rooms
    with call(port) as caller:
        knock(caller)
        sent = os.urandom(8 << 20)
        heard = bytearray()

        def hear():
            while len(heard) < len(sent):
                time.sleep(0.001)  # a slow hearer: the sender has to wait
                heard.extend(caller.recv(1 << 16))

        hearer = threading.Thread(target=hear, daemon=True)
        hearer.start()
        caller.sendall(sent)
        hearer.join(20.0)
        assert bytes(heard) == sent


def test_who_was_let_in_stays_and_leaves_the_room_to_others(rooms):
    _, port = rooms
    with call(port) as first, call(port) as second:
        knock(first)
        knock(second)
        time.sleep(3.5)  # longer than any guest may take
        turn(first, b"still here")
        turn(second, b"still here")


def test_who_does_not_go_on_is_sent_away_and_others_get_the_room(rooms):
    _, port = rooms
    with call(port) as stranger, call(port) as silent:
        turn(stranger, client_hello())  # and no more
        start = time.monotonic()
        with call(port) as caller:
            knock(caller)
        assert time.monotonic() - start < 2.0
        assert stranger.recv(1) == b""
        assert silent.recv(1) == b""


def test_when_the_room_hangs_up_so_does_the_door(rooms):
    _, port = rooms
    with call(port) as caller:
        knock(caller)
        caller.shutdown(socket.SHUT_WR)
        assert caller.recv(1) == b""


def test_another_doorkeeper_takes_the_place_of_one_that_died(rooms, caplog):
    door, port = rooms
    os.kill(door.process_id, 9)
    deadline = time.monotonic() + 10.0
    while "another begins" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.02)
    while time.monotonic() < deadline:
        with suppress(OSError), call(port) as caller:
            knock(caller)
            return
        time.sleep(0.05)
    raise AssertionError("nobody opens")


def test_a_port_in_use_is_reported():
    with (
        socket.create_server(("127.0.0.1", 0)) as used,
        pytest.raises(TransportError, match="in use"),
    ):
        Door("p0", "127.0.0.1", used.getsockname()[1])
