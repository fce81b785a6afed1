"""Text from elsewhere, so that a terminal shows it and does nothing else."""

from __future__ import annotations

import re

_SPACE = re.compile(r"[\t\n\r]+")
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # what moves a cursor, sets a title, or begins such a sequence
    "\u2028\u2029\u202a-\u202e\u2066-\u2069"  # what breaks a line or turns its direction round
    "\ud800-\udfff]"  # halves of a character, which cannot be written at all
)


def printable(text: str) -> str:
    """A text in one line without control characters: each is a question mark."""
    if text.isprintable():  # as nearly all are, and this is quick
        return text
    return _CONTROL.sub("?", _SPACE.sub(" ", text))
