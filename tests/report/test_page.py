"""The report: its figures, worked out by hand for a small plan, and its three files."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from html.parser import HTMLParser

import pytest

from keras_concurrent.edge.bundle import Bundle, digest
from keras_concurrent.edge.manifest import Manifest, SegmentSpec, TensorSpec
from keras_concurrent.edge.placement import Event, Placement, Program, Send
from keras_concurrent.edge.watch.bench import Measurement, Run
from keras_concurrent.networks.architecture import Architecture, Block
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.report.layout import draw_network
from keras_concurrent.report.page import answer_rows, score_rows, write_report
from keras_concurrent.report.perfetto import trace_json
from keras_concurrent.report.plots import PALETTE, colours_of
from keras_concurrent.report.summary import summarise, vertex_boards
from keras_concurrent.report.words import milliseconds, natural, size
from keras_concurrent.scoring.concurrency import PartitionScore, Score
from keras_concurrent.scoring.partition import Partition

MS = 1e-3
CONTENT = b"stands for a .tflite"


def run(name, board, start_ms, end_ms):
    return Event("run", name, board, start_ms * MS, end_ms * MS)


def send(name, board, receiver, start_ms, end_ms, count):
    return Event("send", name, board, start_ms * MS, end_ms * MS, receiver, count)


# image -> left (vertex_0) on pi-1 -> right (vertex_1, vertex_2) on pi-2 and last (vertex_2) on pi-1
PREDICTED = (
    run("left", "pi-1", 1, 3),
    run("right", "pi-2", 4, 7),
    run("last", "pi-1", 8, 9),
    send("image", "client", "pi-1", 0, 1, 48),
    send("a", "pi-1", "pi-2", 3, 4, 400),
    send("b", "pi-2", "pi-1", 7, 8, 40),
    send("classes", "pi-1", "client", 9, 10, 8),
)
ALONE = (
    run("model", "pi-1", 1, 24),
    send("image", "client", "pi-1", 0, 1, 48),
    send("classes", "pi-1", "client", 24, 25, 8),
)
ARCHITECTURE = Architecture(
    (4, 4, 1),
    2,
    (
        Block("vertex_0", ("source",), 8, 1),
        Block("vertex_1", ("vertex_0",), 16, 2),
        Block("vertex_2", ("vertex_0", "vertex_1"), 16, 1),
    ),
)


def manifest(architecture=None, boards=("pi-1", "pi-2")):
    first, second = boards

    def named(event):
        names = {"pi-1": first, "pi-2": second}
        return dataclasses.replace(
            event,
            board=names.get(event.board, event.board),
            receiver=names.get(event.receiver, event.receiver),
        )

    def segment(name, inputs, outputs, *vertices):
        return SegmentSpec(
            f"{name}.tflite", digest(CONTENT), len(CONTENT), inputs, outputs, vertices
        )

    vertices = ("vertex_0", "vertex_1", "vertex_2")
    return Manifest(
        inputs=("image",),
        outputs=("classes",),
        tensors={
            "image": TensorSpec((1, 4, 3), "float32"),
            "a": TensorSpec((1, 100), "float32"),
            "b": TensorSpec((1, 10), "float32"),
            "classes": TensorSpec((1, 2), "float32"),
        },
        segments={
            "model": segment("model", ("image",), ("classes",), *vertices),
            "left": segment("left", ("image",), ("a",), "vertex_0"),
            "right": segment("right", ("a",), ("b",), "vertex_1", "vertex_2"),
            "last": segment("last", ("a", "b"), ("classes",), "vertex_2"),
        },
        placements={
            "boards": Placement(
                {
                    first: Program(
                        ("left", "last"), (Send("a", second), Send("classes", "client"))
                    ),
                    second: Program(("right",), (Send("b", first),)),
                },
                (Send("image", first),),
                10 * MS,
                tuple(named(event) for event in PREDICTED),
            ),
            "one_board": Placement(
                {first: Program(("model",), (Send("classes", "client"),))},
                (Send("image", first),),
                25 * MS,
                tuple(named(event) for event in ALONE),
            ),
        },
        architecture=architecture.to_json() if architecture else None,
    )


def measurement(many_ms=(10, 12, 14), one_ms=(24, 24, 30), emulated=None, accuracy=None):
    later = tuple(
        dataclasses.replace(event, start_s=event.start_s + MS, end_s=event.end_s + MS)
        for event in PREDICTED
    )
    return Measurement(
        runs={
            "boards": Run(tuple(ms * MS for ms in many_ms), later),
            "one_board": Run(tuple(ms * MS for ms in one_ms), ALONE),
        },
        images=3,
        max_abs_diff_tflite=2.5e-7,
        classes_differ=1,
        emulated=emulated,
        accuracy=accuracy,
    )


def write(tmp_path, contents, measured=None, **more):
    files = {segment.file: CONTENT for segment in contents.segments.values()}
    bundle = Bundle.write(tmp_path / "bundle", contents, files)
    page, picture, trace = write_report(tmp_path / "report", bundle, measured, **more)
    return page.read_text(encoding="utf-8"), picture, json.loads(trace.read_text(encoding="utf-8"))


def one_board_only():
    both = manifest(ARCHITECTURE)
    alone = both.placements["one_board"]
    return dataclasses.replace(both, placements={"boards": alone, "one_board": alone})


def test_latencies_and_bytes():
    summary = summarise(manifest(), measurement())
    assert summary.many.title == "2 boards"
    assert summary.many.predicted_s == pytest.approx(10 * MS)
    assert summary.many.median_s == pytest.approx(12 * MS)
    assert summary.one.median_s == pytest.approx(24 * MS)
    # image, a, b, classes: 4 bytes for each of 12, 100, 10 and 2 numbers
    assert summary.many.wire_bytes == 4 * (12 + 100 + 10 + 2)
    assert summary.one.wire_bytes == 4 * (12 + 2)
    assert summary.speed_ups["predicted"] == pytest.approx(25 / 10)
    assert summary.speed_ups["median"] == pytest.approx(24 / 12)


def test_board_work():
    first, second = summarise(manifest(), measurement()).boards
    assert (first.board, first.segments) == ("pi-1", ("left", "last"))
    assert first.sent_bytes == 4 * (100 + 2)
    predicted, measured = first.timelines
    assert predicted.compute_s("pi-1") == pytest.approx((2 + 1) * MS)
    assert predicted.busy("pi-1") == pytest.approx(3 / 10)
    assert measured.latency_s == pytest.approx(11 * MS)  # the answer's arrival, one ms later
    assert measured.busy("pi-2") == pytest.approx(3 / 11)
    assert second.vertices == ("vertex_1",)


def test_waiting():
    predicted = summarise(manifest(), None).timelines_of("boards")[0]
    assert predicted.boards_at_once == pytest.approx((2 + 3 + 1) / 10)
    assert predicted.quiet == pytest.approx(4 / 10)  # the four messages, nothing beside them


def test_quiet_counts_overlapping_segments_once():
    line = summarise(manifest(), None).timelines_of("boards")[0]
    overlapping = (run("left", "pi-1", 0, 6), run("right", "pi-2", 2, 4), run("last", "pi-1", 5, 8))
    assert dataclasses.replace(line, events=overlapping).quiet == pytest.approx(2 / 10)


def test_a_spread_vertex_belongs_to_its_last_segment():
    assert vertex_boards(manifest()) == {
        "vertex_0": "pi-1",
        "vertex_1": "pi-2",
        "vertex_2": "pi-1",  # its inputs are weighted on pi-2, its convolution is in "last"
    }


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (None, "2 boards should answer in 10.0 ms, one board in 25.0 ms: 2.5x faster"),
        (measurement(), "2 boards answer in 12.0 ms, one board in 24.0 ms: 2.0x faster"),
        (
            measurement((30, 30, 30), (20, 20, 20)),
            # pi-1 computes 3 of 11 ms, pi-2 3 of 11; in the other 5 tensors travel, 1 late start
            "2 boards answer in 30.0 ms, one board in 20.0 ms: one board is 1.5x faster, because "
            "on average only 0.5 of 2 boards compute while the others wait for tensors; for 45% "
            "of the time all wait",
        ),
    ],
)
def test_verdict(measured, verdict):
    assert summarise(manifest(), measured).verdict == verdict


def test_verdict_blames_computing_where_that_grew():
    contents = manifest()
    alone = dataclasses.replace(
        contents.placements["one_board"],
        predicted_latency_s=5 * MS,
        predicted=(run("model", "pi-1", 1, 4),),
    )
    contents = dataclasses.replace(contents, placements={**contents.placements, "one_board": alone})
    verdict = summarise(contents, None).verdict
    assert verdict.endswith(
        "one board is 2.0x faster, because computing in pieces takes 2.0x as long in all"
    )


def test_verdict_of_a_plan_with_one_board():
    summary = summarise(one_board_only(), None)
    assert (
        summary.verdict == "One board should answer in 25.0 ms; no split is predicted to be faster"
    )


def test_a_measurement_of_another_bundle_is_refused():
    other = measurement()
    events = (run("left", "elsewhere", 0, 1),)
    runs = {**other.runs, "boards": dataclasses.replace(other.runs["boards"], events=events)}
    with pytest.raises(ValueError, match="of this bundle, got a run of 'left' by 'elsewhere'"):
        summarise(manifest(), dataclasses.replace(other, runs=runs))


def test_answers():
    rows = dict(answer_rows(measurement(accuracy={"keras": 0.9, "boards": 0.875})))
    assert rows["accuracy, keras"] == "90.0%"
    assert rows["accuracy, boards"] == "87.5%"
    assert rows["largest difference, boards to uncut .tflite"] == "2.5e-07"
    assert rows["images whose class differs"] == "1 of 3"
    assert answer_rows(None) == []


def test_units_and_names():
    assert [milliseconds(s) for s in (0.00123, 0.0105, 0.1987)] == ["1.23 ms", "10.5 ms", "199 ms"]
    assert [size(n) for n in (36, 27648, 2_500_000)] == ["36 B", "27.6 kB", "2.5 MB"]
    assert sorted(["pi4-10", "pi4-2", "a"], key=natural) == ["a", "pi4-2", "pi4-10"]


def test_network_of_an_architecture():
    drawing = draw_network(manifest(ARCHITECTURE))
    nodes = {node.name: node for node in drawing.nodes}
    assert {name: node.x for name, node in nodes.items()} == {
        "source": 0, "vertex_0": 1, "vertex_1": 2, "vertex_2": 3, "sink": 4
    }  # fmt: skip
    assert nodes["vertex_1"].board == "pi-2"
    assert nodes["sink"].board == "pi-1"  # "last" writes the classes
    assert nodes["vertex_1"].detail == "2×2, 16 channels"
    crossing = {(arrow.start, arrow.end): arrow.crosses for arrow in drawing.arrows}
    assert crossing == {
        ("source", "vertex_0"): False,
        ("vertex_0", "vertex_1"): True,
        ("vertex_0", "vertex_2"): False,
        ("vertex_1", "vertex_2"): True,
        ("vertex_2", "sink"): False,
    }


def test_an_arrow_over_a_depth_passes_beside_its_vertex():
    drawing = draw_network(manifest(ARCHITECTURE))
    (long,) = [arrow for arrow in drawing.arrows if arrow.bends]
    ((x, y),) = long.bends
    (vertex,) = [node for node in drawing.nodes if node.x == x]
    assert (long.start, long.end, vertex.name) == ("vertex_0", "vertex_2", "vertex_1")
    assert abs(y - vertex.y) > 0.5  # a vertex has height 1


@pytest.mark.parametrize("kind", ["DP", "ER", "FB"])
def test_vertices_of_one_depth_keep_their_distance(kind):
    architecture = stage(generate(kind, 40, seed=3), (48, 48, 3), 9)
    drawing = draw_network(manifest(architecture))
    columns = {}
    for node in drawing.nodes:
        columns.setdefault(node.x, []).append(node.y)
    assert len(drawing.nodes) == 40 + 2
    for heights in columns.values():
        heights.sort()
        assert all(low + 1 <= high + 1e-9 for low, high in itertools.pairwise(heights))


def test_network_of_a_foreign_model_shows_segments():
    drawing = draw_network(manifest())
    assert drawing.unit == "segment"
    assert [node.name for node in drawing.nodes] == ["source", "left", "right", "last", "sink"]
    reads = {(arrow.start, arrow.end) for arrow in drawing.arrows}
    assert reads == {
        ("source", "left"), ("left", "right"), ("left", "last"), ("right", "last"), ("last", "sink")
    }  # fmt: skip


def test_every_board_has_its_colour():
    boards = [f"pi4-{i}" for i in range(1, 11)]
    colours = colours_of(boards)
    assert len({colours[board] for board in boards}) == 10
    assert len(set(PALETTE)) == len(PALETTE)


def test_trace_bars_do_not_overlap_and_end_with_the_answer():
    contents = manifest(ARCHITECTURE)
    # A second message leaves while the first is still on the wire.
    shared = contents.placements["boards"]
    early = dataclasses.replace(
        shared, predicted=(*shared.predicted, send("a", "pi-1", "pi-2", 3.4, 4.4, 400))
    )
    contents = dataclasses.replace(contents, placements={**contents.placements, "boards": early})
    summary = summarise(contents, None)
    events = json.loads(trace_json(contents, summary.timelines, emulated=None))["traceEvents"]
    bars = {}
    for event in events:
        if event["ph"] == "X":
            bars.setdefault((event["pid"], event["tid"]), []).append(
                (event["ts"], event["ts"] + event["dur"])
            )
    for spans in bars.values():
        spans.sort()
        assert all(end <= start + 1e-6 for (_, end), (start, _) in itertools.pairwise(spans))
    ends = [
        max(end for key, spans in bars.items() if key[0] == pid for _, end in spans)
        for pid in (1, 2)
    ]
    assert ends == pytest.approx([10_000, 25_000])  # microseconds


def test_trace_names_and_arrows():
    contents = manifest(ARCHITECTURE)
    summary = summarise(contents, measurement(emulated={"pi-1": 2.0, "pi-2": 2.0}))
    trace = json.loads(trace_json(contents, summary.timelines, emulated=summary.emulated))
    events = trace["traceEvents"]
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert list(names.values()) == [
        "predicted: boards", "measured: boards", "predicted: one board", "measured: one board"
    ]  # fmt: skip
    threads = {
        e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name" and e["pid"] == 1
    }
    assert "pi-1 link" in threads.values()
    (left,) = [e for e in events if e["name"] == "left" and e["pid"] == 1]
    assert left["args"]["vertices"] == ["vertex_0"]
    begun, ended = [e for e in events if e["name"] == "a" and e["pid"] == 1 and e["ph"] in "sf"]
    assert (threads[begun["tid"]], threads[ended["tid"]]) == ("pi-1 link", "pi-2")
    assert ended["ts"] == pytest.approx(4_000)  # "right" starts
    assert trace["otherData"]["emulated"].startswith("Emulated boards")


class _References(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []
        self.tags = set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            reference = name.split(":")[-1] in ("src", "href", "srcset", "data", "action", "poster")
            if reference and not (value or "").startswith("#"):
                self.found.append((tag, name, value))
            if name.split(":")[0] != "xmlns" and "//" in (value or ""):
                self.found.append((tag, name, value))


def test_files(tmp_path):
    terms = PartitionScore(0.1, 1.5, 1.2, 2000, 3.0, 1.1, 2)
    score = Score(2, terms, (terms,), Partition({"vertex_0": 0}, 2))
    page, picture, trace = write(
        tmp_path,
        manifest(ARCHITECTURE),
        measurement(accuracy={"boards": 0.9}),
        score=score,
        facts={"note": "made-up task"},
    )
    assert sorted(path.name for path in picture.parent.iterdir()) == [
        "report.html", "report.png", "trace.json"
    ]  # fmt: skip
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert trace["traceEvents"]
    parts = [
        "2 boards answer in 12.0 ms", "measured, median", "accuracy, boards", "Concurrency score",
        "made-up task", "The network", "Predicted timeline", "Measured timeline",
    ]  # fmt: skip
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    assert all(len(meaning.split()) <= 8 for _, _, meaning in score_rows(score))
    references = _References()
    references.feed(page)
    assert references.found == []
    assert not references.tags & {"script", "link", "img", "iframe", "object", "embed"}
    assert not re.search(r"url\((?!['\"]?#)|@import", page)


def test_unmeasured(tmp_path):
    page, _, trace = write(tmp_path, manifest(ARCHITECTURE))
    assert "nothing has been measured" in page
    assert "Measured timeline" not in page
    names = [e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"]
    assert names == ["predicted: boards", "predicted: one board"]


def test_foreign_model(tmp_path):
    page, _, _ = write(tmp_path, manifest(), measurement())
    assert "each circle is a segment" in page


def test_single_board(tmp_path):
    page, _, _ = write(tmp_path, one_board_only())
    assert "no split is predicted to be faster" in page


@pytest.mark.parametrize("emulated", [None, {"pi-1": 21.42, "pi-2": 21.42}])
def test_emulated_boards_are_labelled(tmp_path, emulated):
    page, _, _ = write(tmp_path, manifest(ARCHITECTURE), measurement(emulated=emulated))
    assert ("Emulated boards" in page) == (emulated is not None)
    assert ("slowed down 21.4 times" in page) == (emulated is not None)


def test_names_are_text(tmp_path):
    page, _, _ = write(
        tmp_path,
        manifest(ARCHITECTURE, boards=("<script>x</script>", "$b_1$ & co")),
        facts={"<b>": "<i>&</i>"},
    )
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert "$b_1$ &amp; co" in page


def test_clocks_that_disagree_are_drawn_as_they_are(tmp_path):
    measured = measurement()
    back = (
        send("image", "client", "pi-1", 0, -1, 48),
        run("left", "pi-1", -1, 2),
        run("right", "pi-2", 3, 2.5),
        run("last", "pi-1", 4, 5),
        send("classes", "pi-1", "client", 5, 6, 8),
    )
    runs = {**measured.runs, "boards": dataclasses.replace(measured.runs["boards"], events=back)}
    _, _, trace = write(tmp_path, manifest(), dataclasses.replace(measured, runs=runs))
    (image,) = [
        e for e in trace["traceEvents"] if e["ph"] == "X" and e["name"] == "image" and e["pid"] == 2
    ]
    assert image["dur"] == 0.0
    assert image["args"]["arrived_ms"] == pytest.approx(-1.0)


def test_the_same_input_gives_the_same_files(tmp_path):
    first = write(tmp_path, manifest(ARCHITECTURE), measurement())
    before = first[1].read_bytes()
    second = write(tmp_path, manifest(ARCHITECTURE), measurement())
    assert first[0] == second[0]
    assert before == second[1].read_bytes()
