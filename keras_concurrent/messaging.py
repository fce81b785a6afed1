"""What messages take of a processor, at a board or at the client."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any, TypeVar

from keras_concurrent.errors import ClusterError

_MOST = sys.float_info.max
_Self = TypeVar("_Self", bound="Messaging")


class Messaging:
    """Whoever sends messages and takes them in; a dataclass that has these fields.

    Args:
        message_ms: processor time of sending a message, or of taking one in, its bytes aside.
        message_gb_per_s: gigabytes of messages that it sends or takes in a second of that;
            ``None`` where ``message_ms`` says it all.
        encryption_gb_per_s: gigabytes that it encrypts or decrypts a second, where endpoints are
            ``tls``; ``None`` where that costs nothing.
    """

    message_ms: float
    message_gb_per_s: float | None
    encryption_gb_per_s: float | None

    def check_messaging(self, where: str) -> None:
        """Raise ClusterError for a value out of range; ``where`` says whose."""
        check_number(where, "message_ms", self.message_ms, positive=False)
        for key in ("message_gb_per_s", "encryption_gb_per_s"):
            if getattr(self, key) is not None:
                check_number(where, key, getattr(self, key), positive=True)

    def message_costs_s(self, *, encrypted: bool) -> tuple[float, float]:
        """Processor seconds of a message at this end of it, and what each byte adds."""
        rates = (self.message_gb_per_s, self.encryption_gb_per_s if encrypted else None)
        return self.message_ms / 1e3, sum(1 / (rate * 1e9) for rate in rates if rate is not None)

    def cheaper_messages(self: _Self, times: float) -> _Self:
        """The same, whose messages take so many times less of its processor."""
        cheaper: dict[str, Any] = {"message_ms": self.message_ms / times}
        for key in ("message_gb_per_s", "encryption_gb_per_s"):
            rate = getattr(self, key)
            cheaper[key] = None if rate is None else times * rate
        return dataclasses.replace(self, **cheaper)  # type: ignore[type-var] # see above


def check_number(where: str, key: str, value: object, *, positive: bool) -> None:
    """Raise ClusterError unless a value is a finite number, above 0 where it must be positive."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and (value > 0 or (value == 0 and not positive)) and value <= _MOST):  # type: ignore[operator] # a number, or not asked
        bound = "above 0" if positive else "0 or more"
        raise ClusterError(f"{where}: {key} must be a number {bound}, got {value!r}")
