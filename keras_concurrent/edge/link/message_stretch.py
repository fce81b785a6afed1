"""Messages of a computer slower than this machine, at either end."""

from __future__ import annotations

import time

from keras_concurrent.network import SERVER_CORE_S


class MessageStretch:
    """Makes each message take as long as it takes of the board's processor.

    What this machine does for it, in whichever thread, takes the rest.

    Args:
        board: processor seconds of a message at the board, or at the client that is on it, and what
            each byte adds.
        here: the same of this machine.
    """

    def __init__(
        self, board: tuple[float, float], here: tuple[float, float] = SERVER_CORE_S
    ) -> None:
        self._board, self._here = board, here
        self._taken_s = 0.0

    def taken_s(self) -> float:
        """What messages have taken so far, in seconds."""
        return self._taken_s

    def handled(self, size: int) -> None:
        """A message of so many bytes was taken in, or is about to be sent."""
        takes_s, here_s = (fixed_s + size * byte_s for fixed_s, byte_s in (self._board, self._here))
        self._taken_s += takes_s
        time.sleep(max(0.0, takes_s - here_s))
