"""What a user asks for, and the bundle that comes of it: one call from a model's file to boards.

::

    boards = Path("cluster.toml")
    order = Order(
        Path("model.keras"),
        Cluster.read(boards),
        timings=timings_beside(boards),
        wire="auto",
        calibration="photos",
    )
    exported = export_order(order, "bundle")

is ``keras-concurrent export model.keras --cluster cluster.toml --wire auto --calibration photos``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.bundle import digest
from keras_concurrent.edge.preprocessing import Preprocessing
from keras_concurrent.export.costs import KnownCosts, Progress, chains_on_host, operators_on_host
from keras_concurrent.export.exported import Exported
from keras_concurrent.export.model import read_model
from keras_concurrent.export.pictures import picture_remarks
from keras_concurrent.export.prepared import PreparedOrder
from keras_concurrent.export.trying import check_boards_can_run
from keras_concurrent.measured.boards import BoardTimings
from keras_concurrent.planning.effort import USUAL, Effort
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.precision import PRECISIONS
from keras_concurrent.tflite.settling import InputShapes
from keras_concurrent.wire.budget import BUDGET_POINTS
from keras_concurrent.wire.format import SENT_AS
from keras_concurrent.wire.pixels import take_pixels


def _unseen(title: str) -> Callable[[int, int], None]:
    """Progress that nobody watches."""
    return lambda done, total: None


@dataclass(frozen=True)
class Order:
    """A model to be placed on boards, and how.

    Args:
        model: path of a .keras or .tflite file.
        cluster: the boards and their network.
        effort: what each search for a plan may take.
        pins: board that an operator must be on, by its number, or all operators of a vertex, by
            its name, as in ``{"12": "pi4-2", "vertex_03": "pi4-1"}``.
        placement: path of a placement file, whose plan is taken instead of a search.
        measured_here: whether to measure operators on this machine, instead of counting FLOPs.
        timings: path of what ``keras-concurrent profile`` measured on the boards, see
            `keras_concurrent.measured.boards.timings_beside`. It goes before ``measured_here``.
        precision: what a .keras model is converted to, see `keras_concurrent.precision`.
        calibration: images to measure ranges and accuracy on, see
            `keras_concurrent.wire.samples.Samples.load`.
        pixels: whether images are taken as bytes of 0..255, see `keras_concurrent.wire.pixels`.
        strips: whether operators may be split into strips, see
            `keras_concurrent.export.stripping`: ``"auto"`` where that is predicted to be sooner,
            ``"none"`` never, a number into so many. Where a placement, pins or a wire is given,
            which are of the model's own operators, ``"auto"`` splits none.
        wire: how tensors travel, see `keras_concurrent.wire.planner.WirePlanner`; ``None`` cuts
            the model as it is.
        lose_points: percentage points of accuracy that ``wire="auto"`` may lose at most; kept
            where there are images to tell.
        input_shapes: sizes of inputs that the model leaves open, see `keras_concurrent.TfliteFile`.
        signature: of a .tflite the signature that is to run; by default its first graph.
        preprocessing: how a picture becomes what the model takes, kept in the bundle; by default
            what a .keras file of this package's training says.
        class_names: by class, in the order of the model's output; kept in the bundle; by default
            as ``preprocessing``.

    Raises:
        ValueError: an unknown precision or wire, a negative ``lose_points``, fewer strips than 2
            or a number of them beside a placement, pins or a wire, a placement beside
            pins or a wire, which ask for a search, or preprocessing to other values than 0..1
            beside pixels.
    """

    model: Path
    cluster: Cluster
    effort: Effort = USUAL
    pins: Mapping[str, str] = field(default_factory=dict)
    placement: Path | None = None
    measured_here: bool = False
    timings: Path | None = None
    precision: str = "float32"
    calibration: str | None = None
    pixels: bool = False
    strips: int | str = "auto"
    wire: str | None = None
    lose_points: float = BUDGET_POINTS
    input_shapes: InputShapes = field(default_factory=dict)
    signature: str | None = None
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}"
            )
        if self.wire is not None and self.wire not in SENT_AS:
            raise ValueError(f"wire must be one of {', '.join(SENT_AS)}, got {self.wire!r}")
        if self.lose_points < 0:
            raise ValueError(f"lose_points must not be negative, got {self.lose_points!r}")
        if self.placement is not None and (self.wire is not None or self.pins):
            asking = "wire asks" if self.wire is not None else "pins ask"
            raise ValueError(f"{asking} for a search, placement for none: give one of them")
        if self.strips not in ("auto", "none"):
            if not isinstance(self.strips, int) or self.strips < 2:
                raise ValueError(
                    f"strips must be auto, none or a number from 2 on, got {self.strips!r}"
                )
            if self._of_own_operators:
                raise ValueError(
                    "pins, a placement and a wire are of the model's own operators: give one of "
                    "them or a number of strips"
                )
        said = self.preprocessing or Preprocessing()
        if said.value_range in (None, "0..1") and said.is_plain:
            return
        if self.pixels:
            raise ValueError(f"pixels are bytes of values of 0..1, preprocessing gives {said}")

    @property
    def _of_own_operators(self) -> bool:
        return self.placement is not None or self.wire is not None or bool(self.pins)

    @property
    def may_split(self) -> int | str:
        """`strips`, where nothing else speaks against them."""
        return "none" if self._of_own_operators else self.strips


def prepare(order: Order, progress: Progress = _unseen) -> PreparedOrder:
    """Read an order's model, and measure it here where that was asked.

    Args:
        order: what is asked.
        progress: gives a listener by the title of what is measured; each is told how much is
            done, and of how much.

    Raises:
        ValueError: see `keras_concurrent.export.model.read_model`; images as bytes of a model that
            takes none; preprocessing or class names that do not suit the model.
        ConcurrentError: the model cannot be read, converted or run, or the timings cannot be read.
    """
    model = read_model(
        order.model,
        order.precision,
        order.calibration,
        order.input_shapes,
        order.signature,
        order.preprocessing,
    )
    order = replace(
        order,
        preprocessing=order.preprocessing or model.learnt.preprocessing,
        class_names=order.class_names or model.learnt.class_names,
    )
    remarks = []
    timings = None if order.timings is None else BoardTimings.read(order.timings)
    if timings is not None and timings.model_sha256 != digest(model.file.data):
        remarks.append(f"{order.timings} is of another model: boards count by their rates")
        timings = None
    if order.pixels:  # the same operators, but for those that decode the image
        model = replace(model, file=take_pixels(model.file))
    file = model.file
    check_boards_can_run(file)
    remarks += picture_remarks(file, order.preprocessing, order.class_names)
    others = file.other_signatures
    if order.signature is None and others:
        runs = ", ".join(file.signatures) or "none of them"
        remarks.append(
            f"{order.model} has the signatures {', '.join((*file.signatures, *others))}: {runs} "
            "runs, see --signature (signature)."
        )
    if file.whole_because is not None:
        remarks.append(f"{order.model} stays whole because {file.whole_because}.")
    elif order.strips == "auto" and order.may_split == "none" and len(order.cluster.boards) > 1:
        remarks.append(
            "No strips are tried: pins, a placement and a wire are of the model's own operators."
        )
    here = None
    if order.measured_here:  # a search that rewrites files asks for operators that no chain tells
        here = chains_on_host(progress) if order.wire is None else operators_on_host(file, progress)
    costs = KnownCosts(order.cluster, here, timings)
    graph = costs(file, TaskGraph.from_tflite(file))
    return PreparedOrder(order, model, costs, graph, tuple(remarks))


def export_order(order: Order, path: str | Path, progress: Progress = _unseen) -> Exported:
    """From an order to its bundle, in one call.

    Args:
        order: what is asked.
        path: the bundle's folder.
        progress: see `prepare`.

    Raises:
        ConcurrentError: see `prepare` and
            `keras_concurrent.export.prepared.PreparedOrder.export`.
        ValueError: see there.
    """
    return prepare(order, progress).export(path)
