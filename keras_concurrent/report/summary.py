"""What a report says, as numbers and sentences: computed here, drawn elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.manifest import Manifest
from keras_concurrent.edge.placement import Event
from keras_concurrent.report.words import milliseconds, natural

if TYPE_CHECKING:
    from keras_concurrent.edge.watch.bench import Measurement

_GROWN = 1.25  # from here on it is the computing that makes a plan slow
_ALIKE = 1.02  # latencies closer than this are called alike


@dataclass(frozen=True)
class Timeline:
    """What happens to one image.

    Args:
        source: ``"predicted"`` or ``"measured"``.
        placement: ``"boards"`` or ``"one_board"``.
        boards: those that have work, in the order in which they are shown.
        latency_s: from sending this image to having its answer.
        events: as predicted or measured; nothing is repaired.
    """

    source: str
    placement: str
    boards: tuple[str, ...]
    latency_s: float
    events: tuple[Event, ...]

    @property
    def runs(self) -> tuple[Event, ...]:
        """The segments."""
        return tuple(event for event in self.events if event.kind == "run")

    @property
    def sends(self) -> tuple[Event, ...]:
        """The messages."""
        return tuple(event for event in self.events if event.kind == "send")

    def compute_s(self, board: str) -> float:
        """Seconds in which a board runs segments."""
        return sum(run.end_s - run.start_s for run in self.runs if run.board == board)

    def busy(self, board: str) -> float:
        """Share of the latency in which a board runs segments."""
        return self.compute_s(board) / self.latency_s if self.latency_s else 0.0

    @property
    def work_s(self) -> float:
        """Seconds of computing on all boards together."""
        return sum(self.compute_s(board) for board in self.boards)

    @property
    def boards_at_once(self) -> float:
        """How many boards compute at a time, on average over the latency."""
        return sum(self.busy(board) for board in self.boards)

    @property
    def quiet(self) -> float:
        """Share of the latency in which no board computes, because tensors are on the wire."""
        covered, reached = 0.0, 0.0
        for run in sorted(self.runs, key=lambda run: run.start_s):
            end = min(run.end_s, self.latency_s)
            covered += max(0.0, end - max(run.start_s, reached))
            reached = max(reached, end)
        return 1.0 - covered / self.latency_s if self.latency_s else 0.0


@dataclass(frozen=True)
class Latency:
    """A placement's figures.

    Args:
        title: ``"one board"``; ``"4 boards"``, or ``"the plan"`` where that has one board too.
        predicted_s: predicted latency.
        median_s: measured, where it was measured.
        p95_s: 95th percentile, where it was measured.
        wire_bytes: what travels for one image, image and answer included.
    """

    title: str
    predicted_s: float
    median_s: float | None
    p95_s: float | None
    wire_bytes: int


@dataclass(frozen=True)
class BoardWork:
    """What one board does.

    Args:
        board: its name.
        segments: in planned order.
        vertices: those that are computed here, see `vertex_boards`.
        sent_bytes: what it sends for one image.
        timelines: what happens in the placement ``"boards"``, for the board's compute time.
    """

    board: str
    segments: tuple[str, ...]
    vertices: tuple[str, ...]
    sent_bytes: int
    timelines: tuple[Timeline, ...]


@dataclass(frozen=True)
class Summary:
    """All that a report shows of a bundle and its measurement, but for the network.

    Args:
        one: the single board.
        many: the plan.
        boards: the plan's boards.
        timelines: what happens in both placements, the predicted one first, as far as there are
            events.
        emulated: what to tell the reader about emulated boards; ``None`` for real ones.
    """

    one: Latency
    many: Latency
    boards: tuple[BoardWork, ...]
    timelines: tuple[Timeline, ...]
    emulated: str | None

    @property
    def measured(self) -> bool:
        """Whether both placements were measured."""
        return self.one.median_s is not None and self.many.median_s is not None

    @property
    def speed_ups(self) -> dict[str, float]:
        """Latency of one board / latency of the plan: predicted, median and p95."""
        pairs = {
            "predicted": (self.one.predicted_s, self.many.predicted_s),
            "median": (self.one.median_s, self.many.median_s),
            "p95": (self.one.p95_s, self.many.p95_s),
        }
        return {key: one / many for key, (one, many) in pairs.items() if one and many}

    def timelines_of(self, placement: str) -> tuple[Timeline, ...]:
        """The predicted and the measured timeline of a placement, as far as there are events."""
        return tuple(t for t in self.timelines if t.placement == placement)

    @property
    def verdict(self) -> str:
        """One sentence: do n boards beat one, and if not, why."""
        one, many, verb = self.one.predicted_s, self.many.predicted_s, "should answer"
        if self.one.median_s is not None and self.many.median_s is not None:
            one, many, verb = self.one.median_s, self.many.median_s, "answer"
        if len(self.boards) == 1:
            verb = "answers" if self.measured else verb
            return f"One board {verb} in {milliseconds(many)}; no split is predicted to be faster"
        if not one or not many:
            return f"{self.many.title} {verb} in {milliseconds(many)}"
        times = f"{self.many.title} {verb} in {milliseconds(many)}"
        times += f", one board in {milliseconds(one)}"
        if one / many >= _ALIKE:
            return f"{times}: {one / many:.1f}x faster"
        if many / one < _ALIKE:
            return f"{times}: no difference{self._reason}"
        return f"{times}: one board is {many / one:.1f}x faster{self._reason}"

    @property
    def _reason(self) -> str:
        """Why the plan is not faster, from its last timeline."""
        shared = self.timelines_of("boards")
        if not shared:
            return ""
        line = shared[-1]
        for alone in self.timelines_of("one_board"):
            if alone.source == line.source and line.work_s > _GROWN * alone.work_s > 0:
                grown = line.work_s / alone.work_s
                return f", because computing in pieces takes {grown:.1f}x as long in all"
        return (
            f", because on average only {line.boards_at_once:.1f} of {len(self.boards)} boards "
            f"compute while the others wait for tensors; for {line.quiet:.0%} of the time all wait"
        )


def summarise(manifest: Manifest, measurement: Measurement | None) -> Summary:
    """Compute what a report shows.

    Args:
        manifest: what the bundle holds.
        measurement: what the same bundle took on boards; without it everything is predicted.

    Raises:
        ValueError: the measurement is of another bundle.
    """
    columns = {}
    timelines = []
    for name, placement in manifest.placements.items():
        run = measurement.runs.get(name) if measurement else None
        count = len(placement.programs)
        sends = [s for program in placement.programs.values() for s in program.sends]
        columns[name] = Latency(
            "one board" if name == "one_board" else "the plan" if count == 1 else f"{count} boards",
            placement.predicted_latency_s,
            run.median_s if run else None,
            run.p95_s if run else None,
            sum(manifest.tensors[s.tensor].bytes for s in (*placement.client_sends, *sends)),
        )
        boards = tuple(sorted(placement.programs, key=natural))
        if placement.predicted:
            latency_s = placement.predicted_latency_s
            timelines.append(Timeline("predicted", name, boards, latency_s, placement.predicted))
        if run and run.events:
            _check_events(manifest, name, run.events)
            timelines.append(
                Timeline("measured", name, boards, _answered_s(run.events), run.events)
            )
    shared = manifest.placements["boards"]
    home = vertex_boards(manifest)
    works = tuple(
        BoardWork(
            board,
            shared.programs[board].segments,
            tuple(vertex for vertex, where in home.items() if where == board),
            sum(manifest.tensors[send.tensor].bytes for send in shared.programs[board].sends),
            tuple(t for t in timelines if t.placement == "boards"),
        )
        for board in sorted(shared.programs, key=natural)
    )
    emulated = _emulated(measurement) if measurement else None
    return Summary(columns["one_board"], columns["boards"], works, tuple(timelines), emulated)


def _check_events(manifest: Manifest, placement: str, events: Sequence[Event]) -> None:
    programs = manifest.placements[placement].programs
    for event in events:
        if event.kind == "run":
            known = event.board in programs and event.name in programs[event.board].segments
        else:
            ends = {CLIENT, *programs}
            known = event.name in manifest.tensors and {event.board, event.receiver} <= ends
        if not known:
            raise ValueError(
                f"measurement must be of this bundle, got a {event.kind} of {event.name!r} by "
                f"{event.board!r}, which is not in placement {placement!r}"
            )


def _answered_s(events: Sequence[Event]) -> float:
    answers = [event.end_s for event in events if event.receiver == CLIENT]
    return max(answers or [event.end_s for event in events])


def _emulated(measurement: Measurement) -> str | None:
    if measurement.emulated is None:
        return None
    factors = measurement.emulated.values()
    least, most = min(factors, default=1.0), max(factors, default=1.0)
    times = f"{least:.3g}" if f"{least:.3g}" == f"{most:.3g}" else f"{least:.3g} to {most:.3g}"
    return (
        f"Emulated boards: processes on one machine, computing slowed down {times} times, "
        "links paced. Not measured on real boards."
    )


def segment_boards(manifest: Manifest) -> dict[str, str]:
    """Board of every segment that the plan runs, in the order in which the plan starts them."""
    placement = manifest.placements["boards"]
    starts = {event.name: event.start_s for event in placement.predicted if event.kind == "run"}
    home = {name: board for board, p in placement.programs.items() for name in p.segments}
    order = {name: i for i, name in enumerate(manifest.segments)}
    return {
        name: home[name]
        for name in sorted(home, key=lambda name: (starts.get(name, 0.0), order[name]))
    }


def vertex_boards(manifest: Manifest) -> dict[str, str]:
    """Board of every vertex.

    A vertex may be spread: its inputs are scaled, weighted and partly summed where they come from.
    The board of the last of its segments has its convolution, which is most of its work.
    """
    home: dict[str, str] = {}
    for segment, board in segment_boards(manifest).items():
        home.update(dict.fromkeys(manifest.segments[segment].vertices, board))
    return dict(sorted(home.items()))
