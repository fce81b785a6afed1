"""What an operator costs by its size and the number of threads, and a model of it.

- A ladder of 1x1 convolutions from 25 thousand to 100 million FLOPs, on one thread and on two:
  chains of 8 and of 24 of them, whose difference is 16 operators without the call around them.
- Ten networks of keras.applications, whole and cut into pieces: measured against one rate, and
  against the cost model of `keras_concurrent.board` (FLOPs, bytes, operators), in one run. Each
  network is predicted from the other nine.

python benchmarks/threads.py           # about 6 minutes on two otherwise idle cores
python benchmarks/threads.py --quick   # four steps, three small networks
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import usual_networks
from outcome import Section, Target, finish_each
from scipy.optimize import nnls

from keras_concurrent import TfliteFile
from keras_concurrent.cli.console import progress_bars
from keras_concurrent.interpreter import Segment
from keras_concurrent.measured.convolutions import Writer
from keras_concurrent.planning.taskgraph import Task

THREADS = (1, 2)
STEPS = (  # channels, side in pixels
    (8, 14), (16, 14), (16, 28), (32, 28), (64, 28), (64, 56), (128, 56),
)  # fmt: skip
SHORT, LONG = 8, 24
QUICK_STEPS = STEPS[::2]
QUICK_NETWORKS = ("MobileNet", "MobileNetV2", "MobileNetV3Small")
PIECES = 8
MEAN_GAP = 0.10


def chain(channels: int, side: int, length: int) -> bytes:
    """So many 1x1 convolutions one after another."""
    writer = Writer()
    shape: tuple[int, ...] = (1, side, side, channels)
    first = last = writer.tensor("image", shape)
    for _ in range(length):
        last, shape, _ = writer.convolution(last, shape, channels, 1, 1)
    return writer.finish(first, last)


def timed(contents: Sequence[bytes], rounds: int) -> list[dict[int, float]]:
    """The least seconds of each file by number of threads, all in turn: drift meets each alike."""
    runs = {}
    for index, content in enumerate(contents):
        for threads in THREADS:
            segment = Segment(content, threads)
            file, rng = TfliteFile(content), np.random.default_rng(0)
            inputs = [
                rng.random(file.tensors[name].shape, dtype=np.float32) for name in file.inputs
            ]
            segment.run(inputs)
            runs[index, threads] = segment, inputs
    least: list[dict[int, float]] = [dict.fromkeys(THREADS, np.inf) for _ in contents]
    for _ in range(rounds):
        for (index, threads), (segment, inputs) in runs.items():
            start = time.perf_counter()
            segment.run(inputs)
            took = time.perf_counter() - start
            least[index][threads] = min(least[index][threads], took)
    return least


def ladder(progress: Callable[[int, int], None], *, quick: bool) -> Section:
    """Microseconds of one operator by its size."""
    steps = QUICK_STEPS if quick else STEPS
    rows, figures = [], {}
    for done, (channels, side) in enumerate(steps):
        progress(done, len(steps))
        flops = 2 * side * side * channels * channels
        rounds = max(20, min(400, int(2e9 / (LONG * flops))))
        short, long = timed([chain(channels, side, SHORT), chain(channels, side, LONG)], rounds)
        one, two = (1e6 * (long[n] - short[n]) / (LONG - SHORT) for n in THREADS)
        call = 1e6 * short[1] - SHORT * one
        rows.append(
            (f"{channels}", f"{side}", f"{flops / 1e6:.3f}", f"{one:.1f}", f"{two:.1f}",
             f"{one / two:.2f}x", f"{flops / one / 1e3:.1f}", f"{call:.0f}")
        )  # fmt: skip
        figures[f"{flops}"] = {"one_us": one, "two_us": two, "call_us": call}
    progress(len(steps), len(steps))
    return Section(
        "A 1x1 convolution: one thread against two",
        ("channels", "pixels", "MFLOP", "1 thread us", "2 threads us", "gain", "GFLOP/s, 1",
         "call us"),
        rows,
        {"ladder": figures},
    )  # fmt: skip


class Measured(NamedTuple):
    """A file and what it took.

    Args:
        network: whose it is.
        whole: the network itself, or a piece of it.
        amounts: FLOPs, bytes of tensors and weights, operators, and 1 for the call.
        seconds: by number of threads.
    """

    network: str
    whole: bool
    amounts: tuple[float, ...]
    seconds: dict[int, float]


def amounts_of(tasks: Sequence[Task]) -> tuple[float, ...]:
    """What the cost model counts of tasks that are one call."""
    return (
        float(sum(task.flops for task in tasks)),
        float(sum(task.touched_bytes for task in tasks)),
        float(sum(task.operator_count for task in tasks)),
        1.0,
    )


def measured(name: str) -> list[Measured]:
    """A network and its pieces, timed."""
    file = TfliteFile(usual_networks.converted(name), name)
    graph = file.tasks()
    names = [task.name for task in graph.tasks]
    groups = [list(group) for group in np.array_split(names, PIECES)]
    pieces = graph.quotient(groups).tasks
    contents = [file.data, *(file.cut(p.operators, p.inputs, p.outputs) for p in pieces)]
    amounts = [amounts_of(graph.tasks), *(amounts_of([piece]) for piece in pieces)]
    rows = zip(amounts, timed(contents, 12), strict=True)
    return [Measured(name, not i, each, seconds) for i, (each, seconds) in enumerate(rows)]


def fitted(files: Sequence[Measured], threads: int, columns: Sequence[int]) -> np.ndarray:
    """Costs of the amounts, none below zero, by the least squares of the relative gap."""
    rows = np.array([[f.amounts[c] for c in columns] for f in files])
    took = np.array([f.seconds[threads] for f in files])
    costs, _ = nnls(rows / took[:, None], np.ones(len(took)))
    return costs


def networks(progress: Callable[[int, int], None], *, quick: bool) -> Section:
    """One rate against the cost model, each network predicted from the others."""
    names = QUICK_NETWORKS if quick else usual_networks.NAMES
    files: list[Measured] = []
    for done, name in enumerate(names):
        progress(done, len(names))
        files += measured(name)
    progress(len(names), len(names))
    models = {"one rate": (0,), "cost model": (0, 1, 2, 3)}
    rows, figures, targets = [], {}, []
    for threads in THREADS:
        for whole in (True, False):
            gaps: dict[str, list[float]] = {model: [] for model in models}
            for name in names:
                others = [f for f in files if f.network != name]
                for model, columns in models.items():
                    costs = fitted(others, threads, columns)
                    for f in files:
                        if f.network == name and f.whole == whole:
                            predicted = float(costs @ [f.amounts[c] for c in columns])
                            gaps[model].append(abs(predicted / f.seconds[threads] - 1))
            what = "whole" if whole else "in pieces"
            shown = [f"{threads}", what]
            for each in gaps.values():
                shown += [f"{statistics.mean(each):.1%}", f"{max(each):.0%}"]
            rows.append(tuple(shown))
            figures[f"{threads} threads, {what}"] = gaps
            if whole:
                mean = statistics.mean(gaps["cost model"])
                targets.append(Target(f"mean gap, whole, {threads} threads", MEAN_GAP, mean, False))
    columns = models["cost model"]
    for threads in THREADS:
        flop, byte, operator, call = fitted(files, threads, columns)
        figures[f"costs, {threads} threads"] = {
            "gflops_per_s": 1e-9 / flop if flop else None,
            "tensor_gb_per_s": 1e-9 / byte if byte else None,
            "operator_us": 1e6 * operator,
            "call_us": 1e6 * call,
        }
    return Section(
        f"Networks of keras.applications at 224 pixels, each predicted from the {len(names) - 1} "
        "others: gap to measured",
        ("threads", "files", "one rate: mean", "worst", "cost model: mean", "worst"),
        rows,
        {"networks": figures},
        targets,
    )


def sections(
    progress: Callable[[str], Callable[[int, int], None]], *, quick: bool
) -> Iterator[Section]:
    """The ladder, then the networks."""
    yield ladder(progress("ladder"), quick=quick)
    yield networks(progress("networks"), quick=quick)


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a little of each")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with progress_bars() as progress:
        finish_each(sections(progress, quick=options.quick), as_json=options.json)


if __name__ == "__main__":
    main()
