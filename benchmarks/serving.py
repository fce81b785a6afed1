"""What serving over HTTP adds to the Python client, for an image of 96x96 pixels.

One process has the client and the server, as `keras-concurrent serve` has; another asks over HTTP,
by the binary extension of the Open Inference Protocol. In turns, the same images go by the Python
client alone: one after another for the latency, then eight askers at once for the throughput. The
boards are emulated Pi 4s, which sleep most of the time, so that the server has this machine as
boards of one's own would leave it. Every figure is that of its best round: this machine may have
other work in the others.

python benchmarks/serving.py          # two minutes
python benchmarks/serving.py --quick  # within a minute
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from outcome import Section, Target, finish

from keras_concurrent import Bundle, Cluster
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.testbed.local_boards import LocalBoards, free_ports, slowdown_for
from keras_concurrent.edge.watch.bench import random_images
from keras_concurrent.measured.host import measure_host
from keras_concurrent.serve.access import Access
from keras_concurrent.serve.app import application
from keras_concurrent.serve.inference import HEADER_LENGTH
from keras_concurrent.serve.run import server
from keras_concurrent.serve.service import Service
from keras_concurrent.serve.watcher import Watcher

PIXELS = 96
ASKERS = 8
MOST_ADDED_MS = 1.0
LEAST_SHARE = 0.9
_MODEL = "bench"


def made(cluster: Cluster, folder: Path) -> Bundle:
    """A network of lanes, planned on the boards."""
    # Not above: the process that asks starts without TensorFlow.
    from keras_concurrent import TfliteFile
    from keras_concurrent.convert import to_tflite
    from keras_concurrent.export.assemble import export_bundle
    from keras_concurrent.models import build_model
    from keras_concurrent.networks.generators import generate
    from keras_concurrent.networks.staging import stage

    graph = generate("lanes", 9, seed=1, lanes=2)
    network = stage(graph, (PIXELS, PIXELS, 3), 10, filters=16, channel_cap=64, seed=1)
    return export_bundle(TfliteFile(to_tflite(build_model(network))), cluster, folder)


@contextmanager
def served(client: Client, bundle: Bundle, cluster: Cluster) -> Iterator[int]:
    """The port of a server in a thread of this process."""
    access = Access()
    with access.listen(0) as listening:
        service = Service(client, bundle, _MODEL, in_flight=ASKERS)
        watcher = Watcher(service, cluster)
        begun = threading.Event()
        one = server(application(service, watcher), service, access, begun.set)
        thread = threading.Thread(target=one.run, args=([listening],))
        thread.start()
        begun.wait()
        try:
            yield listening.getsockname()[1]
        finally:
            one.should_exit = True
            thread.join()
            watcher.close()


def by_askers(asker: Callable[[], Callable[[], object]], askers: int, images: int) -> list[float]:
    """Seconds of every image, and of all together as the last.

    Args:
        asker: makes what asks for one image.
        askers: how many at a time.
        images: each asks for.
    """
    seconds: list[float] = []

    def work() -> None:
        ask = asker()
        for _ in range(images):
            start = time.perf_counter()
            ask()
            seconds.append(time.perf_counter() - start)

    threads = [threading.Thread(target=work) for _ in range(askers)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [*seconds, time.perf_counter() - start]


def ask_over_http(port: int, askers: int, images: int) -> None:
    """The other process: prints what it measured as JSON."""
    content = np.random.default_rng(0).random((1, PIXELS, PIXELS, 3), np.float32).tobytes()

    def asker() -> Callable[[], None]:
        connection = http.client.HTTPConnection("127.0.0.1", port)

        def ask() -> None:
            path, headers = f"/v2/models/{_MODEL}/infer", {HEADER_LENGTH: "0"}
            connection.request("POST", path, content, headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 200:
                raise RuntimeError(said.decode())

        ask()  # connects
        return ask

    print(json.dumps(by_askers(asker, askers, images)))


def asked(port: int, askers: int, images: int) -> list[float]:
    """What another process measures."""
    words = [sys.executable, __file__, "--ask", str(port), str(askers), str(images)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
    found: list[float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure both ways in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer images")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--ask", nargs=3, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        ask_over_http(*options.ask)
        return
    logging.disable(logging.WARNING)
    rounds, images = (4, 25) if options.quick else (12, 100)
    cluster = Cluster.of("pi4", 2, "1gbit", free_ports(2))
    alone: dict[str, list[list[float]]] = {"python": [], "http": []}
    per_s: dict[str, list[float]] = {"python": [], "http": []}
    with tempfile.TemporaryDirectory() as name:
        bundle = made(cluster, Path(name) / "bundle")
        image = random_images(bundle, 1)[0]
        slowdown = slowdown_for(cluster, measure_host())
        started = LocalBoards(bundle, cluster, slowdown=slowdown, in_flight=ASKERS)
        with started as boards, served(boards.client, bundle, cluster) as port:

            def by_client(askers: int, images: int) -> list[float]:
                return by_askers(lambda: lambda: boards.client.infer(image), askers, images)

            by_client(1, 5)
            for _ in range(rounds):
                for way, ask in (
                    ("python", by_client),
                    ("http", lambda askers, count: asked(port, askers, count)),
                ):
                    alone[way].append(ask(1, images)[:-1])
                    *each, whole_s = ask(ASKERS, images // 2)
                    per_s[way].append(len(each) / whole_s)
    medians = {way: min(map(statistics.median, each)) * 1e3 for way, each in alone.items()}
    p95 = {way: min(float(np.percentile(r, 95)) for r in each) * 1e3 for way, each in alone.items()}
    rates = {way: max(each) for way, each in per_s.items()}
    added = medians["http"] - medians["python"]
    share = rates["http"] / rates["python"]
    section = Section(
        f"An image of {PIXELS}x{PIXELS} on 2 emulated Pi 4s",
        ("asked by", "median ms", "p95 ms", f"images/s, {ASKERS} askers"),
        [
            (way, f"{medians[way]:.2f}", f"{p95[way]:.2f}", f"{rates[way]:.1f}")
            for way in ("python", "http")
        ],
        {"median_ms": medians, "p95_ms": p95, "images_per_s": rates},
        (
            Target("what HTTP adds to the median, ms", MOST_ADDED_MS, added, at_least=False),
            Target(f"images/s by HTTP over those by Python, {ASKERS} askers", LEAST_SHARE, share),
        ),
    )
    finish(section, as_json=options.json)


if __name__ == "__main__":
    main()
