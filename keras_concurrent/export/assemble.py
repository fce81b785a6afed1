"""A .tflite and a cluster -> a planned, cut bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from keras_concurrent.bands import Band
from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.bundle import MODEL, Bundle, digest
from keras_concurrent.edge.manifest import CODES, WHOLE, Manifest, SegmentSpec, TensorSpec
from keras_concurrent.edge.placement import Event, Placement, Program, Send
from keras_concurrent.edge.preprocessing import Preprocessing
from keras_concurrent.export.cutting import cut
from keras_concurrent.planning.schedule import Plan
from keras_concurrent.planning.segments import one_board, plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile


def export_bundle(
    file: TfliteFile,
    cluster: Cluster,
    path: str | Path,
    *,
    graph: TaskGraph | None = None,
    plan: Plan | None = None,
    architecture: str | None = None,
    rewritten: TfliteFile | None = None,
    bands: Mapping[str, Band] | None = None,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] = (),
) -> Bundle:
    """Plan a model on a cluster, cut it, and write the bundle.

    Args:
        file: any .tflite; it need not come from this package.
        cluster: the boards.
        path: the bundle's folder.
        graph: the file's task graph with measured seconds, see
            `keras_concurrent.measured.operators`; by default costs follow from FLOPs.
        plan: the plan of segments on these boards, such as one from
            `keras_concurrent.planning.placement_file.read_placement`; by default the best that is
            found.
        architecture: the network's recipe (``Architecture.to_json()``), kept for the report.
        rewritten: the file that ``plan`` is of, where that sends less than the model itself, see
            `keras_concurrent.wire.planner`, or is in strips, see
            `keras_concurrent.export.stripping`. One board alone runs the model itself.
        bands: rows of the model's inputs that the rewritten file takes, by its inputs' names.
        preprocessing: how a picture becomes what the model takes; by default see
            `keras_concurrent.edge.images.settled`.
        class_names: by class, in the order of the model's output.

    Raises:
        ClusterError: the boards' memory is not enough.
        ModelFileError: the file cannot be cut.
        BundleError: the folder cannot be written, or no output has as many values as there are
            class names.
    """
    graph = TaskGraph.from_tflite(file) if graph is None else graph
    plan = plan_segments(graph, cluster) if plan is None else plan
    alone = one_board(graph, cluster)
    manifest, files = assemble(file, plan, alone, architecture, rewritten, bands)
    manifest = replace(manifest, preprocessing=preprocessing, class_names=tuple(class_names))
    return Bundle.write(path, manifest, files)


def assemble(
    file: TfliteFile,
    plan: Plan,
    alone: Plan,
    architecture: str | None = None,
    rewritten: TfliteFile | None = None,
    bands: Mapping[str, Band] | None = None,
) -> tuple[Manifest, dict[str, bytes]]:
    """What a bundle holds: its manifest, and its files by name.

    Args:
        file: the model.
        plan: the plan whose tasks are the model's segments.
        alone: the plan on one board.
        architecture: the network's recipe, kept for the report.
        rewritten: the file that ``plan`` is of, where that is not the model itself.
        bands: rows of the model's inputs that the rewritten file takes, by its inputs' names.
    """
    planned = file if rewritten is None else rewritten
    computed = tuple(name for name in file.outputs if name not in file.inputs)
    segments: dict[str, SegmentSpec] = {
        WHOLE: SegmentSpec(
            MODEL,
            digest(file.data),
            len(file.data),
            file.inputs,
            computed,  # an output that is an input is the client's to give back
            alone.graph.tasks[0].vertices,
            alone.graph.tasks[0].flops,
            alone.graph.tasks[0].int8_flops,
        )
    }
    files = {MODEL: file.data}
    names = {plan.graph.tasks[0].name: WHOLE}
    if len(plan.graph.tasks) > 1:
        names = {}
        digits = len(str(len(plan.graph.tasks) - 1))
        for index, (task, piece) in enumerate(
            zip(plan.graph.tasks, cut(planned, plan), strict=True)
        ):
            name = f"segment_{index:0{digits}d}"
            names[task.name] = name
            files[f"{name}.tflite"] = piece.content
            segments[name] = SegmentSpec(
                f"{name}.tflite",
                digest(piece.content),
                len(piece.content),
                piece.inputs,
                piece.outputs,
                task.vertices,
                task.flops,
                task.int8_flops,
            )
    used = {t for s in segments.values() for t in (*s.inputs, *s.outputs)}
    used.update(file.inputs, file.outputs)
    read = {tensor for segment in segments.values() for tensor in segment.inputs}
    sizes = {name: tensor_spec(file if name in file.inputs else planned, name) for name in used}
    manifest = Manifest(
        inputs=file.inputs,
        outputs=file.outputs,
        tensors=dict(sorted(sizes.items())),
        segments=segments,
        placements={
            "boards": _placement(plan, names),
            "one_board": _placement(alone, {alone.graph.tasks[0].name: WHOLE}),
        },
        architecture=architecture,
        bands={name: band for name, band in (bands or {}).items() if name in read},
    )
    return manifest, files


def tensor_spec(file: TfliteFile, name: str) -> TensorSpec:
    """What the client and the boards must know of a file's tensor.

    Only the client reads what integers stand for, so only the model's own tensors say it.
    """
    info = file.tensors[name]
    if name not in (*file.inputs, *file.outputs) or info.dtype not in CODES or info.scale is None:
        return TensorSpec(info.shape, info.dtype)
    return TensorSpec(info.shape, info.dtype, info.scale, info.zero_point)


def _placement(plan: Plan, names: dict[str, str]) -> Placement:
    def sends(sender: str) -> tuple[Send, ...]:
        return tuple(Send(m.tensor, m.receiver) for m in plan.messages_from(sender))

    programs = {
        board: Program(tuple(names[task] for task in plan.tasks_on(board)), sends(board))
        for board in plan.boards
    }
    events = [
        Event("run", names[slot.task], slot.board, slot.start_s, slot.end_s) for slot in plan.slots
    ]
    events += [
        Event("send", m.tensor, m.sender, m.start_s, m.arrival_s, m.receiver, m.bytes)
        for m in plan.messages
    ]
    return Placement(programs, sends(CLIENT), plan.latency_s, tuple(events))
