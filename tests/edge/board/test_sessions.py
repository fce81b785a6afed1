"""Several clients of one board: whose turn it is, what they share, and how their images end."""

import gc
import itertools
import weakref

import numpy as np
import pytest

from keras_concurrent.edge.board import sessions as module
from keras_concurrent.edge.board.sessions import FINISH_S, MOST_CLIENTS, Sessions
from keras_concurrent.edge.board.status import Counts
from keras_concurrent.edge.board.work import Work
from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.complaints import Complaints
from keras_concurrent.edge.link.protocol import Failed, Tensor
from keras_concurrent.edge.placement import Program, Send
from keras_concurrent.edge.watch.bench import random_images, reference

A, B, C = 11, 22, 33  # sessions


class Desk:
    """A board without a network: what it sends is in a list, its clock is set by hand."""

    def __init__(self, bundle):
        self.bundle, self.sent, self.now_s = bundle, [], 0.0
        self.images = random_images(bundle, 4)
        self.workshop = Workshop()
        self.workshop.take(bundle, "pi3-1")
        ticks = itertools.count()
        self.works = []

        def begin(session):
            work = Work(
                "pi3-1", session, self.workshop.as_it_is(), self, Counts(),
                Complaints("pi3-1"), lambda: next(ticks),
            )  # fmt: skip
            self.works.append(work)
            return work

        self.sessions = Sessions(begin, self, lambda: self.now_s)

    def put(self, receiver, message, sent=None):
        content = bytes(getattr(message, "content", b""))
        if isinstance(message, Tensor):
            message = Tensor(message.session, message.image, message.route, message.tensor, content)
        self.sent.append((receiver, message))

    def meet(self, *sessions, segments=("model",), sender="client"):
        """Clients whose images this board recognises all by itself."""
        program = Program(segments, (Send("classes", "client"),))
        for session in sessions:
            work = self.sessions.served(session)
            for name in segments:
                self.workshop.load(name)
            needed = {t for s in segments for t in self.bundle.manifest.segments[s].inputs}
            work.engine.learn(0, program, dict.fromkeys(needed, sender))

    def ask(self, session, image, sender="client", index=0):
        number = self.bundle.manifest.tensor_numbers["image"]
        content = self.images[index].tobytes()
        self.sessions.accept(sender, Tensor(session, image, 0, number, content), 0.0)

    def work(self):
        while self.sessions.pending:
            self.sessions.step()

    @property
    def answered(self):
        return [(m.session, m.image) for _, m in self.sent if isinstance(m, Tensor)]

    @property
    def failed(self):
        return [(m.session, m.image, m.cause) for _, m in self.sent if isinstance(m, Failed)]


@pytest.fixture
def desk(bundle):
    return Desk(bundle)


def test_an_image_of_each_that_waits_has_its_turn(desk):
    desk.meet(A, B, C)
    for session, count in ((A, 4), (B, 2), (C, 1)):
        for image in range(count):
            desk.ask(session, image)
    desk.work()
    assert desk.answered == [(A, 0), (B, 0), (C, 0), (A, 1), (B, 1), (A, 2), (A, 3)]


def test_an_image_that_was_begun_is_done_before_the_next_clients(desk):
    order = [e.name for e in desk.bundle.placement("boards").predicted if e.kind == "run"]
    assert len(order) > 3
    desk.meet(A, B, segments=tuple(order))
    for image in range(2):
        desk.ask(A, image)
        desk.ask(B, image)
    desk.work()
    runs = sorted(
        (event.start_s, work.session, image)
        for work in desk.works
        for image in range(2)
        for event in work.notes.of(image)
        if event.kind == "run"
    )
    turns = [key for key, _ in itertools.groupby(runs, key=lambda run: run[1:])]
    assert turns == [(A, 0), (B, 0), (A, 1), (B, 1)]


def test_the_same_number_of_an_image_is_another_image_of_another_client(desk):
    desk.meet(A, B)
    desk.ask(A, 7, index=0)
    desk.ask(B, 7, index=1)
    desk.work()
    answers = {m.session: np.frombuffer(m.content, np.float32) for _, m in desk.sent}
    expected = reference(desk.bundle, desk.images[:2])
    for session, answer in zip((A, B), expected, strict=True):
        assert np.array_equal(answers[session], answer["classes"].ravel())


