import json
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def paper():
    """The script and its samples, imported as they import each other."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import paper_samples
        import reproduce_paper

        yield reproduce_paper, paper_samples
    finally:
        sys.path.remove(str(EXAMPLES))


def test_the_unit_of_a_familys_score_is_its_smallest_tensor(paper):
    reproduce_paper, _ = paper
    drawn = [
        {"smallest_bytes": 100, "units": {"4": {"eta": 2.0, "lambda_bytes": 1600, "delta_w": 1.0}}},
        {"smallest_bytes": 50, "units": {"4": {"eta": 1.0, "lambda_bytes": 200, "delta_w": 2.0}}},
    ]
    # U_c = 50: Lambda' is 1600 / (50 * 4) = 8 and 200 / 200 = 1.
    assert reproduce_paper.concurrency_scores(drawn, 4) == pytest.approx(
        [(8**1.5 * 2) ** (1 / 3), 2 ** (1 / 3)]
    )


@pytest.mark.parametrize("board", ["pi4", "pi4-1core"])
def test_a_sample_holds_the_score_and_the_times_of_its_partition(paper, board):
    _, paper_samples = paper
    job = paper_samples.Job("DP", 12, 0, scored=(4,), board=board)
    sample = paper_samples._sample(job, 3)
    assert set(sample["units"]) == {"2", "4", "6", "8", "10"}
    split = sample["units"]["4"]
    assert "eta" not in sample["units"]["6"]
    assert [split["eta"], split["lambda_bytes"], split["delta_w"], split["used_units"]] in [
        entry[1:] for entry in split["sweep"]
    ]
    for times in split["seconds"].values():
        # Nothing is sooner than its busiest unit's work, nor is all of it on one unit sooner.
        assert times["score"]["latency"] >= times["score"]["compute"] > times["one"] / 4 * 0.999
        assert times["plan"] > times["one"] / 4
    assert sample["parameters"]["probabilistic"] < sample["parameters"]["greedy"]


def test_finished_samples_are_read_and_only_missing_ones_drawn(paper, tmp_path, monkeypatch):
    _, paper_samples = paper
    kept, missing = (paper_samples.Job("DP", 8, first, (4,), False) for first in (0, 10))
    kept.path(tmp_path).write_text(json.dumps([{"seed": 77}]))
    told = []
    found = list(paper_samples.samples([kept, missing], tmp_path, lambda *at: told.append(at)))
    assert found[0] == (kept, {"seed": 77})
    assert [sample["seed"] for job, sample in found if job == missing] == list(range(10, 20))
    assert told == [(1, 2), (2, 2)]
    # Another recipe has other files.
    assert paper_samples.Job("DP", 8, 0, (4, 6), False).path(tmp_path) != kept.path(tmp_path)
    core = paper_samples.Job("DP", 8, 0, (4,), False, "pi4-1core")
    assert core.path(tmp_path) != kept.path(tmp_path)
    assert paper_samples.Job("BA, m=2", 8, 0).path(tmp_path).name.startswith("BA_m_2-8-00000-")


def test_the_graphs_of_figure_5_have_the_eta_that_equation_2_gives(paper, tmp_path):
    reproduce_paper, _ = paper
    rows = list(reproduce_paper.figure_5(tmp_path))
    assert [row.ours for row in rows] == pytest.approx([5 / 3, 1, 1.4, 3])
    assert [row.printed for row in rows] == [2, 1, 1.4, 3]
    assert (tmp_path / "fig05.png").stat().st_size > 5000
