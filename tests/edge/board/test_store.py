"""The folder in which a board keeps its bundles: what it takes, notices and keeps."""

import json
import os
from contextlib import suppress

import pytest
from costless import costless

from keras_concurrent.cluster import Board as BoardEntry
from keras_concurrent.edge.board.store import Store
from keras_concurrent.edge.bundle import digest
from keras_concurrent.errors import BundleError
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.files import write_beside
from keras_concurrent.network import Network

NAMES = ("d0", "d1")


def slow_boards(endpoints=("tcp/127.0.0.1:7447", "tcp/127.0.0.1:7448"), latency_ms=0.0):
    boards = (
        BoardEntry(name, 0.01, endpoint, call_ms=0.0)
        for name, endpoint in zip(NAMES, endpoints, strict=True)
    )
    return costless(tuple(boards), Network(1e6, latency_ms))


@pytest.fixture(scope="module")
def bundles(small_file, tmp_path_factory):
    """Two plans of one model: the second is cut otherwise, the uncut model is the same."""
    folder = tmp_path_factory.mktemp("bundles")
    first = export_bundle(small_file, slow_boards(), folder / "first")
    second = export_bundle(small_file, slow_boards(latency_ms=1.0), folder / "second")
    assert first.sha256 != second.sha256
    return first, second


def sizes(bundle):
    return {segment.sha256: segment.bytes for segment in bundle.manifest.segments.values()}


def test_what_a_board_left_that_ended_in_between_is_removed_when_it_starts(bundles, tmp_path):
    store = Store(tmp_path)
    in_use(store, bundles[0])
    in_use(store, bundles[1])
    store.offer((bundles[0].path / "manifest.json").read_bytes())
    (tmp_path / ".current-x").write_bytes(b"half")
    write_beside(tmp_path / "files" / ("0" * 64), b"of a bundle that nobody used")
    (tmp_path / "bundles" / ".x").mkdir()
    again = Store(tmp_path)
    assert again.current().sha256 == bundles[1].sha256
    assert again.before().sha256 == bundles[0].sha256  # a roll-back works
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundles", "current", "files"]
    assert {path.name for path in (tmp_path / "bundles").iterdir()} == {b.sha256 for b in bundles}
    kept = {path.name for path in (tmp_path / "files").iterdir()}
    assert kept == sizes(bundles[0]).keys() | sizes(bundles[1]).keys()


def in_use(store, bundle):
    store.offer((bundle.path / "manifest.json").read_bytes())
    for name, spec in bundle.manifest.segments.items():
        if store.largest(spec.sha256) and spec.sha256 in store.lacking():
            store.take(spec.sha256, bundle.content(name))
    store.use(store.assembled())


def test_a_store_takes_only_the_files_of_the_offered_bundle(bundles, tmp_path):
    store = Store(tmp_path)
    manifest = (bundles[0].path / "manifest.json").read_bytes()
    model = bundles[0].content("model")
    with pytest.raises(BundleError, match="is no file of the bundle that was offered"):
        store.take(digest(model), model)
    with pytest.raises(BundleError, match="no bundle was offered"):
        store.assembled()
    lacking = store.offer(manifest)
    assert set(lacking) == sizes(bundles[0]).keys()
    assert store.largest(digest(model)) == len(model)
    assert store.largest("0" * 64) == 0
    with pytest.raises(BundleError, match="was altered on its way"):
        store.take(digest(model), bytes(len(model)))
    with pytest.raises(BundleError, match="is no file of the bundle"):
        store.take("../../x", model)
    store.take(digest(model), model)
    with pytest.raises(BundleError, match=rf"{len(lacking) - 1} files of the bundle are lacking"):
        store.assembled()
    assert store.current() is None
    for wrong in (b"", b"\xff", b"{}", b"[" * 5000, manifest.replace(b".tflite", b"/x.tflite")):
        with pytest.raises(BundleError):
            store.offer(wrong)
        assert store.lacking() == ()


def test_a_store_that_was_tampered_with_is_not_run(bundles, tmp_path):
    store = Store(tmp_path)
    store.offer((bundles[0].path / "manifest.json").read_bytes())
    for segment in bundles[0].manifest.segments:
        content = bundles[0].content(segment)
        store.take(digest(content), content)
    store.use(store.assembled())
    assert Store(tmp_path).current().sha256 == bundles[0].sha256
    path = tmp_path / "bundles" / bundles[0].sha256 / "manifest.json"
    data = json.loads(path.read_text())
    data["architecture"] = "x"
    path.write_text(json.dumps(data))
    with pytest.raises(BundleError, match="was altered; deploy the bundle again"):
        Store(tmp_path).current()
    for name in ("../../etc", "", "0" * 64, "z" * 64):
        (tmp_path / "current").write_text(name)
        with pytest.raises(BundleError, match="current is damaged: it names no bundle"):
            Store(tmp_path).current()


