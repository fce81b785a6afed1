"""What a model's operators cost: by FLOPs, as measured on this machine, or on the boards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keras_concurrent.cluster import Cluster
from keras_concurrent.measured.boards import BoardTimings
from keras_concurrent.measured.host import measure_host
from keras_concurrent.measured.operators import HostCosts, measure_tasks_on_host
from keras_concurrent.planning.chains import chains_as_tasks
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.wire.planner import Costs

Progress = Callable[[str], Callable[[int, int], None]]
"""Gives a listener by its title; each is told how much is done, and of how much."""


@dataclass(frozen=True)
class KnownCosts:
    """Gives a file's task graph the best costs that are known.

    What was measured on the boards goes before what was measured here, and that before FLOPs.

    Args:
        cluster: the boards.
        here: gives a graph this machine's seconds; ``None`` where nothing was measured here.
        timings: what the boards were measured to take; ``None`` where nobody measured them.
    """

    cluster: Cluster
    here: Costs | None = None
    timings: BoardTimings | None = None

    @property
    def measured(self) -> bool:
        """Whether anything is known but FLOPs."""
        return self.here is not None or self.timings is not None

    def __call__(self, file: TfliteFile, graph: TaskGraph) -> TaskGraph:
        """The graph with costs, its tasks grouped where they were measured in groups."""
        if self.here is not None:
            graph = self.here(file, graph)
        if self.timings is not None:
            graph = self.timings.applied(file, graph, self.cluster)
        return graph


def chains_on_host(progress: Progress) -> Costs:
    """Measures each chain of a file's operators, as a board may run it, on this machine."""
    host_flops_per_s = measure_host()

    def timed(file: TfliteFile, graph: TaskGraph) -> TaskGraph:
        chained = chains_as_tasks(graph)
        on_host = measure_tasks_on_host(file, chained, progress=progress("profiling"))
        return chained.timed(on_host.seconds, host_flops_per_s)

    return timed


def operators_on_host(file: TfliteFile, progress: Progress) -> Costs:
    """Measures each operator of a file, and of files rewritten from it, on this machine."""
    return HostCosts(file, measure_host(), progress("profiling operators"))
