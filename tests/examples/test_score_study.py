"""The study of scores compares the right orders, with values that can be redone by hand."""

import csv
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def study():
    sys.path.insert(0, str(EXAMPLES))
    try:
        import score_samples
        import score_study

        yield SimpleNamespace(**{**vars(score_samples), **vars(score_study)})
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture(scope="module")
def sampled(study):
    """Six small samples of one staging in one setting, with figures made up."""

    def sample(seed, best_s, **predictions):
        candidate = study.Candidate("DP", study.STAGINGS[0], seed)
        return study.Sample(candidate, study.SHOWN, predictions, 12.0, best_s)

    said = {  # by predictor, over six candidates of ever higher latency
        study.CS: (1, 2, 3, 4, 5, 6),
        study.ETA: (6, 5, 4, 3, 2, 1),
        study.LISTED: (6, 5, 4, 3, 1, 2),
        study.SEARCHED: (6, 5, 4, 3, 2, 1),
        "latency, portfolio": (3, 3, 3, 3, 3, 3),
        "FLOPs": (2, 1, 3, 4, 5, 6),
    }
    latencies_s = (2.0, 3.0, 4.0, 6.0, 11.999, 12.0)
    return [
        sample(i, latencies_s[i], **{name: values[i] for name, values in said.items()})
        for i in range(6)
    ]


def test_ranks_count_from_one_and_equals_share_the_mean_of_theirs(study):
    assert study.ranks([10, 30, 20, 20]).tolist() == [1, 4, 2.5, 2.5]
    assert study.ranks([7, 7, 7]).tolist() == [2, 2, 2]


def test_spearmans_correlation(study):
    # Without ties 1 - 6 * sum(d^2) / (n * (n^2 - 1)); d = 0, 0, 1, 1: 1 - 12 / 60.
    assert study.spearman([1, 2, 3, 4], [10, 20, 90, 80]) == pytest.approx(0.8)
    assert study.spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert study.spearman([1, 2, 3], [1, 8, 1000]) == pytest.approx(1)
    # Ranks 1, 2.5, 2.5, 4 and 1..4: covariance 4.5, variances 4.5 and 5.
    assert study.spearman([0, 1, 1, 2], [1, 2, 3, 4]) == pytest.approx(4.5 / 22.5**0.5)
    assert study.spearman([1, 1, 1], [1, 2, 3]) == 0


def test_speed_ups_closer_than_the_search_is_exact_are_equal(sampled):
    assert [s.speed_up for s in sampled] == [6, 4, 3, 2, 1, 1]


def test_every_predictor_is_turned_so_that_one_is_the_same_order(study, sampled):
    found = study.agreement(sampled)
    assert (found.candidates, found.sooner) == (6, 4)
    assert found.latency[study.CS] == pytest.approx(1)  # less of it, sooner
    assert found.latency[study.ETA] == pytest.approx(-1)
    assert found.latency[study.LISTED] == pytest.approx(1 - 6 * 2 / 210)  # two are swapped
    assert found.latency[study.SEARCHED] == pytest.approx(1)
    assert found.latency["latency, portfolio"] == 0
    assert found.latency["FLOPs"] == pytest.approx(1 - 6 * 2 / 210)
    # The last two candidates are equally fast: the swap of these costs nothing.
    assert found.speed_up[study.LISTED] == found.speed_up[study.SEARCHED] > 0.98


def test_the_table_and_the_file_hold_every_predictor(study, sampled):
    found = study.agreements(sampled)
    assert len(found) == 1
    rows = study.rows_of(found)
    assert [row[0] for row in rows] == list(study.PREDICTORS)
    assert rows[1] == ("eta alone", *(f"{v:.3f}" for v in
                       (found[0].speed_up[study.ETA],) * 2), "-1.000", "-1.000")  # fmt: skip
    (line,) = csv.DictReader(io.StringIO(study.to_csv(found)))
    assert (line["boards"], line["link"], line["sooner"]) == ("4", "100mbit", "4")
    assert float(line["latency: eta alone"]) == -1
    text = study.to_markdown(sampled, 50)
    assert "50 evaluations" in text
    assert "up to\n  6.0 times" in text  # 6 FLOPs over 1
    assert text.count("| FLOPs | 0.") == 2  # with staged wiring, and without


def test_a_candidate_is_measured_in_every_setting(study, tmp_path):
    candidates = [study.Candidate(wiring, study.STAGINGS[0], 0) for wiring in ("DP", "FB")]
    settings = [study.SHOWN, study.Setting(1, "1gbit", 3.0)]
    samples = [s for each in candidates for s in study.measure(each, settings, 50)]
    assert [s.setting for s in samples] == settings * 2
    for sample in samples:
        assert 0 < sample.best_s <= sample.predictions["latency, portfolio"]
        assert sample.best_s <= sample.one_board_s
    alone = samples[1]
    assert alone.speed_up == 1
    assert alone.predictions[study.LISTED] == 0
    assert alone.predictions["FLOPs"] / 3e9 == pytest.approx(alone.one_board_s, rel=0.02)
    # The same once more, and the picture of it.
    assert study.measure(candidates[0], settings, 50) == samples[:2]
    title, clouds, spreads = study.picture(samples, study.agreements(samples[::2]))
    assert title == "4 boards of 3 GFLOP/s, 100mbit, dense convolutions"
    assert [len(points) for points in clouds.values()] == [2, 2]
    assert list(spreads) == list(study.SCORES)
    import score_figure

    score_figure.draw(tmp_path / "scores.png", title, clouds, spreads)
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
