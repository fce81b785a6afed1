"""What a participant has against others: logged once, however often it comes."""

from __future__ import annotations

import logging

_log = logging.getLogger(__name__)
_MOST = 256


class Complaints:
    """The complaints of one participant.

    Args:
        name: the participant's, a board's or the client's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._made: set[tuple[str, str]] = set()

    def __call__(self, other: str, message: str, fault: str = "") -> None:
        """Log once for each fault of another.

        Args:
            other: who did it.
            message: what it did.
            fault: what the message is an instance of; by default itself.
        """
        key = (other, fault or message)
        if key not in self._made and len(self._made) < _MOST:
            self._made.add(key)
            _log.warning("%s: %s %s", self._name, other, message)
