"""Takes what comes by direct links, in the thread that wants it.

Whoever waits for the next packet reads the links itself. While that thread computes for long it can
leave the reading to another, which otherwise sleeps, see `Intake.attended`.
"""

from __future__ import annotations

import selectors
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from keras_concurrent.edge.link.bell import Bell
from keras_concurrent.edge.link.direct_link import DirectLink, Memory
from keras_concurrent.edge.link.frames import Framed
from keras_concurrent.edge.link.protocol import content_of
from keras_concurrent.edge.link.transport import Packet
from keras_concurrent.errors import ProtocolError

MOST_UNREAD_BYTES = 1 << 26
"""More than this is not taken in advance: it waits at its senders."""

Admit = Callable[[DirectLink, Framed, int], Memory]
Packed = Callable[[DirectLink, Framed, memoryview], Packet]


class Intake:
    """The links that are read, and the packets that came by them.

    Args:
        admit: memory for a message's content, or ``None`` where it is to be forgotten.
        packed: a message that is whole, as a packet.
    """

    def __init__(self, admit: Admit, packed: Packed) -> None:
        self._admit, self._packed = admit, packed
        self.packets: deque[Packet] = deque()
        """What has come and was not fetched yet."""
        self.ended: deque[tuple[DirectLink, Exception]] = deque()
        """Links that are of no more use, and why; they are still to be removed."""
        self._bell = Bell()
        """Wakes the owner."""
        self._links: set[DirectLink] = set()
        self._more: set[DirectLink] = set()  # may have more than a selector knows
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._lock = threading.Lock()  # of whoever reads
        self._attending = threading.Event()
        self._attendants = selectors.DefaultSelector()
        self._attendants_bell = Bell()
        self._attendants.register(self._attendants_bell, selectors.EVENT_READ)
        self._fault: MemoryError | None = None
        self._closed = False
        self._attendant = threading.Thread(target=self._attend, name="attendant", daemon=True)
        self._attendant.start()

    def wake(self) -> None:
        """End the owner's `look` now."""
        self._bell.ring()

    def add(self, link: DirectLink) -> None:
        """Read a link from now on."""
        with self._lock:
            self._links.add(link)
            for selector in (self._selector, self._attendants):
                selector.register(link, selectors.EVENT_READ)

    def remove(self, link: DirectLink) -> None:
        """Read a link no more, and close it."""
        with self._lock:
            if link in self._links:
                self._forget(link)
        link.close()

    def look(self, timeout_s: float) -> None:
        """Wait until something comes, at most for ``timeout_s``, and take it.

        Raises:
            MemoryError: there is none for what comes.
        """
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault
        found = self._selector.select(0.0 if self._more else max(0.0, timeout_s))
        links = [key.fileobj for key, _ in found if isinstance(key.fileobj, DirectLink)]
        if len(links) < len(found):
            self._bell.silence()
        if self._more:
            links += self._more.difference(links)
        if links:
            self._read(links)

    def _read(self, links: Iterable[DirectLink]) -> None:
        with self._lock:
            for link in links:
                if link not in self._links:
                    continue
                more = False
                try:
                    more = link.read(self._admit, self._take)
                except (OSError, ProtocolError) as error:
                    self._forget(link)
                    self.ended.append((link, error))
                (self._more.add if more else self._more.discard)(link)

    def _take(self, link: DirectLink, message: Framed, content: memoryview) -> None:
        self.packets.append(self._packed(link, message, content))

    def _forget(self, link: DirectLink) -> None:
        self._links.discard(link)
        self._more.discard(link)
        for selector in (self._selector, self._attendants):
            selector.unregister(link)

    # ------------------------------------------------------------- while the owner computes

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Meanwhile another thread reads."""
        self._attending.set()
        try:
            yield
        finally:
            self._attending.clear()
            self._attendants_bell.ring()

    def _attend(self) -> None:
        while self._attending.wait() and not self._closed:
            found = self._attendants.select()
            self._attendants_bell.silence()
            links = [key.fileobj for key, _ in found if isinstance(key.fileobj, DirectLink)]
            try:
                if links:
                    self._read(links)
            except MemoryError as error:
                self._fault = error
            if sum(len(content_of(packet.message)) for packet in list(self.packets)) > (
                MOST_UNREAD_BYTES
            ):
                self._attending.clear()  # the rest waits until the owner has done something
            if links and not self._attending.is_set():
                self._bell.ring()  # the owner may be waiting already for what was just read

    def close(self) -> None:
        """End all links."""
        self._closed = True
        self._attending.set()
        self._attendants_bell.ring()
        self._attendant.join(timeout=5)
        for link in [*self._links, *(link for link, _ in self.ended)]:
            self.remove(link)
        for selector in (self._selector, self._attendants):
            selector.close()
        self._bell.close()
        self._attendants_bell.close()
