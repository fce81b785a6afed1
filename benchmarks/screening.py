"""Does screening tell the truth? Predicted latencies against those of exported bundles.

Random candidates of the search's default space are screened as ``keras-concurrent search`` does,
then built with random weights, converted, planned and exported as bundles on the same described
boards. A candidate's error is what screening promises over what its bundle's plan comes to.
How many candidates are screened a second is shown beside what the same steps take without a plan:
drawing a candidate and building its network's graph.

python benchmarks/screening.py           # some twenty minutes on two busy cores
python benchmarks/screening.py --quick   # within a minute: a few candidates
python benchmarks/screening.py --link 100mbit
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from outcome import Section, Target, finish

from keras_concurrent.cluster import Cluster
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.networks.architecture import Architecture
from keras_concurrent.search.costs import architecture_costs
from keras_concurrent.search.screening import screen
from keras_concurrent.search.space import Space, architecture_of
from keras_concurrent.tensorflow_loading import load_tensorflow
from keras_concurrent.tflite.file import TfliteFile

CANDIDATES, QUICK = 200, 8
SIDES = (32, 96)  # of the images, by turns
SEED = 0
RATED = 400  # candidates in the timing


@dataclass(frozen=True)
class Candidate:
    """A candidate's latencies in seconds: as screened, of its bundle, and on one board."""

    name: str
    screened_s: float
    bundle_s: float
    screened_alone_s: float
    bundle_alone_s: float

    @property
    def error(self) -> float:
        """What screening promises over what the bundle comes to, less 1."""
        return self.screened_s / self.bundle_s - 1

    @property
    def alone_error(self) -> float:
        """The same of one board."""
        return self.screened_alone_s / self.bundle_alone_s - 1


def converted(architecture: Architecture) -> TfliteFile:
    """The network with weights that the converter cannot fold away, as a trained one's are."""
    import keras

    from keras_concurrent.convert import to_tflite
    from keras_concurrent.models import build_model

    model = build_model(architecture)
    rng = np.random.default_rng(SEED)
    for weight in model.weights:
        if "weight_" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5))
    content = to_tflite(model)
    keras.backend.clear_session()
    return TfliteFile(content)


def measured(count: int, cluster: Cluster) -> list[Candidate]:
    """Candidates screened and exported."""
    load_tensorflow()
    found = []
    spaces = [Space((side, side, 3), 10) for side in SIDES]
    with tempfile.TemporaryDirectory() as folder:
        for index in range(count):
            space = spaces[index % len(spaces)]
            architecture = architecture_of(space.draw(SEED, index))
            promised = architecture_costs(architecture, cluster)
            bundle = export_bundle(converted(architecture), cluster, Path(folder) / str(index))
            found.append(
                Candidate(
                    f"{architecture.recipe['kind']}, {len(architecture.blocks)} vertices, "
                    f"{space.image_shape[0]} px",
                    promised.latency_s,
                    bundle.placement("boards").predicted_latency_s,
                    promised.one_board_latency_s,
                    bundle.placement("one_board").predicted_latency_s,
                )
            )
            print(f"\r{index + 1} of {count}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


def rates(cluster: Cluster, samples: int) -> tuple[float, float]:
    """Candidates a second of one process: screened, and only drawn and staged."""
    space = Space((SIDES[0], SIDES[0], 3), 10)
    screen(space, cluster, 1)  # compiles
    begun = time.process_time()
    screen(space, cluster, samples, processes=1)
    screened = time.process_time() - begun
    begun = time.process_time()
    for index in range(samples):
        architecture_of(space.draw(SEED, index)).network_tasks()
    return samples / screened, samples / (time.process_time() - begun)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation; equal latencies do not happen among random candidates."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def section(found: list[Candidate], rated: tuple[float, float], *, quick: bool) -> Section:
    """The errors and what they must keep to; few candidates tell no order and no worst."""
    errors = np.array([each.error for each in found])
    alone = np.array([each.alone_error for each in found])
    order = spearman(
        np.array([each.screened_s for each in found]), np.array([each.bundle_s for each in found])
    )
    sizes = np.abs(errors)
    worst = found[int(sizes.argmax())]
    rows = [
        ("candidates", str(len(found))),
        ("error, mean of its size", f"{sizes.mean():.1%}"),
        ("error, mean", f"{errors.mean():+.1%}"),
        ("95 of 100 within", f"{np.quantile(sizes, 0.95):.1%}"),
        ("beyond 15 %", str(int((sizes > 0.15).sum()))),
        ("bundle above what was promised, worst", f"{-errors.min():.1%}"),
        ("worst", f"{worst.error:+.1%}: {worst.name}"),
        ("one board, worst", f"{np.abs(alone).max():.2%}"),
        ("rank correlation (Spearman)", f"{order:.4f}"),
        ("screened a second, one process", f"{rated[0]:.0f}"),
        ("of these drawn and written as a graph a second", f"{rated[1]:.0f}"),
    ]
    return Section(
        "Screening against exported bundles",
        ("what", "figure"),
        rows,
        {
            "errors": errors.tolist(),
            "one_board_errors": alone.tolist(),
            "spearman": order,
            "screened_per_s": rated[0],
        },
        [
            Target("screening: mean size of the error", 0.05, float(sizes.mean()), at_least=False),
            *([] if quick else [
                Target("screening: worst error", 0.15, float(sizes.max()), at_least=False),
                Target("screening: Spearman", 0.98, order),
            ]),
        ],
    )  # fmt: skip


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--kind", default="pi4", help="of the boards")
    parser.add_argument("--boards", type=int, default=4)
    parser.add_argument("--link", default="1gbit")
    options = parser.parse_args()
    cluster = Cluster.of(options.kind, options.boards, options.link)
    rated = rates(cluster, RATED // 4 if options.quick else RATED)
    found = measured(QUICK if options.quick else CANDIDATES, cluster)
    finish(section(found, rated, quick=options.quick), as_json=options.json)


if __name__ == "__main__":
    main()
