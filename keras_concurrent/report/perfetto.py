"""Timelines as trace events, the JSON that https://ui.perfetto.dev and chrome://tracing open.

One process a timeline. In it the client, every board and every interface ("pi4-1 link") have a
thread. An arrow leads from a message to the segment that reads it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.manifest import Manifest
from keras_concurrent.edge.placement import Event
from keras_concurrent.report.summary import Timeline

TraceEvent = dict[str, Any]


def trace_json(manifest: Manifest, timelines: Sequence[Timeline], *, emulated: str | None) -> str:
    """The text of ``trace.json``.

    A message's bar ends when the next one takes the interface, or when it has arrived: messages on
    one interface overlap only while they are on the wire, and bars of one thread may not. When it
    arrived is in its ``args``.

    Args:
        manifest: what the bundle holds.
        timelines: as predicted and measured.
        emulated: what to tell about emulated boards.
    """
    events: list[TraceEvent] = []
    for process, timeline in enumerate(timelines, start=1):
        placement = "one board" if timeline.placement == "one_board" else "boards"
        events += _process(manifest, timeline, process, f"{timeline.source}: {placement}")
    about = {"emulated": emulated} if emulated else {}
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": about})


def _process(manifest: Manifest, timeline: Timeline, process: int, title: str) -> list[TraceEvent]:
    threads: dict[str, int] = {}
    for name in (CLIENT, *timeline.boards):
        threads[name] = len(threads) + 1
        threads[f"{name} link"] = len(threads) + 1
    rest: TraceEvent = {"pid": process}
    events = [
        _about("process_name", {"name": title}, rest),
        _about("process_sort_index", {"sort_index": process}, rest),
        _bar("awaits the answer", 0.0, timeline.latency_s, {}, {**rest, "tid": threads[CLIENT]}),
    ]
    for name, thread in threads.items():
        where = {**rest, "tid": thread}
        events.append(_about("thread_name", {"name": name}, where))
        events.append(_about("thread_sort_index", {"sort_index": thread}, where))
    for run in timeline.runs:
        vertices = manifest.segments[run.name].vertices
        where = {**rest, "tid": threads[run.board]}
        events.append(_bar(run.name, run.start_s, run.end_s, {"vertices": vertices}, where))
    sends = sorted(timeline.sends, key=lambda send: send.start_s)
    for number, send in enumerate(sends):
        later = (s.start_s for s in sends[number + 1 :] if s.board == send.board)
        where = {**rest, "tid": threads[f"{send.board} link"]}
        about = {
            "bytes": send.bytes,
            "receiver": send.receiver,
            "sent_ms": send.start_s * 1e3,
            "arrived_ms": send.end_s * 1e3,
        }
        end = min(send.end_s, next(later, send.end_s))
        events.append(_bar(send.name, send.start_s, end, about, where))
        arrow = {"cat": "message", "name": send.name, "id": process * 1_000_000 + number}
        events.append({"ph": "s", **arrow, **where, "ts": send.start_s * 1e6})
        reader = _reader(manifest, timeline, send)
        at = reader.start_s if reader else send.end_s
        if reader or send.receiver == CLIENT:
            receiver = {**rest, "tid": threads[send.receiver]}
            events.append({"ph": "f", "bp": "e", **arrow, **receiver, "ts": at * 1e6})
    return events


def _about(key: str, value: TraceEvent, where: TraceEvent) -> TraceEvent:
    return {"ph": "M", "name": key, "tid": 0, **where, "args": value}


def _bar(
    name: str, start_s: float, end_s: float, about: TraceEvent, where: TraceEvent
) -> TraceEvent:
    # A trace has no bars of negative length; clocks that disagree show in the args.
    length = max(0.0, end_s - start_s)
    span = {"ts": start_s * 1e6, "dur": length * 1e6}
    return {"ph": "X", "name": name, **where, **span, "args": about}


def _reader(manifest: Manifest, timeline: Timeline, send: Event) -> Event | None:
    """The first segment on the receiving board that reads a message."""
    for run in timeline.runs:
        if run.board == send.receiver and send.name in manifest.segments[run.name].inputs:
            return run
    return None
