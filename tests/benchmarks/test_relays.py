"""The bench of the hop: its two boards relay what they say they do, and its targets are kept."""

import sys
from pathlib import Path

import numpy as np
import pytest

from keras_concurrent.cluster import Cluster
from keras_concurrent.interpreter import Segment

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
sys.path.insert(0, BENCHMARKS)
try:
    import bare_links
    import relays
finally:
    sys.path.pop(0)


@pytest.mark.parametrize("size", [1000, 100_000])
def test_a_tensor_of_the_size_goes_through_two_boards(tmp_path, size):
    bundle = relays.relaying_bundle(size, Cluster.of("pi4", 2), tmp_path / "bundle")
    values = np.linspace(-1, 1, size // 4, dtype=np.float32)[None]
    assert values.nbytes == size
    passed = values
    for number in range(2):
        content = bundle.content(f"relay_{number}")
        (passed,) = Segment(content).run([passed])
        assert passed.nbytes == size
    assert np.array_equal(passed, -np.abs(values))
    assert [spec.bytes for spec in bundle.manifest.tensors.values()] == [size] * 3
    programs = bundle.placement("boards").programs
    assert {board: len(program.sends) for board, program in programs.items()} == {
        "pi4-1": 1, "pi4-2": 1
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["tcp", "tls", "zenoh"])
def test_the_bare_ways_throw_bytes_to_another_process_and_back(tmp_path, kind, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)  # the other process has this one's path
    with bare_links.bare_peer(kind, 50_000, tmp_path) as (throw, peer):
        for _ in range(3):
            throw()
        assert relays.cpu_s(peer) > 0.0


def test_what_misses_its_target_is_said():
    ways = {name: relays.Found([200.0] * 9, [240.0] * 9, [50.0]) for name in relays.WAYS}
    ways["bare TCP"] = relays.Found([100.0] * 9, [240.0] * 9, [50.0])
    section = relays.section({"1 kB": ways})
    missed = [target.name for target in section.targets if not target.reached]
    assert missed == ["hop of 1 kB, us", "hop of 1 kB, of bare TCP"]
