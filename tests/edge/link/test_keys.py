"""Who may take part: certificates, names bound to them, sizes, malformed messages."""

import dataclasses
import errno
import json
import logging
import queue
import stat
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_concurrent.cli import main
from keras_concurrent.cluster import Board as BoardEntry
from keras_concurrent.cluster import Cluster, Network
from keras_concurrent.edge.board.worker import Board
from keras_concurrent.edge.link import keys
from keras_concurrent.edge.link.keys import Keys, keys_of, make_keys, needs_keys
from keras_concurrent.edge.link.transport import KINDS, Exchange, Packet
from keras_concurrent.edge.link.zenoh_channel import ZenohChannel
from keras_concurrent.edge.testbed.local_boards import LocalBoards, free_ports
from keras_concurrent.edge.watch.bench import random_images, reference
from keras_concurrent.errors import BundleError, KeysError, TransportError
from keras_concurrent.export.assemble import export_bundle


def cluster_of(*endpoints):
    boards = (
        BoardEntry(f"p{i}", 0.01, endpoint, call_ms=0.0) for i, endpoint in enumerate(endpoints)
    )
    return Cluster(tuple(boards), Network(1e6, 0.0, 0.0))


def protected(count):
    return cluster_of(*(f"tls/127.0.0.1:{port}" for port in free_ports(count)))


@pytest.fixture(scope="module")
def secured(small_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("secured")
    cluster = protected(2)
    make_keys(cluster, folder / "keys")
    (folder / "cluster.toml").write_text(cluster.to_toml())
    return export_bundle(small_file, cluster, folder / "bundle"), cluster, folder


# ---------------------------------------------------------------- which endpoints need keys


@pytest.mark.parametrize(
    ("endpoints", "needed"),
    [
        (["tcp/127.0.0.1:7447"], False),
        (["tcp/localhost:7447", "tcp/[::1]:7448"], False),
        (["tls/127.0.0.1:7447"], True),
        (["tls/192.168.1.11:7447", "tls/pi2.local:7447"], True),
    ],
)
def test_loopback_needs_no_keys_and_tls_does(endpoints, needed):
    assert needs_keys(cluster_of(*endpoints)) is needed


@pytest.mark.parametrize(
    "endpoint",
    ["tcp/192.168.1.11:7447", "tcp/0.0.0.0:7447", "tcp/[::]:7447", "tcp/pi1:7447",
     "quic/127.0.0.1:7447"],
)  # fmt: skip
def test_an_unprotected_endpoint_that_others_reach_is_refused(endpoint):
    with pytest.raises(KeysError, match=r"beyond loopback an endpoint must be tls/"):
        needs_keys(cluster_of(endpoint))
    with pytest.raises(KeysError, match="p0 would listen unprotected"):
        keys_of("client", cluster_of(endpoint), None)


def test_a_cluster_is_protected_throughout_or_not_at_all():
    with pytest.raises(KeysError, match="all endpoints must be tls"):
        needs_keys(cluster_of("tls/127.0.0.1:7447", "tcp/127.0.0.1:7448"))


# ---------------------------------------------------------------- the folder of keys


def test_keys_are_made_once_readable_by_their_owner_alone(tmp_path):
    cluster = protected(2)
    made = make_keys(cluster, tmp_path / "keys")
    assert [folder.name for folder in made] == ["p0", "p1", "client"]
    for path in (tmp_path / "keys").rglob("*key.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = (tmp_path / "keys" / "p0" / "key.pem").read_bytes()
    more = Cluster((*cluster.boards, BoardEntry("new", 1.0, "tls/pi.local:1")), cluster.network)
    assert [folder.name for folder in make_keys(more, tmp_path / "keys")] == ["new"]
    assert (tmp_path / "keys" / "p0" / "key.pem").read_bytes() == before
    assert keys_of("p0", cluster, tmp_path / "keys").folder.name == "p0"
    # A board has its own folder alone.
    assert keys_of("p0", cluster, tmp_path / "keys" / "p0").folder.name == "p0"


def test_what_could_not_be_made_is_made_the_next_time(tmp_path, monkeypatch):
    cluster, write = protected(2), keys._write_key

    def full(path, key):
        if path.name == "key.pem":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, key)

    monkeypatch.setattr(keys, "_write_key", full)
    with pytest.raises(OSError, match="No space left"):
        make_keys(cluster, tmp_path)
    monkeypatch.setattr(keys, "_write_key", write)
    made = make_keys(cluster, tmp_path)
    assert {path.name for path in made} == {"p0", "p1", "client"}
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"p0", "p1", "client"}
    for path in made:
        Keys(path)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("cannot lock"), "Error: cannot lock\n"),
        (OSError(errno.ENOSPC, "No space left"), "Error: No space left\n"),
        (OSError(errno.ENOENT, "Not there", "a.pem"), "Error: Not there: a.pem\n"),
    ],
)
def test_an_error_of_the_system_is_told_in_its_words(tmp_path, monkeypatch, error, said):
    def fail(*_):
        raise error

    monkeypatch.setattr(keys, "make_keys", fail)
    (tmp_path / "cluster.toml").write_text(protected(2).to_toml())
    words = ["keys", "--cluster", str(tmp_path / "cluster.toml"), "--out", str(tmp_path / "keys")]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.stderr) == (1, said)


