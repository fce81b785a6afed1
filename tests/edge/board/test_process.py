"""How a board's process begins."""

import threading

import pytest

from keras_concurrent.board import Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.board import process
from keras_concurrent.edge.testbed.local_boards import free_ports
from keras_concurrent.network import Network


@pytest.mark.parametrize("damage", [b"", b"\xff", b"0" * 64])
def test_a_store_that_does_not_say_what_is_in_use_is_reported(tmp_path, caplog, damage):
    store = process.Store(tmp_path)
    assert process._current(store) is None  # before the first bundle: nothing to say
    assert caplog.records == []
    (tmp_path / "current").write_bytes(damage)
    assert process._current(store) is None
    (record,) = caplog.records
    assert "begins without its bundle, deploy it again:" in record.message
    assert "current is damaged" in record.message


@pytest.mark.parametrize(("said", "asked", "threads"), [(None, None, 3), (4, None, 4), (4, 2, 2)])
def test_a_board_computes_with_all_its_cores_unless_told(
    monkeypatch, tmp_path, said, asked, threads
):
    seen = []
    (port,) = free_ports(1)
    board = Board("b", 1.0, f"tcp/127.0.0.1:{port}", cores=said)
    path = tmp_path / "cluster.toml"
    path.write_text(Cluster((board,), Network(1000.0, 0.2)).to_toml())
    real = process.Workshop

    def workshop(stretch, threads, memory_bytes):
        seen.append(threads)
        return real(stretch, threads, memory_bytes)

    monkeypatch.setattr("os.cpu_count", lambda: 3)
    monkeypatch.setattr(process, "Workshop", workshop)
    stopped = threading.Event()
    stopped.set()
    process.serve_board("b", None, path, stopped, threads=asked, store=tmp_path / "store")
    assert seen == [threads]
