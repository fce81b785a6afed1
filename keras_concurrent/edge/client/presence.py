"""Which boards are there, and which of them reach each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from keras_concurrent.board import CLIENT


class Presence:
    """What a client knows of a cluster's boards.

    Args:
        boards: their names; none of them is known to be there.
    """

    def __init__(self, boards: Collection[str]) -> None:
        self._boards = frozenset(boards)
        self._absent = set(boards)
        self._unreached: dict[str, frozenset[str]] = {}

    @property
    def absent(self) -> frozenset[str]:
        """The boards that are not there."""
        return frozenset(self._absent)

    def here(self, board: str) -> None:
        """A board has appeared."""
        self._absent.discard(board)

    def gone(self, board: str) -> None:
        """A board has disappeared."""
        self._absent.add(board)
        self._unreached.pop(board, None)

    def links(self, board: str, unreached: Iterable[str]) -> None:
        """A board tells whom it does not reach; names that are none of our boards do not count."""
        self._unreached[board] = self._boards.intersection(unreached) - {board}

    @property
    def out(self) -> frozenset[str]:
        """The boards to leave out: absent, or not reaching another, see `avoid`."""
        cuts = {
            frozenset((board, other))
            for board, others in self._unreached.items()
            for other in others
            if board not in self._absent and other not in self._absent
        }
        return avoid(self._absent, sorted(cuts, key=sorted))


def avoid(absent: Collection[str], cuts: Iterable[frozenset[str]]) -> frozenset[str]:
    """The boards to leave out: those absent, and one of each two that do not reach each other.

    Of two, the one with more cut links is left out; of equals, the later by name. Who does not
    reach the client is left out anyway.
    """
    out = set(absent)
    out.update(name for cut in cuts if CLIENT in cut for name in cut - {CLIENT})
    open_cuts = [cut for cut in cuts if not cut & out and CLIENT not in cut]
    while open_cuts:
        count: dict[str, int] = {}
        for cut in open_cuts:
            for name in cut:
                count[name] = count.get(name, 0) + 1
        worst = max(count, key=lambda name: (count[name], name))
        out.add(worst)
        open_cuts = [cut for cut in open_cuts if worst not in cut]
    return frozenset(out - {CLIENT})
