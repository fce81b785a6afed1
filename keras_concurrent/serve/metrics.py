"""What is counted and timed, for Prometheus.

Where Triton has a metric of the same meaning, its name is used, so that dashboards made for Triton
work. What Triton has not begins with ``keras_concurrent_``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from keras_concurrent.edge.link.answers import Status
from keras_concurrent.edge.watch.shares import Share
from keras_concurrent.errors import MissingExtraError
from keras_concurrent.serve.inference import VERSION

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    from prometheus_client.metrics_core import Metric
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("prometheus-client", "serve") from error

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0,
    2.0, 5.0, 10.0,
)  # fmt: skip
_TRITON = {
    "nv_inference_request_success": "Number of successful inference requests",
    "nv_inference_request_failure": "Number of failed inference requests",
    "nv_inference_count": "Number of inferences performed",
    "nv_inference_exec_count": "Number of model executions performed",
    "nv_inference_request_duration_us": "Cumulative inference request duration in microseconds",
    "nv_inference_queue_duration_us": "Cumulative inference queuing duration in microseconds",
    "nv_inference_compute_infer_duration_us": "Cumulative compute inference duration in us",
}
_PARTS = ("compute", "wire", "waiting")


class _Triton:
    """Counters under Triton's names.

    prometheus-client ends every counter's name with ``_total``; Triton does not. So their type is
    left out: queries ask for names.
    """

    def __init__(self, model: str) -> None:
        self._labels = {"model": model, "version": VERSION}
        self.values = dict.fromkeys(_TRITON, 0.0)

    def collect(self) -> Iterable[Metric]:
        """The counters as they are."""
        for name, meaning in _TRITON.items():
            metric = Metric(name, meaning, "unknown")
            metric.add_sample(name, self._labels, self.values[name])
            yield metric


class Metrics:
    """The metrics of one service.

    Args:
        model: name of the model.
        predicted_s: the plan's latency.
        in_flight: how many images the boards work on, asked when somebody looks.
        waiting: likewise, how many wait.
    """

    def __init__(
        self,
        model: str,
        predicted_s: float,
        in_flight: Callable[[], int],
        waiting: Callable[[], int],
    ) -> None:
        self._registry = CollectorRegistry()
        self._triton = _Triton(model)
        self._registry.register(self._triton)
        Gauge(
            "nv_inference_pending_request_count", "Images that wait to be sent to the boards",
            ("model", "version"), registry=self._registry,
        ).labels(model, VERSION).set_function(waiting)  # fmt: skip
        self._requests = self._histogram(
            "request_seconds", "From a request's last byte to its answer", "protocol"
        )
        self._images = self._histogram(
            "image_seconds", "From handing an image to the boards to its answer"
        )
        self._parts = self._histogram(
            "board_part_seconds",
            "Where a board's time went while an image was recognised, of images looked at closely",
            "board", "part",
        )  # fmt: skip
        flying = self._gauge("images_in_flight", "Images that the boards work on")
        flying.set_function(in_flight)
        self._refused = Counter(
            "keras_concurrent_refused_images_total", "Images refused because too many wait",
            registry=self._registry,
        )  # fmt: skip
        self._failed = Counter(
            "keras_concurrent_failed_requests_total", "Requests without an answer, by HTTP status",
            ("status",), registry=self._registry,
        )  # fmt: skip
        self._here = self._gauge("board_here", "1 where a board is used, 0 where not", "board")
        self._losses = Counter(
            "keras_concurrent_board_losses_total", "How often a board was lost", ("board",),
            registry=self._registry,
        )  # fmt: skip
        self._of_boards = {
            name: self._gauge(f"board_{name}", f"{meaning}, by the board's own count", "board")
            for name, (meaning, _) in _OF_BOARDS.items()
        }
        self._gauge("predicted_seconds", "The plan's latency").set(predicted_s)

    def _histogram(self, name: str, meaning: str, *labels: str) -> Histogram:
        return Histogram(
            f"keras_concurrent_{name}", meaning, labels, buckets=_SECONDS, registry=self._registry
        )

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"keras_concurrent_{name}", meaning, labels, registry=self._registry)

    # ------------------------------------------------------------- requests and images

    def succeeded(self, protocol: str, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(protocol).observe(seconds)
        values = self._triton.values
        values["nv_inference_request_success"] += 1
        values["nv_inference_request_duration_us"] += seconds * 1e6

    def failed(self, status: int) -> None:
        """A request was not."""
        self._failed.labels(str(status)).inc()
        self._triton.values["nv_inference_request_failure"] += 1

    def refused(self, images: int) -> None:
        """Images were not taken, because too many wait."""
        self._refused.inc(images)

    def answered(self, waited_s: float, seconds: float) -> None:
        """An image was answered.

        Args:
            waited_s: until it was handed to the boards.
            seconds: from then to the answer.
        """
        self._images.observe(seconds)
        values = self._triton.values
        values["nv_inference_count"] += 1
        values["nv_inference_exec_count"] += 1
        values["nv_inference_queue_duration_us"] += waited_s * 1e6
        values["nv_inference_compute_infer_duration_us"] += seconds * 1e6

    # ------------------------------------------------------------- boards

    def boards(self, here: Mapping[str, bool]) -> None:
        """Which boards are used."""
        for name, is_here in here.items():
            self._here.labels(name).set(is_here)
            self._losses.labels(name)  # shown from the beginning

    def lost(self, board: str) -> None:
        """A board is used no more."""
        self._losses.labels(board).inc()

    def told(self, board: str, status: Status) -> None:
        """What a board says of itself."""
        for name, (_, figure) in _OF_BOARDS.items():
            self._of_boards[name].labels(board).set(figure(status))

    def traced(self, board: str, share: Share) -> None:
        """Where a board's time went during an image."""
        for part in _PARTS:
            self._parts.labels(board, part).observe(getattr(share, f"{part}_s"))

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)


_OF_BOARDS: dict[str, tuple[str, Callable[[Status], float]]] = {
    "images": ("Images of which it has done its part", lambda status: status.images),
    "in_flight": ("Images that it works on", lambda status: status.in_flight),
    "compute_seconds": ("Seconds in which it ran segments", lambda status: status.compute_s),
    "refused_messages": ("Messages that were none of ours", lambda status: status.refused),
    "resident_bytes": (
        "Memory that its process holds", lambda status: status.machine.resident_bytes,
    ),
}  # fmt: skip
