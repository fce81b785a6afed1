"""Which endpoints need keys, and the folder that holds them."""

import errno
import stat

import pytest
from click.testing import CliRunner
from costless import costless

from keras_concurrent.cli import main
from keras_concurrent.cluster import Board as BoardEntry
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.link import keys
from keras_concurrent.edge.link.keys import Keys, keys_of, make_keys, needs_keys
from keras_concurrent.edge.testbed.local_boards import free_ports
from keras_concurrent.errors import KeysError
from keras_concurrent.network import Network


def cluster_of(*endpoints):
    boards = (
        BoardEntry(f"p{i}", 0.01, endpoint, call_ms=0.0) for i, endpoint in enumerate(endpoints)
    )
    return costless(tuple(boards), Network(1e6, 0.0))


def protected(count):
    return cluster_of(*(f"tls/127.0.0.1:{port}" for port in free_ports(count)))


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
