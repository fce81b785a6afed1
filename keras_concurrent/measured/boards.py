"""What boards were measured to take for the segments of a model: a file beside the cluster file.

`keras-concurrent profile` runs every segment of a bundle on every board and writes
``cluster.seconds.json`` beside ``cluster.toml``; planning the same model on that cluster file finds
it there. A segment is known by the tensors that its operators write: their names stay whatever is
cut or rewritten. Its seconds are shared out among its tasks as FLOPs, or seconds on another
machine, say; so segments that are planned again take what they were measured to take.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.manifest import WHOLE
from keras_concurrent.errors import ClusterError
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.versioned import FileKind

_FILE = FileKind("a file of timings", 1, "`keras-concurrent profile` writes one")


def timings_path(cluster: Path) -> Path:
    """Where the timings of a cluster file are."""
    return cluster.with_suffix(".seconds.json")


def timings_beside(cluster: Path) -> Path | None:
    """The timings of a cluster file, where `keras-concurrent profile` has written them."""
    path = timings_path(cluster)
    return path if path.is_file() else None


@dataclass(frozen=True)
class SegmentTiming:
    """What each board was measured to take for a segment.

    Args:
        tensors: names of all tensors that its operators write.
        seconds: by the board's name, the call not included.

    Raises:
        ClusterError: seconds that are no numbers of 0 or more.
    """

    tensors: tuple[str, ...]
    seconds: Mapping[str, float]

    def __post_init__(self) -> None:
        for board, seconds in self.seconds.items():
            if not isinstance(seconds, (int, float)) or not 0 <= seconds < float("inf"):
                raise ClusterError(f"seconds on {board!r} must be 0 or more, got {seconds!r}")


@dataclass(frozen=True)
class BoardTimings:
    """What the boards were measured to take for one model; JSON both ways.

    Args:
        model_sha256: the SHA-256 of the .tflite's content, in hexadecimal.
        segments: the segments that were measured; no two share an operator.
    """

    model_sha256: str
    segments: tuple[SegmentTiming, ...]

    @classmethod
    def of(
        cls, bundle: Bundle, seconds: Mapping[str, Mapping[str, float]], cluster: Cluster
    ) -> BoardTimings:
        """What was measured of a bundle.

        Args:
            bundle: the one whose segments were measured.
            seconds: by board, then by segment, the call included.
            cluster: the boards, with what a call costs them.
        """
        names = [name for name in bundle.manifest.segments if name != WHOLE] or [WHOLE]
        segments = []
        for name in names:
            file = TfliteFile(bundle.content(name), name)
            own = {
                board: max(0.0, measured[name] - cluster.board(board).call_s)
                for board, measured in seconds.items()
            }
            written = tuple(tensor for o in file.operators for tensor in o.outputs)
            segments.append(SegmentTiming(written, own))
        return cls(bundle.manifest.segments[WHOLE].sha256, tuple(segments))

    def applied(self, file: TfliteFile, graph: TaskGraph, cluster: Cluster) -> TaskGraph:
        """A task graph with the measured seconds; tasks never measured keep their costs.

        Args:
            file: the model, or one rewritten from it.
            graph: the file's task graph.
            cluster: the boards; those that were not measured keep to their rates.
        """
        number = {t: i for i, segment in enumerate(self.segments) for t in segment.tensors}
        written = {operator.index: operator.outputs for operator in file.operators}
        members: dict[int, list[str]] = {}
        for task in graph.tasks:
            votes = Counter(
                number[tensor]
                for operator in task.operators
                for tensor in written[operator]
                if tensor in number
            )
            if votes:
                members.setdefault(votes.most_common(1)[0][0], []).append(task.name)
        work: dict[str, dict[str, float]] = {}
        for board in cluster.boards:
            for segment, names in members.items():
                took_s = self.segments[segment].seconds.get(board.name)
                if took_s is None:
                    continue
                # Shared out as the board's rates would have it.
                expected = [graph.seconds_on(graph.by_name[name], board) for name in names]
                total = sum(expected)
                for name, own in zip(names, expected, strict=True):
                    share = own / total if total else 1 / len(names)
                    work.setdefault(name, {})[board.name] = share * took_s * board.flops_per_s
        tasks = tuple(replace(task, work=work.get(task.name, {})) for task in graph.tasks)
        return replace(graph, tasks=tasks)

    def to_json(self) -> str:
        """A text that `read` understands."""
        return _FILE.to_json(asdict(self))

    @classmethod
    def read(cls, path: Path) -> BoardTimings:
        """Read what `to_json` wrote.

        Raises:
            ClusterError: the file cannot be read, or is something else.
        """
        try:
            data = _FILE.content(json.loads(path.read_text(encoding="utf-8")))
            segments = tuple(
                SegmentTiming(tuple(segment["tensors"]), dict(segment["seconds"]))
                for segment in data.pop("segments")
            )
            return cls(segments=segments, **data)
        except (OSError, AttributeError, KeyError, TypeError, ValueError, ClusterError) as error:
            raise ClusterError(f"{path} holds no timings, profile anew: {error}") from error