def test_missing_and_open_keys_are_named(tmp_path):
    cluster = protected(1)
    with pytest.raises(KeysError, match="p0 needs keys for tls/"):
        keys_of("p0", cluster, None)
    make_keys(cluster, tmp_path)
    (tmp_path / "p0" / "key.pem").chmod(0o644)
    with pytest.raises(KeysError, match=r"can be read by others \(mode 644\)"):
        Keys(tmp_path / "p0")
    (tmp_path / "client" / "authority.pem").unlink()
    with pytest.raises(KeysError, match=r"client lacks authority\.pem"):
        keys_of("client", cluster, tmp_path)
    (tmp_path / "authority.key.pem").unlink()
    with pytest.raises(KeysError, match="which signs certificates"):
        make_keys(cluster, tmp_path)


def test_the_keys_command_says_what_goes_where(tmp_path):
    (tmp_path / "cluster.toml").write_text(protected(1).to_toml())
    arguments = ["keys", "--cluster", str(tmp_path / "cluster.toml"), "--out", str(tmp_path / "k")]
    first, second = (CliRunner().invoke(main, arguments) for _ in range(2))
    assert first.exit_code == 0
    assert f"{tmp_path / 'k' / 'p0'}: copy it to p0" in first.output
    assert "has keys for everyone already" in second.output


# ---------------------------------------------------------------- who is let in


def test_boards_with_certificates_answer(secured):
    bundle, cluster, folder = secured
    image = random_images(bundle, 1)[0]
    with LocalBoards(bundle, cluster, keys=folder / "keys") as boards:
        answer = boards.client.infer(image)
    assert np.array_equal(answer["classes"], reference(bundle, [image])[0]["classes"])


@pytest.fixture
def listening(secured):
    _, cluster, folder = secured
    channel = ZenohChannel("p0", cluster, keys_of("p0", cluster, folder / "keys"))
    yield channel
    channel.close()


def ask_p0(channel, sender="client"):
    """Knock for a second; whether p0 was found."""
    deadline = time.monotonic() + 1.5
    while "p0" in channel.unreached() and time.monotonic() < deadline:
        time.sleep(0.02)
    channel.send("p0", Packet("ask", sender, 1, name="ping"))
    return "p0" not in channel.unreached()


def heard(channel):
    """What came from others, presence aside."""
    packets = []
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        packet = channel.receive(0.1)
        if packet is not None and packet.kind in KINDS:
            packets.append(packet)
            break
    return packets


def test_the_client_with_its_certificate_is_heard(secured, listening):
    _, cluster, folder = secured
    client = ZenohChannel("client", cluster, keys_of("client", cluster, folder / "keys"))
    try:
        assert ask_p0(client)
        assert [packet.name for packet in heard(listening)] == ["ping"]
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
        packet = Packet("ask", "client", 1, name="ping")
        session.put("keras_concurrent/to/p0/client", b"", attachment=packet.header())
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
    liar = ZenohChannel("p1", cluster, keys)
    try:
        assert ask_p0(liar, sender="client")  # in its header
        assert heard(listening) == []
        assert listening.refused() == 1
    finally:
        liar.close()


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


# ---------------------------------------------------------------- malformed messages


@given(header=st.one_of(
    st.binary(max_size=64),
    st.lists(st.one_of(st.integers(), st.text(max_size=5), st.none(), st.floats(),
                       st.lists(st.integers(), max_size=2)), max_size=8)
    .map(lambda parts: json.dumps(parts).encode()),
))  # fmt: skip
def test_a_header_is_read_as_written_or_refused(header):
    try:
        packet = Packet.parse(header, b"")
    except TransportError:
        return
    assert packet.kind in KINDS
    assert json.loads(packet.header()) == json.loads(header)


def test_a_long_or_nested_header_is_refused():
    for header in (b'["tensor","' + b"a" * 5000 + b'",1,1,0,""]', b"[" * 1000):
        with pytest.raises(TransportError, match="expected a packet's header"):
            Packet.parse(header, b"")