def test_what_one_client_drops_or_leaves_the_others_keep(desk):
    desk.meet(A, B, C)
    for session in (A, B, C):
        desk.ask(session, 1)
    desk.sessions.of(A).drop(1)
    desk.sessions.left(B)
    desk.sessions.left(99)  # never heard of
    desk.work()
    assert desk.answered == [(C, 1)]
    desk.ask(B, 2)  # by another link
    desk.work()
    assert desk.answered == [(C, 1), (B, 2)]
    assert desk.failed == []


def test_of_too_many_bytes_the_client_that_has_most_gets_no_more(desk, monkeypatch):
    size = desk.images[0].nbytes
    monkeypatch.setattr(module, "MOST_HELD_BYTES", 4 * size)
    desk.meet(A, B)
    for image in range(3):
        desk.ask(A, image)
    desk.ask(B, 0)
    assert desk.failed == []
    desk.ask(B, 1)
    ((session, image, cause),) = desk.failed
    assert (session, image) == (A, 2)  # its newest: the oldest has waited longest
    assert "MB of tensors for its clients, and no more" in cause
    desk.work()
    assert desk.answered == [(A, 0), (B, 0), (A, 1), (B, 1)]
    assert [work.held_bytes for work in desk.works] == [0, 0]


def test_one_image_may_be_as_large_as_it_is(desk, monkeypatch):
    monkeypatch.setattr(module, "MOST_HELD_BYTES", 1)
    desk.meet(A)
    desk.ask(A, 0)
    desk.work()
    assert desk.answered == [(A, 0)]


def test_for_one_client_too_many_the_one_is_forgotten_that_was_not_heard_of_for_longest(desk):
    for number in range(MOST_CLIENTS):
        desk.now_s = float(number)
        desk.meet(1000 + number)
    desk.now_s = 100.0
    desk.sessions.accept("client", Tensor(1000, 1, 0, 0), 100.0)  # heard of again
    desk.ask(1001, 5)
    desk.sessions._heard_s[1001] = 1.0
    desk.meet(A)
    assert desk.sessions.of(1000) is not None
    assert desk.sessions.of(1001) is None
    desk.ask(1001, 6)
    causes = {image: cause for session, image, cause in desk.failed if session == 1001}
    assert causes.keys() == {5, 6}
    assert all("connect anew" in cause for cause in causes.values())


def test_when_another_bundle_comes_images_on_their_way_finish_and_new_ones_are_told(desk):
    desk.meet(A)
    desk.ask(A, 1, index=1)
    desk.sessions.exchange(finish=True)
    desk.ask(A, 2)
    desk.meet(B)  # a client of the new bundle
    desk.ask(B, 1)
    desk.work()
    assert set(desk.answered) == {(A, 1), (B, 1)}
    assert desk.failed == [(A, 2, "its bundle was exchanged: connect anew")]
    desk.now_s = FINISH_S
    desk.sessions.look()
    assert len(list(desk.sessions)) == 2  # the old bundle is let go of


def test_what_was_let_go_of_is_no_longer_in_memory(desk):
    """A third bundle may need the memory of the first."""
    desk.meet(A)
    desk.ask(A, 1)
    desk.work()  # so that it is the one whose turn it was last
    desk.sessions.exchange(finish=True)
    before = weakref.ref(desk.works.pop(0))
    assert before() is not None
    desk.sessions.end_finishing()
    gc.collect()
    assert before() is None


def test_a_board_that_has_switched_still_does_its_part_for_those_that_have_not(desk):
    desk.meet(A, sender="pi3-2")
    desk.sessions.exchange(finish=True)
    desk.ask(A, 1, sender="pi3-2")
    desk.work()
    assert desk.answered == [(A, 1)]


def test_what_has_not_finished_in_time_is_told_and_at_once_where_asked(desk):
    desk.meet(A)
    for moment, finish in ((FINISH_S, True), (FINISH_S, False)):
        desk.sent.clear()
        desk.meet(A)
        desk.ask(A, 5)
        desk.sessions.exchange(finish=finish)
        if finish:
            assert desk.failed == []
            desk.now_s += moment
            desk.sessions.look()
        assert desk.failed == [(A, 5, "its bundle was exchanged: connect anew")]
        desk.work()
        assert desk.answered == []
