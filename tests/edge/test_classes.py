"""The best classes of a model's scores."""

import numpy as np

from keras_concurrent.edge.classes import ScoredClass, best_classes


def test_the_best_come_first_and_of_equal_ones_the_first():
    scores = np.array([[0, 9, 200, 9, 255, 1, 3]], np.uint8)  # unsigned: they cannot be negated
    best = best_classes(scores)
    assert [(each.number, each.score) for each in best] == [
        (4, 255), (2, 200), (1, 9), (3, 9), (6, 3),
    ]  # fmt: skip
    assert [each.number for each in best_classes(scores, count=2)] == [4, 2]


def test_classes_are_shown_by_their_names_where_they_have_one():
    best = best_classes(np.float32([0.25, 0.75]), ("cat", "dog"))
    assert best == (ScoredClass(1, 0.75, "dog"), ScoredClass(0, 0.25, "cat"))
    assert [str(each) for each in best] == ["dog 0.75", "cat 0.25"]
    assert str(best_classes(np.float32([2 / 3]))[0]) == "class 0 0.6667"
