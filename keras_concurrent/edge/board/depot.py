"""Takes what is deployed to a board, and puts it in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_concurrent.edge.board.store import Store
from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.link.transport import Packet
from keras_concurrent.errors import BundleError


class Depot:
    """What stands between the client that deploys, and the board.

    Args:
        board: its name.
        store: where bundles are kept; without it none can be deployed.
        workshop: of the board.
        begin: makes the board begin anew with a bundle.
    """

    def __init__(
        self,
        board: str,
        store: Store | None,
        workshop: Workshop,
        begin: Callable[[Bundle], None],
    ) -> None:
        self._board, self._workshop, self._begin = board, workshop, begin
        self.store = store
        """Where bundles are kept."""

    def largest(self, sha256: str) -> int:
        """The bytes of a file that is lacking; 0 for any other."""
        return self.store.largest(sha256) if self.store else 0

    def keep(self, packet: Packet) -> Any:
        """Do what a client asks that deploys; the answer.

        Raises:
            BundleError: this is nothing that can be asked, or there is no store, or what came is
                wrong.
        """
        what, _, sha256 = packet.name.partition(":")
        if what not in ("offer", "file", "switch", "roll_back"):
            raise BundleError(f"nothing is known of {packet.name[:40]!r}")
        if self.store is None:
            raise BundleError("this board has no --store to keep bundles in")
        if what == "offer":
            lacking = self.store.offer(packet.payload)
            self._workshop.check_memory(self.store.offered, self._board)
            return lacking
        if what == "file":
            self.store.take(sha256, packet.payload)
            return {}
        bundle = self.store.assembled() if what == "switch" else self.store.before()
        if bundle.sha256 != self._workshop.sha256:
            self._begin(bundle)
        self.store.use(bundle)  # what could not be loaded is never started with
        return {"bundle_sha256": bundle.sha256}
