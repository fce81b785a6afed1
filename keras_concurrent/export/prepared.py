"""An order whose model is read: its plan, and its bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.bundle import digest
from keras_concurrent.errors import ClusterError
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.export.costs import KnownCosts
from keras_concurrent.export.exported import Exported
from keras_concurrent.export.model import LoadedModel
from keras_concurrent.export.pins import pinned_tasks
from keras_concurrent.export.planned import Planned, plan_either
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.placement_file import read_placement
from keras_concurrent.planning.schedule import Plan
from keras_concurrent.planning.segments import plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.wire.budget import Budget, in_each_format, variants
from keras_concurrent.wire.planner import WirePlanner

if TYPE_CHECKING:  # an order is prepared there
    from keras_concurrent.export.order import Order

Ways = dict[str, tuple[TfliteFile, Plan | None]]


@dataclass(frozen=True)
class PreparedOrder:
    """An order whose model is read and whose operators' costs are known: ready to be planned.

    Args:
        order: what was asked.
        model: in the precision that was asked for, its images as bytes where that was asked, and
            as it was before.
        costs: what its operators cost, and those of files rewritten from it.
        graph: the model's tasks with their costs.
        remarks: what is not as the user may expect, a sentence each.
    """

    order: Order
    model: LoadedModel
    costs: KnownCosts
    graph: TaskGraph
    remarks: tuple[str, ...]

    def plan(self, cluster: Cluster | None = None, effort: Effort | None = None) -> Planned:
        """The plan of the order's placement file, or the best that a search finds.

        Args:
            cluster: other boards than the order's, to see what would be.
            effort: another than the order's.

        Raises:
            ClusterError: the boards' memory is not enough, or a pin's board is not there.
            PlacementError: the placement file cannot be read, or its plan cannot run.
            ValueError: a pin of something that the model has not, or more strips than boards.
        """
        cluster, effort = cluster or self.order.cluster, effort or self.order.effort
        return plan_either(
            self.model.file,
            self.graph,
            cluster,
            self.order.may_split,
            effort,
            lambda: self._whole(cluster, effort),
        )

    def _whole(self, cluster: Cluster, effort: Effort) -> Plan:
        """The plan of the model's own operators."""
        order = self.order
        if order.placement is not None:
            sha256 = digest(self.model.file.data)
            return read_placement(order.placement, self.graph, cluster, sha256)
        pins = pinned_tasks(order.pins, self.graph)
        return plan_segments(self.graph, cluster, effort=effort, pins=pins)

    def export(self, path: str | Path) -> Exported:
        """Plan, send less where that was asked, cut, and write the bundle.

        Args:
            path: the bundle's folder.

        Raises:
            BundleError: the folder cannot be written.
            ConcurrentError: see `plan`.
        """
        file, order = self.model.file, self.order
        rewritten: TfliteFile | None = None
        strips, in_formats = None, Ways()
        if order.wire is None:
            planned = self.plan()
            plan, strips = planned.plan, planned.strips
            rewritten = None if strips is None else planned.file
        else:
            rewritten, plan, in_formats = self._sending_less(order.wire)
        bundle = export_bundle(
            file,
            order.cluster,
            path,
            graph=self.graph,
            plan=plan,
            rewritten=rewritten,
            bands=None if strips is None else strips.strips.bands,
            preprocessing=order.preprocessing,
            class_names=order.class_names,
        )
        if order.wire is None and self.model.original is file:
            return Exported(bundle, plan, (), self.remarks, strips)
        ways: Ways = {
            "as it was": (self.model.original, self._plan_as_it_was()),
            **in_formats,
            # In strips it answers bit for bit as it does whole, but takes its image in bands.
            "chosen": (file if strips else rewritten or file, plan),
        }
        return Exported(bundle, plan, tuple(variants(ways, self._budget())), self.remarks, strips)

    def _plan_as_it_was(self) -> Plan | None:
        """The best plan of the original, cut as it is; ``None`` where no board has the memory."""
        original, graph = self.model.original, self.graph
        if original is not self.model.file:
            graph = self.costs(original, TaskGraph.from_tflite(original))
        try:
            return plan_segments(graph, self.order.cluster, effort=self.order.effort)
        except ClusterError:
            return None

    def _budget(self) -> Budget | None:
        """Compares answers with the original's; ``None`` where there is nothing to compare."""
        model = self.model
        single = len(model.file.inputs) == len(model.file.outputs) == 1
        return Budget(model.original, model.samples) if model.samples and single else None

    def _sending_less(self, wire: str) -> tuple[TfliteFile, Plan, Ways]:
        """The rewritten file, its plan, and the same in each wire format."""
        file, samples, order = self.model.file, self.model.samples, self.order
        pins = {
            tensor: board
            for task, board in pinned_tasks(order.pins, self.graph).items()
            for tensor in self.graph.by_name[task].outputs
        }
        planner = WirePlanner(
            file,
            order.cluster,
            sent_as=wire,
            images=() if samples is None else samples.images(file),
            costs=self.costs if self.costs.measured else None,
            pins=pins,
            effort=order.effort,
        )
        planned = planner.plan()
        if samples is not None and wire == "auto":
            planned = Budget(file, samples, order.lose_points).keep(planner, planned)
        return planned.file, planned.plan, in_each_format(planner, planned)
