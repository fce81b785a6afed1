"""What the live page shows, as one JSON object."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from keras_concurrent.edge.images import is_picture
from keras_concurrent.edge.placement import Event
from keras_concurrent.serve.service import Service
from keras_concurrent.serve.watcher import Watcher


def live(service: Service, watcher: Watcher, after: int) -> dict[str, Any]:
    """The state of a service.

    Args:
        service: it.
        watcher: of its boards.
        after: number of the last image that the page knows.
    """
    manifest, traced = service.manifest, watcher.traced
    return {
        "model": service.model,
        "takes_pictures": len(manifest.inputs) == 1
        and is_picture(manifest.tensors[manifest.inputs[0]]),
        "now_s": time.time(),
        "predicted_s": service.predicted.predicted_latency_s,
        "predicted": _events(service.predicted.predicted),
        "images": service.images,
        "in_flight": service.in_flight,
        "waiting": service.waiting,
        "boards": [_board(service, watcher, name) for name in watcher.boards],
        "happenings": [
            {"at_s": each.at_s, "board": each.board, "here": each.here}
            for each in watcher.happenings
        ],
        "latencies": [
            [each.number, each.at_s, each.latency_s, each.failed]
            for each in tuple(service.latest)
            if each.number > after
        ],
        "traced": None
        if traced is None
        else {
            "at_s": traced.at_s,
            "latency_s": traced.latency_s,
            "events": _events(traced.events),
        },
    }


def _board(service: Service, watcher: Watcher, name: str) -> dict[str, Any]:
    program = service.predicted.programs.get(name)
    traced, status = watcher.traced, watcher.statuses.get(name)
    told = None
    if status is not None:
        told = {
            "images": status.images,
            "in_flight": status.in_flight,
            "compute_s": status.compute_s,
            "refused": status.refused,
            "resident_bytes": status.machine.resident_bytes,
            "threads": status.threads,
            "slowdown": status.identity.slowdown,
        }
    return {
        "name": name,
        "here": watcher.here[name],
        "planned": list(program.segments) if program is not None else [],
        "computed": []
        if traced is None
        else [e.name for e in traced.events if e.kind == "run" and e.board == name],
        "status": told,
    }


def _events(events: Iterable[Event]) -> list[dict[str, Any]]:
    return [
        {
            "kind": event.kind,
            "name": event.name,
            "board": event.board,
            "receiver": event.receiver,
            "start_s": event.start_s,
            "end_s": event.end_s,
            "bytes": event.bytes,
        }
        for event in events
    ]
