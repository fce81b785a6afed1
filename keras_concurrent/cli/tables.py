"""A plan and what explains it as tables of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from keras_concurrent.cli.console import table
from keras_concurrent.cluster import Cluster
from keras_concurrent.planning.explain import Explanation, explain
from keras_concurrent.planning.schedule import Plan, fits
from keras_concurrent.report.words import milliseconds, short, size
from keras_concurrent.wire.budget import Variant


def plan_table(
    plan: Plan, alone: Plan, bound_s: float, cluster: Cluster, alone_in_int8: Plan | None = None
) -> Table:
    """One board beside the plan beside what no plan can undercut.

    One board is all its cores; where that is known, in int8 too: what a user could do instead.

    Compute, wire and messages, which is processors sending and taking in, are shares of the
    critical path; idle is the share of the latency in which a board in use does not compute, on
    average.
    """
    boards = len(plan.boards)
    titled = {
        "one board" + ("" if fits(alone, cluster) else ", too small"): alone,
        **({} if alone_in_int8 is None else {"one, in int8": alone_in_int8}),
        "the plan" if boards == 1 else f"{boards} boards": plan,
    }
    rows = []
    for title, of in titled.items():
        explanation = explain(of, cluster)
        rows.append(
            (
                title,
                milliseconds(of.latency_s),
                _gain(alone.latency_s, of.latency_s),
                f"{explanation.compute:.0%}",
                f"{explanation.wire:.0%}",
                f"{explanation.messaging:.0%}",
                f"{explanation.waiting:.0%}",
                size(of.wire_bytes),
            )
        )
    gain = _gain(alone.latency_s, bound_s)
    rows.append(("lower bound", milliseconds(bound_s), gain, "", "", "", "", ""))
    columns = ("", "latency", "gain", "compute", "wire", "messages", "idle", "sent")
    count = len(plan.graph.tasks)
    memory = size(max(plan.memory_bytes.values()))
    title = f"{count} segment{'s' if count > 1 else ''}, at most {memory} on a board"
    return table(title, columns, rows)


def path_table(why: Explanation, plan: Plan) -> Table:
    """The critical path, step by step."""
    rows = [
        (
            milliseconds(step.start_s),
            milliseconds(step.end_s - step.start_s),
            f"{step.where} computes" if step.kind == "run" else f"{step.where} to {step.receiver}",
            _what(plan, step.kind, step.name),
            "a queue" if step.queued_behind else "",
        )
        for step in why.path
    ]
    title = (
        f"Critical path: {why.compute:.0%} computing, {why.wire:.0%} on the wire, "
        f"{why.messaging:.0%} sending and taking in"
    )
    return table(title, ("from", "for", "where", "what", "after"), rows)


def change_table(latency_s: float, changed_s: Mapping[str, float]) -> Table:
    """What would change the latency, and by how much."""
    rows = [
        (change, milliseconds(seconds), _gain(latency_s, seconds))
        for change, seconds in changed_s.items()
    ]
    return table("What would change it", ("with", "latency", "gain"), rows)


def _gain(before_s: float, after_s: float) -> str:
    return f"{before_s / after_s:.2f}x" if after_s else ""


def _what(plan: Plan, kind: str, name: str) -> str:
    """A segment by its vertices, a tensor by its size."""
    if kind == "send":
        return f"{short(name)}, {size(plan.graph.tensor_bytes[name])}"
    task = plan.graph.by_name[name]
    if task.vertices:
        return f"vertices {', '.join(short(vertex) for vertex in task.vertices)}"
    count = len(task.operators)
    return f"{count} operators from {name}" if count > 1 else name


def variant_table(variants: Sequence[Variant]) -> Table:
    """What each variant of a model costs and gives."""

    def figure(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    rows = [
        (
            variant.name,
            "too large" if variant.latency_s is None else milliseconds(variant.latency_s),
            "" if variant.wire_bytes is None else size(variant.wire_bytes),
            figure(variant.largest_difference, ".2g"),
            figure(variant.accuracy, ".2%"),
        )
        for variant in variants
    ]
    columns = ("", "latency", "sent", "largest difference", "accuracy")
    return table("Lighter, beside the model as it was", columns, rows)


def load_table(board_bytes: Mapping[str, int], link_bytes: Mapping[str, int]) -> Table:
    """Bytes of the files on each board, and of one image's tensors on each link."""
    rows = [(name, size(count)) for name, count in (*board_bytes.items(), *link_bytes.items())]
    return table("Bytes a board and a link", ("", "bytes"), rows)
