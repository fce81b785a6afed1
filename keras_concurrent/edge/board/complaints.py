"""What a board has against others: logged once, however often it comes."""

from __future__ import annotations

import logging

_log = logging.getLogger(__name__)
_MOST = 256


class Complaints:
    """The complaints of one board.

    Args:
        board: its name.
    """

    def __init__(self, board: str) -> None:
        self._board = board
        self._made: set[tuple[str, str]] = set()

    def __call__(self, sender: str, message: str, fault: str = "") -> None:
        """Log once for each sender and fault.

        Args:
            sender: of whom.
            message: what it did.
            fault: what the message is an instance of; by default itself.
        """
        key = (sender, fault or message)
        if key not in self._made and len(self._made) < _MOST:
            self._made.add(key)
            _log.warning("%s: %s %s", self._board, sender, message)
