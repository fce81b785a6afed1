"""Questions and their answers, and boards that owe one."""

import dataclasses
import time

import pytest

from keras_concurrent.edge.client.questions import Questions, UnansweredError
from keras_concurrent.edge.client.suspects import Suspects
from keras_concurrent.edge.link import answers, questions
from keras_concurrent.edge.link.protocol import (
    PROTOCOL_VERSION,
    Answer,
)
from keras_concurrent.edge.placement import Program
from keras_concurrent.errors import BoardError, ProtocolError


class Sent:
    """Instead of an outbox: what was put in it."""

    def __init__(self):
        self.messages = []

    def put(self, receiver, message):
        self.messages.append(message)


IDENTITY = answers.Identity("pi3-1", "", None, 0.0, ())


def test_a_board_cannot_answer_for_another(bundle):
    sent = Sent()
    asked = Questions(sent, 7, time.monotonic)
    future = asked.put("pi3-1", questions.RollBack())
    answer = Answer(7, sent.messages[0].number, answers.InUse("0" * 64))
    with pytest.raises(BoardError, match="pi3-2 answers what pi3-1 was asked"):
        asked.answered("pi3-2", answer)
    assert not future.done()
    asked.answered("pi3-1", answer)
    assert future.result(0) == answers.InUse("0" * 64)
    other = asked.put("pi3-1", questions.RollBack())
    asked.answered("pi3-1", Answer(7, sent.messages[1].number, answers.FileKept()))
    with pytest.raises(UnansweredError, match="'roll back': expected InUse, got FileKept"):
        other.result(0)


def test_who_is_left_out_is_reported_once_and_comes_back_with_its_answer():
    sent = Sent()
    asked = Questions(sent, 7, time.monotonic)
    suspects = Suspects(asked)
    suspects.ask(["pi3-1"], 10.0)
    suspects.ask(["pi3-1"], 10.3)  # is being asked already
    assert len(sent.messages) == 1
    assert suspects.look(10.4) == ([], [])
    assert suspects.look(10.6) == (["pi3-1"], [])
    assert suspects.look(10.7) == suspects.look(99.0) == ([], [])
    suspects.ask(["pi3-1"], 99.0)
    asked.answered("pi3-1", Answer(7, sent.messages[0].number, IDENTITY))
    assert suspects.look(99.1) == ([], ["pi3-1"])
    assert suspects.look(99.2) == ([], [])


def test_who_is_left_out_is_asked_again_because_messages_may_be_lost():
    sent = Sent()
    asked = Questions(sent, 7, time.monotonic)
    suspects = Suspects(asked)
    suspects.ask(["pi3-1"], 10.0)  # lost
    assert suspects.look(10.5) == (["pi3-1"], [])
    assert len(sent.messages) == 2
    assert suspects.look(11.4) == ([], [])
    assert len(sent.messages) == 2
    assert suspects.look(11.5) == ([], [])
    assert len(sent.messages) == 3
    asked.answered("pi3-1", Answer(7, sent.messages[2].number, IDENTITY))
    assert suspects.look(11.6) == ([], ["pi3-1"])
    for now in range(12, 1000):
        assert suspects.look(now) == ([], [])
    assert len(sent.messages) == 3


def test_a_board_that_answers_within_the_lease_is_no_suspect():
    sent = Sent()
    asked = Questions(sent, 7, time.monotonic)
    suspects = Suspects(asked)
    suspects.ask(["pi3-1", "pi3-2"], 10.0)
    asked.answered("pi3-1", Answer(7, sent.messages[0].number, IDENTITY))
    suspects.clear("pi3-2")  # it has ended
    assert suspects.look(11.0) == ([], [])


def test_a_board_that_loads_segments_may_be_silent_for_longer():
    sent = Sent()
    asked = Questions(sent, 7, time.monotonic)
    suspects = Suspects(asked)
    taken = asked.put("pi3-1", questions.Route(0, "", Program((), ()), {}, ()))
    suspects.ask(["pi3-1", "pi3-2"], 10.0)
    assert suspects.look(15.0) == (["pi3-2"], [])
    asked.answered("pi3-1", Answer(7, sent.messages[0].number, answers.RouteTaken(())))
    assert taken.done()
    assert suspects.look(20.1) == (["pi3-1"], [])  # but not for ever


def test_a_clock_that_is_ahead_is_found_to_be():
    """A board answers at once: its clock is read in the middle of asking."""
    now = 1000.0

    def clock():
        nonlocal now
        now += 0.25
        return now

    class Board:
        def put(self, receiver, ask):
            identity = dataclasses.replace(IDENTITY, clock_s=now + 0.125 + 3600.0)
            asked.answered(receiver, Answer(7, ask.number, identity))

    asked = Questions(Board(), 7, clock)
    assert asked.clock_offset_s("pi3-1") == pytest.approx(3600.0)


def test_a_board_that_speaks_another_version_is_not_asked():
    asked = Questions(Sent(), 7, time.monotonic)
    asked.other_protocols["pi3-1"] = 1
    message = f"board pi3-1 speaks protocol 1, this client {PROTOCOL_VERSION}: install the same"
    with pytest.raises(ProtocolError, match=message):
        asked.ask("pi3-1", questions.Ping())
    asked.check_protocol("pi3-2")


def test_an_answer_that_is_malformed_ends_the_waiting():
    asked = Questions(Sent(), 7, time.monotonic)
    future, other = asked.put("pi3-1", questions.Ping()), asked.put("pi3-2", questions.Ping())
    asked.malformed("pi3-1", "Identity lacks clock_s")
    with pytest.raises(UnansweredError, match=r"not understood .* 'ping': Identity lacks clock_s"):
        future.result(0)
    assert not other.done()
