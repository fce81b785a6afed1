"""Hands a bundle to boards: each gets the files it lacks, by content, and then switches."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.questions import Ask
from keras_concurrent.edge.link import answers, questions
from keras_concurrent.edge.link.protocol import MOST_MANIFEST_BYTES
from keras_concurrent.edge.manifest import MANIFEST
from keras_concurrent.errors import BoardError

_FILE_S = 60.0  # for one file on a slow link
_WITHDRAW_S = 2.0


@dataclass(frozen=True)
class Deployment:
    """What one board was sent.

    Args:
        board: its name.
        files: how many files it lacked.
        bytes: how many they have together.
    """

    board: str
    files: int
    bytes: int


def deploy(
    ask: Ask, bundle: Bundle, boards: Iterable[str], *, finish: bool = True
) -> tuple[Deployment, ...]:
    """Hand a bundle to boards.

    No board switches before every board has everything, so that a cable pulled in between leaves
    the old bundle in use on all of them.

    Args:
        ask: `keras_concurrent.edge.client.questions.Questions.ask` of a client of boards that
            listen.
        bundle: its files are checked before any is sent.
        boards: their names.
        finish: let images finish that other clients have on their way, for at most 10 s; otherwise
            they end in errors. What a client asks for after that is told to connect anew either
            way, since answers of another bundle are not what it waits for.

    Raises:
        BundleError: a file of the bundle was altered.
        BoardError: a board does not answer, or refuses; none has switched, or those named have.
    """
    bundle.verify()
    boards = tuple(boards)
    manifest = (bundle.path / MANIFEST).read_bytes()
    if len(manifest) > MOST_MANIFEST_BYTES:
        raise BoardError(f"{MANIFEST} is larger than a board takes: {len(manifest)} bytes")
    segments = {spec.sha256: name for name, spec in bundle.manifest.segments.items()}
    done: list[Deployment] = []
    try:
        for board in boards:
            lacking = ask(board, questions.Offer(manifest)).files
            if not set(lacking) <= segments.keys():
                raise BoardError(f"{board} asks for files that are not in the bundle")
            size = 0
            for sha256 in lacking:
                content = bundle.content(segments[sha256])
                ask(board, questions.File(sha256, content), timeout_s=_FILE_S)
                size += len(content)
            done.append(Deployment(board, len(lacking), size))
    except BaseException:  # also one who has lost patience: the boards keep nothing of it
        for board in boards[: len(done) + 1]:
            _withdraw(ask, board)
        raise
    _switch_all(ask, boards, questions.Switch(finish))
    return tuple(done)


def _withdraw(ask: Ask, board: str) -> None:
    with suppress(BoardError):  # it refused the offer, or is gone
        ask(board, questions.Offer(), timeout_s=_WITHDRAW_S)


def roll_back(ask: Ask, boards: Iterable[str], *, finish: bool = True) -> None:
    """Put the bundle before this one in use again on boards.

    Args:
        ask: `keras_concurrent.edge.client.questions.Questions.ask` of their client.
        boards: their names.
        finish: as of `deploy`.

    Raises:
        BoardError: a board does not answer, or has none; the others have switched.
    """
    _switch_all(ask, tuple(boards), questions.RollBack(finish))


def _switch_all(
    ask: Ask, boards: tuple[str, ...], switch: questions.Question[answers.InUse]
) -> None:
    faults, switched = [], []
    for board in boards:
        try:
            ask(board, switch, timeout_s=_FILE_S)
            switched.append(board)
        except BoardError as error:
            faults.append(str(error))
            _withdraw(ask, board)
    if faults:
        done = f"{', '.join(switched)} did switch" if switched else "no board switched"
        runs = ", ".join(f"{board} {_runs(ask, board)}" for board in boards)
        raise BoardError("; ".join((*faults, f"{done}: now {runs}")))


def _runs(ask: Ask, board: str) -> str:
    """What a board says that it runs: one that was asked to switch may have, and not said so."""
    try:
        sha256 = ask(board, questions.Ping(), timeout_s=_WITHDRAW_S).bundle_sha256
    except BoardError:
        return "does not say what it runs"
    return f"runs {sha256[:12]}" if sha256 else "runs nothing"
