"""More images than can be answered in time: what can be done is done, the rest is told early."""

import random
import time

import numpy as np
import pytest
from in_process import running

from keras_concurrent.edge.board.stretch import Stretch
from keras_concurrent.edge.client.admission import Admission
from keras_concurrent.edge.client.instructions import Answer, Begin, Compute, Fail, Forget, Offer
from keras_concurrent.edge.client.requests import Requests
from keras_concurrent.edge.placement import Placement, Program, Send
from keras_concurrent.edge.watch.bench import random_images, reference
from keras_concurrent.errors import BoardError


def test_so_many_images_fit_as_are_answered_one_after_another_in_time():
    admission = Admission()
    assert admission.expected_s(31) == 0.0  # nothing is known yet
    for number in range(1, 4):
        admission.answered(begun_s=0.0, now_s=2.0 * number)  # three begun at once, 2 s apart
    assert admission.expected_s(0) == pytest.approx(1.25 * 2)
    assert admission.expected_s(2) == pytest.approx(1.25 * 3 * 2)


def test_no_image_is_expected_sooner_than_the_quickest_was_answered():
    admission = Admission()
    for number in range(40):  # four stages of 1 s, an image in each
        admission.answered(begun_s=float(number), now_s=number + 4.0)
    assert admission.expected_s(0) == pytest.approx(1.25 * 4)
    assert admission.expected_s(3) == pytest.approx(1.25 * 4, rel=0.01)
    assert admission.expected_s(7) == pytest.approx(1.25 * 8, rel=0.01)


def test_what_is_not_answered_takes_longer_than_was_thought():
    admission = Admission()
    admission.answered(0.0, 1.0)
    for _ in range(20):
        admission.missed(begun_s=0.0, now_s=6.0, before=1)  # 3 s each, at least
    assert admission.expected_s(0) == pytest.approx(1.25 * 3, rel=0.01)
    admission.missed(begun_s=0.0, now_s=6.0, before=9)  # which says nothing new
    assert admission.expected_s(0) == pytest.approx(1.25 * 3, rel=0.01)


def test_another_route_is_as_much_slower_as_planned():
    admission = Admission()
    admission.plan(0.2)
    admission.answered(0.0, 0.5)
    admission.plan(0.6)
    assert admission.expected_s(1) == pytest.approx(1.25 * 2 * 1.5)


# ---------------------------------------------------------------- a simulated board


def plan(out):
    boards = [board for board in "ab" if board not in out]
    if not boards:
        return None
    programs = {
        b: Program(("s",), (Send("y", "client"),) if b == boards[0] else ()) for b in boards
    }
    return Placement(programs, (Send("x", boards[0]),), 1.0, ())


class Simulated:
    """A client whose images take their time one after another, at boards or by its own hand."""

    def __init__(self, takes_s, boards="ab"):
        self.takes_s, self.now_s = takes_s, 0.0
        self.queue, self.running = [], None
        self.ended, self.asked_s = {}, {}
        self.made = Requests("ab", ["y"], plan, clock=lambda: self.now_s)
        for board in boards:
            self.made.here(board)
        self.do(self.made.start())

    def do(self, instructions):
        instructions = list(instructions)
        while instructions:
            instruction = instructions.pop(0)
            if isinstance(instruction, Offer):
                instructions += self.made.acknowledged(instruction.board, instruction.route)
            elif isinstance(instruction, Begin):
                self.queue.append(("image", instruction.image))
            elif isinstance(instruction, Compute):
                self.queue.append(("request", instruction.request))
            elif isinstance(instruction, Forget):
                gone = ("image", instruction.image)
                self.queue = [item for item in self.queue if item != gone]
                if self.running and self.running[1] == gone:
                    self.running = None
            elif isinstance(instruction, (Answer, Fail)):
                self.end(instruction.request, isinstance(instruction, Answer))

    def end(self, request, answered):
        assert request not in self.ended
        self.ended[request] = answered, self.now_s - self.asked_s[request]

    def ask(self, request, within_s):
        self.asked_s[request] = self.now_s
        self.do(self.made.ask(request, self.now_s, self.now_s + within_s))

    def until(self, moment_s):
        """Let time pass: the board works, and what is due is looked at."""
        while True:
            if self.running is None and self.queue:
                self.running = self.now_s + self.takes_s(), self.queue.pop(0)
            due = self.made.next_deadline()
            done = self.running[0] if self.running else float("inf")
            following = min(done, due if due is not None else float("inf"))
            if following > moment_s:
                self.now_s = max(self.now_s, moment_s)
                return
            self.now_s = max(self.now_s, following)
            if done <= self.now_s:
                kind, number = self.running[1]
                self.running = None
                if kind == "image":
                    self.do(self.made.arrived(number, "y"))
                else:
                    waited, then = self.made.computed(number)
                    if waited:
                        self.end(number, True)
                    self.do(then)
            else:
                self.do(self.made.tick(self.now_s))


