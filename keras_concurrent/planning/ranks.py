"""What lies ahead of a task: HEFT's ranks, and the least time from its end to the answer."""

from __future__ import annotations

import numpy as np

from keras_concurrent.planning.lines import compiled
from keras_concurrent.planning.problem import Array, Problem


@compiled
def urgency_order(problem: Problem, communication: float) -> Array:
    """Topological order by HEFT's rank, the most urgent task first; of equals, by name.

    A rank is the mean seconds from a task's start to the end of the graph, where a message weighs
    ``communication`` times its seconds.
    """
    reads, reads_from, writes, writes_from = (
        problem.reads,
        problem.reads_from,
        problem.writes,
        problem.writes_from,
    )
    producer, name_rank, mean_s = problem.producer, problem.name_rank, problem.mean_s
    tasks = mean_s.size
    behind = np.full(producer.size, -1.0)  # the highest rank of a tensor's readers
    rank = np.empty(tasks)
    for task in range(tasks - 1, -1, -1):
        longest = 0.0
        for i in range(writes_from[task], writes_from[task + 1]):
            if behind[writes[i]] >= 0.0:
                travel_s = problem.mean_latency_s + problem.sizes[writes[i]] * problem.mean_byte_s
                longest = max(longest, communication * travel_s + behind[writes[i]])
        rank[task] = mean_s[task] + longest
        for i in range(reads_from[task], reads_from[task + 1]):
            behind[reads[i]] = max(behind[reads[i]], rank[task])
    order = np.empty(tasks, np.int64)
    done = np.zeros(tasks, np.bool_)
    for step in range(tasks):
        best = -1
        for task in range(tasks):
            if done[task] or (best >= 0 and rank[task] < rank[best]):
                continue
            if best >= 0 and rank[task] == rank[best] and name_rank[task] > name_rank[best]:
                continue
            ready = True
            for i in range(reads_from[task], reads_from[task + 1]):
                before = producer[reads[i]]
                ready = ready and (before < 0 or done[before])
            if ready:
                best = task
        done[best] = True
        order[step] = best
    return order


@compiled
def tails_s(problem: Problem) -> Array:
    """(n) least seconds from a task's end to the answer: the longest path on the fastest boards."""
    tasks, client = problem.seconds.shape
    behind = np.zeros(problem.producer.size)  # from a tensor's being there to the answer
    for tensor in problem.wanted:
        travel_s = np.inf
        for sender in range(client):
            ends_s = problem.message_s[sender] + problem.message_s[client]
            byte_s = problem.byte_s[sender, client]
            byte_s += problem.message_byte_s[sender] + problem.message_byte_s[client]
            way_s = problem.latency_s[sender, client] + ends_s + problem.sizes[tensor] * byte_s
            travel_s = min(travel_s, way_s)
        behind[tensor] = travel_s
    tails = np.zeros(tasks)
    for task in range(tasks - 1, -1, -1):
        for i in range(problem.writes_from[task], problem.writes_from[task + 1]):
            tails[task] = max(tails[task], behind[problem.writes[i]])
        least_s = np.inf
        for on in range(client):
            least_s = min(least_s, problem.seconds[task, on])
        for i in range(problem.reads_from[task], problem.reads_from[task + 1]):
            tensor = problem.reads[i]
            behind[tensor] = max(behind[tensor], least_s + tails[task])
    return tails
