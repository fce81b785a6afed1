"""The door of a board: callers meet `keras_concurrent.edge.link.doorkeeper` before they meet Zenoh.

The doorkeeper is a process of its own, so that who is let in hangs on no thread of the board's, and
strangers use up none of its descriptors. Should it end, another takes its place.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
from contextlib import ExitStack

from keras_concurrent.children import Child
from keras_concurrent.edge.link.doorkeeper import OPEN
from keras_concurrent.errors import TransportError

_log = logging.getLogger(__name__)
_ROOMS = 16
_GRACE_S = 2.0
_AGAIN_S = 0.1


class Door:
    """Keeps a doorkeeper at work.

    Args:
        name: the board's.
        host: where callers come, an address of this machine.
        port: of it.

    Raises:
        TransportError: the port cannot be opened.
    """

    def __init__(self, name: str, host: str, port: int) -> None:
        self._name = name
        self.rooms = _free_ports()
        """Ports of the loopback interface at which callers are to be met."""
        self._command = [
            sys.executable, "-m", "keras_concurrent.edge.link.doorkeeper", host, str(port),
            *map(str, self.rooms),
        ]  # fmt: skip
        self._closed = threading.Event()
        self._keeper = self._open()
        self._watch = threading.Thread(target=self._keep, name="door", daemon=True)
        self._watch.start()

    @property
    def process_id(self) -> int:
        """Of the doorkeeper."""
        return self._keeper.id

    def _open(self) -> Child:
        keeper = Child(self._command)
        with keeper.stdout as stdout:  # it says no more
            said = stdout.readline().decode("utf-8", "replace").strip()
        if said != OPEN:
            keeper.end(_GRACE_S)
            raise TransportError(said or "the doorkeeper does not start")
        return keeper

    def _keep(self) -> None:
        """Have another doorkeeper when one ends."""
        while True:
            self._keeper.wait()
            if self._closed.wait(_AGAIN_S):
                return
            _log.warning("%s: its doorkeeper has ended, another begins", self._name)
            self._keeper.end(_GRACE_S)
            try:
                self._keeper = self._open()
            except (OSError, TransportError) as error:
                _log.warning("%s cannot be called: %s", self._name, error)
            if self._closed.is_set():
                self._keeper.end(_GRACE_S)

    def close(self) -> None:
        """Let nobody in any more."""
        self._closed.set()
        self._keeper.end(_GRACE_S)
        self._watch.join(_GRACE_S)


def _free_ports() -> list[int]:
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(_ROOMS)]
        for one in opened:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in opened]