@pytest.mark.parametrize("boards", ["ab", ""])
@pytest.mark.parametrize("within", [1.5, 2.5, 10.0])
@pytest.mark.parametrize("load", [0.7, 2.0, 5.0])
def test_at_more_than_can_be_done_nearly_all_that_can_be_is_done(boards, within, load):
    rng = random.Random(1)
    simulated = Simulated(lambda: rng.uniform(0.9, 1.1), boards)
    count = 400
    for request in range(count):
        simulated.until(request / load)
        if simulated.made.waiting < 32:
            simulated.ask(request, within)
    simulated.until(count / load + 100)
    assert simulated.ended.keys() == simulated.asked_s.keys()
    answered = [took for right, took in simulated.ended.values() if right]
    assert all(took <= within + 1e-9 for _, took in simulated.ended.values())  # also if told
    assert len(answered) >= 0.8 * min(1.0, load) * count / load


def test_what_takes_three_times_as_long_as_before_is_noticed():
    took = [1.0]
    simulated = Simulated(lambda: took[0])
    for request in range(600):
        simulated.until(request / 2.0)
        took[0] = 1.0 if request < 200 else 3.0
        simulated.ask(request, 5.0)
    late = [right for number, (right, _) in simulated.ended.items() if number >= 300]
    assert sum(late) >= 0.8 * 300 / 2.0 / 3.0


def test_images_that_were_on_their_way_begin_anew_as_far_as_there_is_time():
    simulated = Simulated(lambda: 1.0)
    for request in range(2):  # so that it is known what one takes
        simulated.ask(request, 100.0)
    simulated.until(50.0)
    for request in range(2, 6):
        simulated.ask(request, 6.0)
    simulated.until(52.5)
    simulated.do(simulated.made.gone("a"))  # while the third is worked on
    simulated.until(100.0)
    answered = [number for number, (right, _) in simulated.ended.items() if right]
    assert answered[:5] == [0, 1, 2, 3, 4]
    assert set(simulated.ended) == set(range(6))


# ---------------------------------------------------------------- boards in this process


class Slow(Stretch):
    """Each segment takes 0.2 s."""

    def run(self, name, step):
        time.sleep(0.2)
        return step()


def test_a_stream_with_deadlines_for_one_image_at_a_time_is_answered_whole(bundle):
    """With four in flight each would wait for three others, and come too late."""
    images = random_images(bundle, 12)
    expected = reference(bundle, images)
    with running(bundle, "one_board", Slow(1.0)) as (client, _, _):
        for image in images[:3]:
            client.infer(image)
        answers = list(client.stream(images, deadline_s=0.5))
    assert all(
        np.array_equal(answer["classes"], other["classes"])
        for answer, other in zip(answers, expected, strict=True)
    )


def test_who_finds_no_room_in_time_is_told(bundle):
    with running(bundle) as (client, _, boards):
        image = random_images(bundle, 1)[0]
        for board in boards:
            board._handle = lambda packet: None
        waiting = [client.submit(image, deadline_s=1.0) for _ in range(4)]
        with pytest.raises(BoardError, match=r"no answer after 0\.2 s: 4 others were in flight"):
            client.infer(image, deadline_s=0.2)
        for future in waiting:
            with pytest.raises(BoardError):
                future.result()