@pytest.fixture(scope="module")
def board(secured):
    """A board that works in this process, and the exchange on which it does."""
    bundle, _, _ = secured
    exchange, stopped = Exchange(), threading.Event()
    own = Board("p0", bundle, exchange.join("p0"), frozenset({"p1"}))
    thread = threading.Thread(target=own.serve, args=(stopped,))
    thread.start()
    yield own, exchange, bundle
    assert thread.is_alive()  # whatever it was sent
    stopped.set()
    thread.join()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["bundle_sha256", "segments", "sends", "x"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(KINDS),
    sender=st.sampled_from(["client", "p1", "p0", "stranger", ""]),
    numbers=st.tuples(*[st.integers(0, 2**64 - 1)] * 3),
    name=st.sampled_from(["ping", "trace", "route", "classes", "image", "offer", "blob", "x" * 99]),
    payload=st.one_of(st.binary(max_size=40), JSON.map(lambda value: json.dumps(value).encode())),
)
def test_whatever_is_sent_the_board_goes_on_and_says_it_once(
    board, kind, sender, numbers, name, payload
):
    _, exchange, _ = board
    hostile = exchange.join("hostile")
    records = queue.SimpleQueue()
    handler = logging.Handler()
    handler.emit = lambda record: records.put(record.getMessage())
    logging.getLogger("keras_concurrent.edge.board.worker").addHandler(handler)
    try:
        for _ in range(2):
            hostile.send("p0", Packet(kind, sender, *numbers, name, payload))
        client = exchange.join("client")
        client.send("p0", Packet("ask", "client", 1, 77, name="ping"))
        deadline = time.monotonic() + 5
        answered = False
        while not answered and time.monotonic() < deadline:
            packet = client.receive(0.5)
            answered = packet is not None and (packet.name, packet.image) == ("ping", 77)
        assert answered
        said = [records.get() for _ in range(records.qsize())]
        assert len(set(said)) == len(said)
    finally:
        logging.getLogger("keras_concurrent.edge.board.worker").removeHandler(handler)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"bundle_sha256": "0" * 64}, "another bundle is here"),
        ({"segments": ["../../etc/passwd"]}, "a segment that is not there"),
        ({"sends": [["classes", "p7"]]}, "to no one"),
        ({"sends": [["nonsense", "client"]]}, "what is not there"),
        ({"segments": ["model", "model"]}, "runs a segment twice"),
        ({"segments": 3}, "TypeError"),
        ({"routes": 3}, "TypeError"),
        ({"sends": [[[], "client"]]}, "TypeError"),
    ],
)
def test_a_route_that_names_what_is_not_there_is_refused(board, change, cause):
    _, exchange, bundle = board
    told = {"bundle_sha256": bundle.sha256, "segments": ["model"], "sends": [],
            "routes": [0], **change}  # fmt: skip
    client = exchange.join("client")
    payload = json.dumps(told).encode()
    client.send("p0", Packet("ask", "client", 2**63, 5, 0, "route", payload))
    while (packet := client.receive(5.0)).kind != "answer":
        pass
    assert cause in json.loads(packet.payload)["error"]


def test_a_packet_larger_than_its_tensor_is_not_taken(board):
    own, _, bundle = board
    size = bundle.manifest.tensors["image"].bytes
    assert own._largest(Packet("tensor", "client", name="image")) == size
    assert own._largest(Packet("tensor", "client", name="unknown")) == 0
    assert own._largest(Packet("ask", "p1", name="ping")) == 0


@pytest.mark.parametrize("name", ["../x.tflite", "/etc/x.tflite", "a/b.tflite", ".x.tflite"])
def test_a_bundles_file_names_cannot_leave_its_folder(secured, name):
    manifest = secured[0].manifest
    spec = dataclasses.replace(manifest.segments["model"], file=name)
    with pytest.raises(BundleError, match="unsafe file name"):
        dataclasses.replace(manifest, segments={**manifest.segments, "model": spec}).check()


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 2**40), "float32"), ((1,), "object"), ((1,), "O"), ((1,), "V8")]
)
def test_a_tensor_that_no_board_could_hold_is_refused(secured, shape, dtype):
    manifest = secured[0].manifest
    spec = dataclasses.replace(manifest.tensors["image"], shape=shape, dtype=dtype)
    with pytest.raises(BundleError, match="tensor 'image' must"):
        dataclasses.replace(manifest, tensors={**manifest.tensors, "image": spec}).check()


def test_nothing_that_comes_from_outside_is_unpickled():
    package = Path(__file__).parents[3] / "keras_concurrent"
    own_processes = {"polish.py", "screening.py"}  # what they unpickle comes through their own pipe
    for path in package.rglob("*.py"):
        source = path.read_text()
        assert "allow_pickle=True" not in source, path
        assert ("import pickle" in source) == (path.name in own_processes), path
