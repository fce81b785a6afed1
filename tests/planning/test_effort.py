"""What a search may take."""

import pytest

from keras_concurrent.planning.effort import Effort


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"evaluations": -1}, "evaluations must not be negative, got -1"),
        ({"budget_s": -0.5}, "budget_s must not be negative, got -0.5"),
        ({"polish_s": 0}, "polish_s must be positive, got 0"),
        ({"polish_s": float("nan")}, "polish_s must be positive, got nan"),
    ],
)
def test_an_effort_that_cannot_be_made_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Effort(**wrong)
