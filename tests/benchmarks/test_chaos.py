"""The chaos benchmark sees a wrong answer: each image has its own, and a planted one is caught."""

import sys
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from keras_concurrent.errors import BundleError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
try:
    import chaos
    from distinct import References, distinct_bundle
finally:
    sys.path.pop(0)


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distinct") / "bundle"
    bundle = distinct_bundle(chaos.described(4), folder)
    assert len(bundle.placement("boards").programs) == 4
    return References.of(bundle)


def test_every_image_has_an_answer_of_its_own(references):
    answers = {answer["classes"].tobytes() for answer in references.answers}
    assert len(answers) == len(references.images) == 20


def test_two_images_of_one_answer_are_refused(references):
    first = references.answers[0]
    with pytest.raises(BundleError, match="images 0 and 2 must have different answers"):
        References(references.images[:3], (first, references.answers[1], first))


def done(answer):
    future = Future()
    future.set_result(answer)
    return future


def test_an_answer_is_compared_with_that_of_its_own_image(references):
    tally = chaos.Tally(references)
    right = references.answers[3]["classes"]
    last_bit = right.copy()
    last_bit.view(np.uint32)[0, -1] ^= 1
    tally.ended(done({"classes": right}), 3, False, 0.0)
    assert (tally.answered, tally.wrong, len(tally.right)) == (1, 0, 1)
    for wrong in ({"classes": references.answers[4]["classes"]}, {"classes": last_bit}, {}):
        tally.ended(done(wrong), 3, False, 0.0)
    assert (tally.answered, tally.wrong, len(tally.right)) == (4, 3, 1)


def test_a_planted_answer_counts_as_caught_only_where_it_is_seen(references):
    tally = chaos.Tally(references)
    tally.ended(done(references.answers[3]), 3, True, 0.0)  # as if no one could tell
    assert (tally.planted, tally.caught, tally.wrong) == (1, 0, 0)
    tally.ended(done(references.answers[4]), 3, True, 0.0)
    assert (tally.planted, tally.caught, tally.wrong) == (2, 1, 0)
