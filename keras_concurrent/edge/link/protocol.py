"""The number by which boards tell one client from the one before it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

MOST_IMAGES = 32
"""Images that a board works on at a time; one more, and the oldest is dropped."""


@dataclass
class Session:
    """A client's session: boards follow the client whose number is the greatest.

    Args:
        number: by default the clock's, so that of two clients that start together one is later.
    """

    number: int = field(default_factory=time.time_ns)

    def exceed(self, known: int) -> None:
        """Come after a session that boards know: its client's clock may have been ahead."""
        self.number = max(self.number, known + 1)