def kept(folder, bundle):
    """A store that has a bundle in use."""
    store = Store(folder)
    hand_over(store, bundle)
    return store


def hand_over(store, bundle):
    """Deploy to a store; how many files it lacked."""
    names = {spec.sha256: name for name, spec in bundle.manifest.segments.items()}
    lacking = store.offer((bundle.path / "manifest.json").read_bytes())
    for sha256 in lacking:
        store.take(sha256, bundle.content(names[sha256]))
    store.use(store.assembled())
    return len(lacking)


@pytest.mark.parametrize("left", [b"", b"another", None])
def test_a_damaged_file_is_noticed_and_deployed_again(bundles, tmp_path, left):
    first = bundles[0]
    store = kept(tmp_path, first)
    file = sorted((tmp_path / "files").iterdir())[0]
    content = file.read_bytes()
    damage = left if left is not None else content[:-1] + bytes([content[-1] ^ 1])
    file.write_bytes(damage)  # and with it the bundle's link to it
    with pytest.raises(BundleError, match="altered"):
        Store(tmp_path).current()
    assert hand_over(store, first) == 1
    again = Store(tmp_path).current()
    again.verify()
    assert again.sha256 == first.sha256
    assert file.read_bytes() == content


@pytest.mark.parametrize("left", [b"", b"{}"])
def test_a_damaged_manifest_is_deployed_again_and_hinders_no_other_bundle(bundles, tmp_path, left):
    first, second = bundles
    store = kept(tmp_path, first)
    manifest = tmp_path / "bundles" / first.sha256 / "manifest.json"
    manifest.write_bytes(left)
    with pytest.raises(BundleError):
        Store(tmp_path).current()
    hand_over(store, second)
    assert Store(tmp_path).current().sha256 == second.sha256
    with pytest.raises(BundleError):
        store.before()
    hand_over(store, first)
    assert Store(tmp_path).current().sha256 == first.sha256
    assert store.before().sha256 == second.sha256


@pytest.fixture(scope="module")
def three(bundles, small_file, tmp_path_factory):
    """A third plan of the same model."""
    folder = tmp_path_factory.mktemp("third") / "third"
    third = export_bundle(small_file, slow_boards(latency_ms=100.0), folder)
    assert len({third.sha256, *(bundle.sha256 for bundle in bundles)}) == 3
    return (*bundles, third)


@pytest.mark.parametrize("writes", range(4))
def test_a_kill_while_switching_leaves_a_bundle_to_roll_back_to(
    three, tmp_path, monkeypatch, writes
):
    first, second, third = three
    store = kept(tmp_path, first)
    hand_over(store, second)
    store.offer((third.path / "manifest.json").read_bytes())
    for name in third.manifest.segments:
        if digest(third.content(name)) in store.lacking():
            store.take(digest(third.content(name)), third.content(name))
    bundle, left = store.assembled(), [writes]

    def killed_after(path, content):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write_beside(path, content)

    monkeypatch.setattr("keras_concurrent.edge.board.store.write_beside", killed_after)
    with suppress(KeyboardInterrupt):
        store.use(bundle)
    again = Store(tmp_path)
    before = {second.sha256: first.sha256, third.sha256: second.sha256}
    assert again.before().sha256 == before[again.current().sha256]


def test_the_store_of_an_earlier_version_is_taken_over(three, tmp_path):
    first, second, third = three
    store = kept(tmp_path, first)
    hand_over(store, second)
    (tmp_path / "current").write_text(second.sha256)
    (tmp_path / "previous").write_text(first.sha256)
    store = Store(tmp_path)
    assert (store.current().sha256, store.before().sha256) == (second.sha256, first.sha256)
    (tmp_path / "previous").write_text(second.sha256)  # as a kill in between left it
    with pytest.raises(BundleError, match="there is no bundle before this one"):
        store.before()
    hand_over(store, third)
    assert (store.current().sha256, store.before().sha256) == (third.sha256, second.sha256)


def test_a_file_is_on_the_disk_before_it_shows(tmp_path, monkeypatch):
    path, order = tmp_path / "folder" / "file", []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda d: (order.append(os.fstat(d).st_size), fsync(d)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("renamed"), replace(a, b)))
    write_beside(path, b"12345")
    assert order[:2] == [5, "renamed"]
    assert len(order) == 3  # and then the folder
    assert path.read_bytes() == b"12345"
