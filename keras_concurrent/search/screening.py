"""Screening: thousands of candidates drawn and costed before one is trained.

Candidate number i is the same whoever draws it, so the result does not depend on the number of
processes. These are processes of their own, given the space on their standard input: unlike
`multiprocessing`'s they neither fork a process that has started TensorFlow nor import the user's
script a second time.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import pickle
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields

from keras_concurrent.children import Child, end_with_parent
from keras_concurrent.cluster import Cluster
from keras_concurrent.errors import ConcurrentError
from keras_concurrent.networks.architecture import Architecture
from keras_concurrent.search.costs import Costs, architecture_costs
from keras_concurrent.search.limits import Limit, excess, limits_of
from keras_concurrent.search.parameters import Value
from keras_concurrent.search.pareto import front, losses
from keras_concurrent.search.space import Space, architecture_of

AIMS: Mapping[str, str] = {
    "latency_s": "min",
    "flops": "min",
    "capacity": "max",
    "efficiency": "max",
}

SCREENED = tuple(field.name for field in fields(Costs))
"""What a screening knows of each candidate, and can be limited to."""

_WORTH: Mapping[str, str] = {"latency_s": "min", "capacity": "max"}
_CHUNK = 50
_WORTH_A_PROCESS = 400  # candidates: below that a process costs more than it saves


@dataclass(frozen=True)
class Candidate:
    """A drawn candidate.

    Args:
        index: in the series of draws.
        values: its parameters' values by name, see `keras_concurrent.search.space`; learning
            rates are the default.
        costs: what its network costs on the cluster.
        capacity: how accurate it may become, see `capacity_of`.
    """

    index: int
    values: Mapping[str, Value]
    costs: Costs
    capacity: float

    def figures(self) -> dict[str, float]:
        """Costs and capacity by name."""
        return {**self.costs.figures(), "capacity": self.capacity}


@dataclass(frozen=True)
class Screening:
    """What was drawn.

    Args:
        candidates: all of them, by index.
    """

    candidates: tuple[Candidate, ...]

    def keeping(self, *limits: str | Limit) -> Screening:
        """Only those that keep some limits, such as ``"latency_s <= 0.03"``.

        Raises:
            ValueError: what is no limit, or one on the concurrency score, which takes too long.
        """
        asked = limits_of(limits)
        for limit in asked:
            if limit.name not in SCREENED:
                raise ValueError(
                    f"a screening's limits are on {', '.join(SCREENED)}, got {str(limit)!r}"
                )
        return Screening(tuple(c for c in self.candidates if not excess(asked, c.costs.figures())))

    def pareto(self, aims: Mapping[str, str] = AIMS) -> tuple[Candidate, ...]:
        """Those that no other beats in all aims, by latency."""
        points = losses([c.figures() for c in self.candidates], aims)
        return tuple(sorted((self.candidates[i] for i in front(points)), key=_by_latency))

    def spread(self, count: int) -> tuple[Candidate, ...]:
        """Candidates worth training, the most promising first.

        By turns the two of most capacity, and the one whose latency (as a ratio) is farthest from
        all those taken, out of the Pareto sets of latency and capacity, peeled one after another
        until they hold twice as many as wanted. So any first part holds the most capable ones and
        some quicker ones. Of candidates with the same figures, networks alike, the first counts.

        Args:
            count: how many; fewer come back where there are fewer.
        """
        left = list({tuple(c.figures().values()): c for c in reversed(self.candidates)}.values())
        pool: list[Candidate] = []
        while left and len(pool) < 2 * count:
            best = set(front(losses([c.figures() for c in left], _WORTH)))
            pool += [left[i] for i in best]
            left = [c for i, c in enumerate(left) if i not in best]
        chosen: list[Candidate] = []
        while pool and len(chosen) < count:
            if len(chosen) % 3 == 2:
                following = max(pool, key=lambda c: (_gap(c, chosen), c.capacity, -c.index))
            else:
                following = max(pool, key=lambda c: (c.capacity, -c.index))
            chosen.append(following)
            pool.remove(following)
        return tuple(chosen)

    def to_csv(self) -> str:
        """A line a candidate: its costs and capacity, then its values."""
        costs = [*SCREENED, "capacity"]
        names = list(dict.fromkeys(name for c in self.candidates for name in c.values))
        text = io.StringIO()
        writer = csv.DictWriter(text, ["index", *costs, *names], lineterminator="\n")
        writer.writeheader()
        for c in self.candidates:
            writer.writerow({"index": c.index, **c.figures(), **c.values})
        return text.getvalue()


def _by_latency(candidate: Candidate) -> tuple[float, int]:
    return candidate.costs.latency_s, candidate.index


def _gap(candidate: Candidate, chosen: Iterable[Candidate]) -> float:
    here = math.log(candidate.costs.latency_s)
    return min(abs(here - math.log(other.costs.latency_s)) for other in chosen)


def capacity_of(architecture: Architecture) -> float:
    """How accurate a network may become, before it is trained; only its order means something.

    The number of weights, times the share of the image's longer side that a last block sees
    (at most 1): averaged over its positions, a block that sees a corner of a digit at a time cannot
    tell digits apart, however many its weights.
    """
    side = max(architecture.input_shape[:2])
    return architecture.parameters * min(1.0, architecture.receptive_field / side)


def screen(
    space: Space,
    cluster: Cluster,
    samples: int = 10_000,
    *,
    seed: int = 0,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Screening:
    """Draw candidates and predict what they cost, on all cores.

    Args:
        space: what there is.
        cluster: the boards.
        samples: how many candidates, with the default learning rates; two of the same values are
            kept once, the first.
        seed: names the series of draws.
        processes: how many; by default one a core. Few samples are screened in this process.
        progress: told how many are done, and of how many.

    Raises:
        ConcurrentError: a process failed.
        MissingExtraError: numba or networkx is not installed.
        ValueError: a number below 1.
    """
    processes = (os.cpu_count() or 1) if processes is None else processes
    for name, number in (("samples", samples), ("processes", processes)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number!r}")
    tell = progress or (lambda done, total: None)
    job = (space, cluster, seed)
    figures_of = {0: _figures(job, 0)}  # compiles, for the processes to load
    chunks = [range(i, min(i + _CHUNK, samples)) for i in range(0, samples, _CHUNK)]
    results: Iterator[tuple[int, _Figures]]
    if processes == 1 or samples < _WORTH_A_PROCESS:
        results = ((index, _figures(job, index)) for chunk in chunks for index in chunk)
    else:
        results = _shared(job, chunks, min(processes, len(chunks)))
    for index, figures in results:
        figures_of[index] = figures
        if index % _CHUNK == _CHUNK - 1:
            tell(len(figures_of), samples)
    tell(samples, samples)
    seen: set[tuple[tuple[str, Value], ...]] = set()
    candidates = []
    for index in range(samples):
        values = space.with_usual_rate(space.draw(seed, index))
        key = tuple(values.items())
        if key not in seen:
            seen.add(key)
            candidates.append(Candidate(index, values, *figures_of[index]))
    return Screening(tuple(candidates))


_Job = tuple[Space, Cluster, int]
_Figures = tuple[Costs, float]


def _figures(job: _Job, index: int) -> _Figures:
    space, cluster, seed = job
    architecture = architecture_of(space.draw(seed, index))
    return architecture_costs(architecture, cluster), capacity_of(architecture)


def _shared(job: _Job, chunks: Sequence[range], processes: int) -> Iterator[tuple[int, _Figures]]:
    """The costs and capacities of all chunks, as they come from several processes."""
    code = f"from {__name__} import _serve; _serve()"
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    workers = [Child([sys.executable, "-c", code]) for _ in range(processes)]
    try:
        for number, worker in enumerate(workers):
            share = chunks[number::processes]
            threading.Thread(target=_talk, args=(worker, (job, share), lines), daemon=True).start()
        for _ in chunks:
            line = lines.get()
            if not line:
                raise ConcurrentError("a process that screens candidates ended too soon, see above")
            for index, costs, capacity in json.loads(line):
                yield index, (Costs(*costs), capacity)
    finally:
        for worker in workers:
            worker.kill()


def _talk(worker: Child, work: object, lines: queue.SimpleQueue[bytes]) -> None:
    """Hand a process its share and pass on the lines that it answers, an empty one at the end."""
    with contextlib.suppress(BrokenPipeError, ValueError):  # it has ended, its pipe is closed
        pickle.dump(work, worker.stdin)
        worker.stdin.flush()
    with worker.stdout:
        for line in worker.stdout:
            lines.put(line)
    if worker.wait():
        lines.put(b"")


def _serve() -> None:
    """What a process does: a share of the chunks from standard input, a line of JSON for each."""
    job, chunks = pickle.load(sys.stdin.buffer)  # from the process that started this one
    end_with_parent()
    for chunk in chunks:
        screened = [(index, *_figures(job, index)) for index in chunk]
        answer = [(index, astuple(costs), capacity) for index, costs, capacity in screened]
        print(json.dumps(answer), flush=True)
