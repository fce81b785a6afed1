"""The compiled scheduler by itself: where it puts a task that may go anywhere."""

import numpy as np
import pytest
from plans import HEAVY, MS, cluster_of, with_memory

from keras_concurrent.planning.kernel import place
from keras_concurrent.planning.problem import new_state, problem_of


def placed(cluster):
    """Boards of HEAVY's two tasks, by number, and the latency: each where it ends first."""
    problem = problem_of(HEAVY, cluster)
    state = new_state(problem)
    latency_s = place(problem, state, np.arange(2), len(cluster.boards), True)
    return state.board.tolist(), latency_s, problem.unfit_s


def test_a_board_is_chosen_for_its_memory_where_the_faster_one_is_full():
    # Each task has 600 kB of weights and 2 kB of tensors.
    faster = cluster_of(1.0, 0.5)
    # image 2 ms, a 1, b 1 on the same board, answer 2
    assert placed(faster)[:2] == ([0, 0], pytest.approx(6 * MS))
    # image 2 ms, a 1, x 2, b 2 on the slower board, answer 2
    boards, latency_s, unfit_s = placed(with_memory(faster, 0.61, 0.61))
    assert (boards, latency_s) == ([0, 1], pytest.approx(9 * MS))
    assert latency_s < unfit_s


def test_what_fits_nowhere_goes_where_least_is_lacking_and_costs_more_than_any_plan():
    boards, latency_s, unfit_s = placed(with_memory(cluster_of(1.0, 1.0), 0.2, 0.3))
    # a needs 3 times the memory of one and twice that of the other; there b would make it 4 times.
    assert boards == [1, 0]
    assert latency_s > unfit_s
