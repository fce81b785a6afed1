from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import image_for
from small_files import homes_of, on_boards, operators, sums_file

from keras_concurrent.interpreter import Segment
from keras_concurrent.wire.encoding import crossing
from keras_concurrent.wire.sums import regroup_sums


def check_equal(file, other):
    images = list(image_for(file).values())
    assert file.outputs == other.outputs
    for a, b in zip(Segment(file.data).run(images), Segment(other.data).run(images), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_tensors_of_one_board_travel_as_one():
    file = sums_file(4, ((0, 1, 2, 3),))
    homes = homes_of(file, {"x0": "a", "x1": "b", "x2": "a", "x3": "a"}, ["b"])
    assert len(crossing(file, homes)) == 3
    summed, on = regroup_sums(file, homes)
    assert len(summed.operators) == len(file.operators)
    # On a: -1.5 s0 - 3.5 s2 + 4.5 s3, which travels; on b: 2.5 s1 and the rest.
    (sent,) = crossing(summed, on)
    values = image_for(file)
    piece = Segment(summed.cut(range(len(summed.operators)), summed.inputs, (sent,)))
    s = {name: 1 / (1 + np.exp(-x.astype(float))) for name, x in values.items()}
    np.testing.assert_allclose(
        piece.run(list(values.values()))[0],
        -1.5 * s["x0"] - 3.5 * s["x2"] + 4.5 * s["x3"],
        atol=1e-6,
    )
    check_equal(file, summed)


def test_the_activation_is_of_the_whole_sum_and_of_no_part():
    """ReLU(-1.5 s0 + 2.5 s1 - 3.5 s2 + 4.5 s3) / 8; s0 and s2 on one board, the rest on another."""
    file = sums_file(4, ((0, 1, 2, 3),))
    homes = homes_of(file, {"x0": "a", "x1": "b", "x2": "a", "x3": "b"}, ["b"])
    summed, on = regroup_sums(file, homes)
    images = list(dict.fromkeys(file.inputs, np.zeros((1, 4), "f4")).values())
    (sent,) = crossing(summed, on)
    piece = Segment(summed.cut(range(len(summed.operators)), summed.inputs, (sent,)))
    np.testing.assert_allclose(piece.run(images)[0], -2.5, rtol=1e-6)  # (-1.5 - 3.5) / 2
    np.testing.assert_allclose(Segment(summed.data).run(images)[0], 0.125, rtol=1e-6)  # 2 / 2 / 8


def test_a_tensor_that_serves_many_sums_travels_itself():
    file = sums_file(2, ((0, 1), (0, 1), (0, 1)))
    homes = homes_of(file, {"x0": "a", "x1": "b"}, "bbb")
    summed, on = regroup_sums(file, homes)
    assert list(crossing(summed, on)) == list(operators(file, "LOGISTIC")[0].outputs)
    check_equal(file, summed)


def test_a_sum_of_one_other_board_is_finished_there():
    file = sums_file(2, ((0, 1),))
    homes = homes_of(file, {"x0": "a", "x1": "a"}, "b")
    summed, on = regroup_sums(file, homes)
    (sent,) = crossing(summed, on)
    assert sent == operators(summed, "ADD")[0].outputs[0]
    check_equal(file, summed)


def test_sums_of_one_board_stay_as_they_are():
    file = sums_file(4, ((0, 1, 2, 3), (1, 2)))
    summed, on = regroup_sums(file, on_boards(file, lambda o: "a"))
    assert summed.operators == file.operators
    assert set(on.values()) == {"a"}


def test_a_pinned_sum_is_left_alone():
    file = sums_file(4, ((0, 1, 2, 3),))
    homes = homes_of(file, {"x0": "a", "x1": "b", "x2": "a", "x3": "a"}, ["b"])
    summed, on = regroup_sums(file, homes, operators(file, "ADD")[0].outputs)
    assert (summed.operators, on) == (file.operators, homes)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from("ab"), min_size=4, max_size=4),
    st.lists(
        st.tuples(
            st.sampled_from("ab"), st.lists(st.integers(0, 3), min_size=2, max_size=4, unique=True)
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_no_choice_sends_fewer_tensors(tensors, sums):
    file = sums_file(4, tuple(tuple(numbers) for _, numbers in sums))
    homes = homes_of(
        file, {f"x{i}": board for i, board in enumerate(tensors)}, [b for b, _ in sums]
    )
    summed, on = regroup_sums(file, homes)
    check_equal(file, summed)
    sent = sum(len(boards) for boards in crossing(summed, on).values())
    assert sent == sum(
        smallest_cover(
            {
                (number, index)
                for index, (board, numbers) in enumerate(sums)
                for number in numbers
                if board == there and tensors[number] == here
            }
        )
        for here, there in ("ab", "ba")
    )


def smallest_cover(edges):
    """Fewest tensors and sums that touch every edge, by trying all sets."""
    nodes = {("tensor", a) for a, _ in edges} | {("sum", b) for _, b in edges}
    subsets = chain.from_iterable(combinations(sorted(nodes), n) for n in range(len(nodes) + 1))
    return next(
        len(chosen)
        for chosen in subsets
        if all(("tensor", a) in chosen or ("sum", b) in chosen for a, b in edges)
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_generated_network_stays_equal(small_file, seed):
    rng = np.random.default_rng(seed)
    homes = on_boards(small_file, lambda o: "abc"[rng.integers(3)])
    summed, on = regroup_sums(small_file, homes)
    assert len(on) == len(homes)
    assert len(crossing(summed, on)) < len(crossing(small_file, homes))
    check_equal(small_file, summed)
    again, still = regroup_sums(summed, on)
    assert len(crossing(again, still)) == len(crossing(summed, on))
