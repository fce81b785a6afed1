"""The client's own hands, for when no board is left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.manifest import WHOLE
from keras_concurrent.errors import BundleError, MissingExtraError
from keras_concurrent.interpreter import Array, Segment

_log = logging.getLogger(__name__)


class OwnInterpreter:
    """The uncut model in this process, loaded when it is first needed.

    Args:
        bundle: whose model.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._model: Segment | None = None
        self._thread = ThreadPoolExecutor(1, "client-compute")

    def compute(
        self,
        values: Mapping[str, Array],
        done: Callable[[dict[str, Array]], None],
        failed: Callable[[str], None],
    ) -> None:
        """Compute in a thread of its own.

        Args:
            values: the inputs.
            done: told the outputs.
            failed: told why there are none.
        """

        def work() -> None:
            try:
                if self._model is None:
                    _log.warning("no board is left: this machine computes itself")
                    self._model = Segment(self._bundle.content(WHOLE), name="the uncut model")
                results = self._model.run([values[name] for name in self._model.input_names])
                outputs = dict(zip(self._model.output_names, results, strict=True))
            except (MissingExtraError, BundleError, RuntimeError, ValueError) as error:
                failed(f"no board is left, and this machine cannot compute: {error}")
            else:
                done(outputs)

        self._thread.submit(work)

    def close(self) -> None:
        """Begin nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
