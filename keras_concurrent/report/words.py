"""Names and figures as tables and pictures write them."""

from __future__ import annotations

import re


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts ``pi4-10`` after ``pi4-2``."""
    return tuple(
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    )


def short(segment: str) -> str:
    """A segment's number, or its name where it has another."""
    match = re.fullmatch(r"(?:segment|vertex)_0*(\d+)", segment)
    return match.group(1) if match else segment


def milliseconds(seconds: float) -> str:
    """Three digits and the unit: ``"9.87 ms"``, ``"28.7 ms"``."""
    value = seconds * 1e3
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f} ms"


def size(count: float) -> str:
    """Bytes in decimal units: ``"27.7 kB"``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
