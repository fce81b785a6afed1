"""The best plan there is, or nearly: OR-tools' CP-SAT goes on from what the search has found.

The constraints (`keras_concurrent.planning.constraints`) round durations down, so the solver's
bound is a bound on the true latency; the plan it finds is then planned again in true seconds.

It proves plans of up to about 25 tasks best in seconds, and of 35 often. The solver runs in a
process of its own, because it crashes in one that has imported TensorFlow.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from keras_concurrent.cluster import Cluster
from keras_concurrent.errors import ConcurrentError, MissingExtraError
from keras_concurrent.planning.constraints import Constraints
from keras_concurrent.planning.schedule import Plan

try:
    from ortools.sat.python import cp_model
except ImportError as error:
    raise MissingExtraError("ortools", "polish") from error

_GRACE_S = 30.0  # for the process to start and end


@dataclass(frozen=True)
class Polished:
    """What the solver found.

    Args:
        plan: the best plan known.
        bound_s: no plan's latency is below it.
        proven: whether the plan's latency is the least there is, but for rounding.
    """

    plan: Plan
    bound_s: float
    proven: bool


def polish(
    plan: Plan,
    cluster: Cluster,
    *,
    time_limit_s: float,
    seed: int = 0,
    pins: Mapping[str, str] | None = None,
) -> Polished:
    """Look for a better plan of the same tasks, calls left aside.

    Args:
        plan: a good one, from `keras_concurrent.planning.schedule.schedule`.
        cluster: the boards and their network.
        time_limit_s: for the solver; what it finds within depends on the machine.
        seed: what the solver draws from.
        pins: board that a task must be on, by the task's name.

    Returns:
        A plan that is no worse.

    Raises:
        ValueError: a time limit that is not positive.
        ConcurrentError: the solver's process ended without an answer, or did not end.
    """
    if not time_limit_s > 0:
        raise ValueError(f"time_limit_s must be positive, got {time_limit_s!r}")
    question = pickle.dumps((plan, cluster, time_limit_s, seed, dict(pins or {})))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "keras_concurrent.planning.polish"],
            input=question,
            capture_output=True,
            timeout=time_limit_s + _GRACE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConcurrentError(
            f"the solver was given {time_limit_s:g} s and did not end {_GRACE_S:g} s later"
        ) from error
    if done.returncode:
        raise ConcurrentError(
            f"the solver ended with {done.returncode}: {done.stderr.decode()[-500:]}"
        )
    return cast(Polished, pickle.loads(done.stdout))


def solve(
    plan: Plan, cluster: Cluster, time_limit_s: float, seed: int, pins: Mapping[str, str]
) -> Polished:
    """`polish` in this process, which must not have imported TensorFlow."""
    model = Constraints(plan, cluster, pins)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit_s
    solver.parameters.random_seed = seed % 2**31
    status = solver.solve(model.model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Polished(plan, 0.0, False)
    best = min(model.plan(solver), plan, key=lambda plan: plan.latency_s)
    bound_s = solver.best_objective_bound * model.tick_s
    # Rounding loses less than a tick a task and a message on any path.
    steps = 2 * len(plan.graph.tasks) + 2
    proven = best.latency_s - bound_s <= steps * model.tick_s
    return Polished(best, min(bound_s, best.latency_s), proven)


if __name__ == "__main__":
    # What is pickled must be of the importable module, not of __main__. The question comes from the
    # process that started this one, over a pipe of its own.
    from keras_concurrent.planning import polish as importable

    answer = importable.solve(*pickle.loads(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(pickle.dumps(answer))
