"""Takes what is deployed to a board, and puts it in use."""

from __future__ import annotations

import time
from typing import Protocol

from keras_concurrent.edge.board.store import Store
from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.link import answers, questions
from keras_concurrent.errors import BundleError

_HOLD_S = 60.0  # for which a client that deploys may say nothing: a file takes as long


class Begin(Protocol):
    """Makes a board begin anew with a bundle."""

    def __call__(self, bundle: Bundle, *, finish: bool) -> None:
        """See `keras_concurrent.edge.link.questions.Switch`."""


class Depot:
    """Takes what is deployed to a board, and puts it in use.

    Args:
        board: its name.
        store: where bundles are kept; without it none can be deployed.
        workshop: holds what the board runs.
        begin: makes the board begin anew with a bundle, with ``finish`` of
            `keras_concurrent.edge.link.questions.Switch`.
    """

    def __init__(
        self,
        board: str,
        store: Store | None,
        workshop: Workshop,
        begin: Begin,
    ) -> None:
        self._board, self._workshop, self._begin = board, workshop, begin
        self.store = store
        """Where bundles are kept."""
        self._deployer: tuple[int, float] | None = None  # its session, and when it spoke last

    def largest(self, sha256: str) -> int:
        """The bytes of a file that is lacking; 0 for any other."""
        return self.store.largest(sha256) if self.store else 0

    def answer(
        self, question: questions.Offer | questions.File | questions.Switch | questions.RollBack,
        session: int,
    ) -> answers.Lacking | answers.FileKept | answers.InUse:  # fmt: skip
        """Do what a client asks that deploys; one client at a time may.

        Args:
            question: an offer without a manifest withdraws the one before.
            session: of the client.

        Raises:
            BundleError: there is no store, what came is wrong, or another client deploys.
            OSError: the disk is full, or fails.
        """
        if self.store is None:
            raise BundleError("this board has no --store to keep bundles in")
        self._admit(session)
        try:
            return self._answer(self.store, question, session)
        except OSError:  # no space left, as a rule: do not keep the rest of it taken
            self.store.withdraw()
            self._deployer = None
            raise

    def release(self) -> None:
        """A client has gone: if it was the one that deploys, another may."""
        if self._deployer is not None:
            self._deployer = self._deployer[0], -_HOLD_S

    def _admit(self, session: int) -> None:
        deployer, now = self._deployer, time.monotonic()
        if deployer is not None and deployer[0] != session and now < deployer[1] + _HOLD_S:
            raise BundleError(
                "another client is deploying to this board: try again when it has ended"
            )
        if deployer is not None and deployer[0] == session:
            self._deployer = session, now

    def _answer(
        self, store: Store,
        question: questions.Offer | questions.File | questions.Switch | questions.RollBack,
        session: int,
    ) -> answers.Lacking | answers.FileKept | answers.InUse:  # fmt: skip
        if isinstance(question, questions.Offer):
            self._deployer = None
            if not question.content:
                store.withdraw()
                return answers.Lacking(())
            lacking = store.offer(question.content)
            self._workshop.check_memory(store.offered, self._board)
            self._deployer = session, time.monotonic()
            return answers.Lacking(lacking)
        switch = isinstance(question, questions.Switch)
        if self._deployer is None and not isinstance(question, questions.RollBack):
            raise BundleError("no bundle was offered, or it was withdrawn: deploy again")
        if isinstance(question, questions.File):
            store.take(question.sha256, question.content)
            return answers.FileKept()
        bundle = store.assembled() if switch else store.before()
        with store.using(bundle):  # what could not be loaded is never started with
            if bundle.sha256 != self._workshop.sha256:
                self._begin(bundle, finish=question.finish)
        self._deployer = None
        return answers.InUse(bundle.sha256)
