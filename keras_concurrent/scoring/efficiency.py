"""The efficiency score: what a plan makes of its boards, beside the paper's concurrency score.

The paper's score looks at a graph and knows no time. This one looks at a plan and compares its
latency with one board's: 0 means no sooner than on one board, 1 as much sooner as there is speed.
With W_k the seconds of work on board k of K and s_k its rate:

- balance ``B = (W / sum s) / max W_k``: 1 where no board works longer than an even share, W being
  the operations of all tasks;
- concurrency ``C = (sum W_k - T0) / (sum W_k - max W_k)``: 1 where boards never wait for each other
  on a free network, on which the plan takes T0;
- communication ``M = T0 / T``: 1 where the network costs nothing; the plan takes T;
- speed-up ``SU = T1 / T``; the best board alone takes T1;
- efficiency ``S = clip((SU - 1) / (K_h - 1), 0, 1)`` with ``K_h = sum s / max s``.

Look at all of them: one dominant task has C = 1 and S = 0. On equal boards
``SU = h * M / (1 - C * (1 - 1 / (K * B)))``, where ``h = T1 / sum W_k`` is what one board too loses
to fetching the image and sending the answer (1 on a free network).

`efficiency` rates a plan; `scheduled_efficiency` rates what
`keras_concurrent.planning.schedule.schedule` would plan without writing the plan down, for
screening architectures by the thousand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_concurrent.cluster import Cluster
from keras_concurrent.planning.problem import (
    Array,
    Problem,
    State,
    fastest_first,
    new_state,
    planned_order,
    problem_of,
)  # fmt: skip
from keras_concurrent.planning.schedule import Plan
from keras_concurrent.planning.taskgraph import TaskGraph

_POTENTIAL_WEIGHT = 0.05


@dataclass(frozen=True)
class Efficiency:
    """A plan's efficiency score and its terms; the formulas are the module's.

    Args:
        efficiency: S, from 0 to 1.
        balance: B, from 0 to 1.
        concurrency: C, from 0 to 1.
        communication: M, from 0 to 1.
        speed_up: SU; below 1 where the plan is worse than one board.
        potential: R, from 0 to 1: the parallel tasks that the graph holds, of K, divided by one
            plus the seconds of all messages between tasks over those of all work. It asks no plan.
        latency_s: T.
        free_network_latency_s: T0.
        one_board_latency_s: T1.
        work_s: sum W_k, with the calls that the plan has.
        longest_work_s: max W_k.
    """

    efficiency: float
    balance: float
    concurrency: float
    communication: float
    speed_up: float
    potential: float
    latency_s: float
    free_network_latency_s: float
    one_board_latency_s: float
    work_s: float
    longest_work_s: float

    @property
    def rank(self) -> float:
        """``S + 0.05 * R``: orders those too whose S is 0."""
        return self.efficiency + _POTENTIAL_WEIGHT * self.potential


def efficiency(plan: Plan, cluster: Cluster, alone: Plan | None = None) -> Efficiency:
    """Rate a plan.

    Args:
        plan: from `keras_concurrent.planning.schedule` or `keras_concurrent.planning.segments`.
        cluster: the boards that it was made for.
        alone: the plan on one board to compare with. By default the one that ``schedule`` makes on
            the best board, without calls; for a plan of segments give
            `keras_concurrent.planning.segments.one_board`.

    Raises:
        ClusterError: the plan uses a board that the cluster does not have.
        MissingExtraError: numba is not installed.
        ValueError: a plan without a task or without an output.
    """
    from keras_concurrent.planning.portfolio import portfolio

    problem = problem_of(plan.graph, cluster)
    state = new_state(problem)
    boards = fastest_first(cluster)
    alone_s = alone.latency_s if alone else portfolio(problem, len(boards))[3]
    state.board[:] = [boards.index(cluster.board(slot.board)) for slot in plan.slots]
    durations_s = np.array([slot.end_s - slot.start_s for slot in plan.slots])
    order = np.arange(len(plan.slots))
    return _rate(problem, state, cluster, order, durations_s, plan.latency_s, alone_s)


def scheduled_efficiency(graph: TaskGraph, cluster: Cluster) -> Efficiency:
    """``efficiency(schedule(graph, cluster), cluster)``, several times as fast.

    Raises:
        MissingExtraError: numba is not installed.
        ValueError: a graph without a task or without an output.
    """
    from keras_concurrent.planning.portfolio import portfolio

    problem = problem_of(graph, cluster)
    state, _, latency_s, alone_s = portfolio(problem, len(cluster.boards))
    order = planned_order(state)
    durations_s = state.end_s - state.start_s
    return _rate(problem, state, cluster, order, durations_s, latency_s, alone_s)


def _rate(
    problem: Problem,
    state: State,
    cluster: Cluster,
    order: Array,
    durations_s: Array,
    latency_s: float,
    alone_s: float,
) -> Efficiency:
    """The score of tasks in an order, on the boards that ``state`` says, taking given seconds."""
    from keras_concurrent.planning.measures import figures

    boards = len(cluster.boards)
    f = figures(problem, state, order, durations_s)
    equivalents = _equivalents(cluster)
    speed_up = _ratio(alone_s, latency_s)
    parallel = min(float(boards), _ratio(f.work_s, f.path_s))
    spread = _ratio(parallel - 1.0, boards - 1.0)
    return Efficiency(
        efficiency=efficiency_of(latency_s, alone_s, cluster),
        balance=_clip(_ratio(f.work_s / equivalents, f.longest_s)),
        concurrency=_clip(_ratio(f.spent_s - f.free_s, f.spent_s - f.longest_s)),
        communication=_clip(_ratio(f.free_s, latency_s)),
        speed_up=speed_up,
        potential=_clip(spread / (1.0 + _ratio(f.traffic_s, f.work_s))),
        latency_s=latency_s,
        free_network_latency_s=f.free_s,
        one_board_latency_s=alone_s,
        work_s=f.spent_s,
        longest_work_s=f.longest_s,
    )


def efficiency_of(latency_s: float, alone_s: float, cluster: Cluster) -> float:
    """S, from 0 to 1, of a plan that takes ``latency_s`` where one board takes ``alone_s``."""
    return _clip(_ratio(_ratio(alone_s, latency_s) - 1.0, _equivalents(cluster) - 1.0))


def _equivalents(cluster: Cluster) -> float:
    """K_h: how many of its fastest board a cluster is worth."""
    rates = [board.flops_per_s for board in cluster.boards]
    return sum(rates) / max(rates)


def _ratio(part: float, whole: float) -> float:
    """Their quotient; 0 where there is nothing to divide by."""
    return part / whole if whole > 0 else 0.0


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))
