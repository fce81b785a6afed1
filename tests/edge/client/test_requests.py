"""The client's decisions, without a socket or a thread: lists of instructions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent.edge.client.instructions import (
    Answer,
    Begin,
    Check,
    Compute,
    Fail,
    Forget,
    Offer,
)
from keras_concurrent.edge.client.requests import Requests
from keras_concurrent.edge.client.routes import RouteBook
from keras_concurrent.edge.placement import Placement, Program, Send

PROGRAM = Program(("s",), (Send("y", "client"),))


def plan(out, boards=("a", "b", "c")):
    """Every board that is there works; the first of them answers."""
    living = [board for board in boards if board not in out]
    if not living:
        return None
    programs = {b: PROGRAM if b == living[0] else Program(("t",), ()) for b in living}
    return Placement(programs, (Send("x", living[0]),), 1.0, ())


def requests(*here, boards="abc", **options):
    """A client that has seen some boards, whose routes are acknowledged."""
    options = {"clock": lambda: 0.0, **options}
    made = Requests(boards, ["y"], lambda out: plan(out, boards), **options)
    for board in here:
        assert made.here(board) == []
    acknowledge(made, made.start())
    return made


def acknowledge(made, instructions):
    """Boards take what they are offered; whatever else follows is returned."""
    rest = []
    while instructions:
        instruction = instructions.pop(0)
        if isinstance(instruction, Offer):
            instructions += made.acknowledged(instruction.board, instruction.route)
        else:
            rest.append(instruction)
    return rest


def prepared(made):
    while not made.prepared:
        acknowledge(made, made.prepare())
    return made


def test_an_image_begins_when_all_boards_of_the_route_have_it():
    made = Requests("abc", ["y"], plan, clock=lambda: 0.0)
    for board in "abc":
        made.here(board)
    offers = made.start()
    assert [(o.board, o.route) for o in offers] == [("a", 0), ("b", 0), ("c", 0)]
    assert made.ask(7, 0.0, 1.0) == []
    assert made.acknowledged("a", 0) == made.acknowledged("b", 0) == []
    assert made.acknowledged("c", 0) == [Begin(7, 1, 0)]
    assert made.arrived(1, "y") == [Answer(7, 1)]
    assert made.waiting == 0


def test_an_answer_needs_every_output():
    made = Requests("a", ["y", "z"], lambda out: plan(out, "a"), clock=lambda: 0.0)
    made.here("a")
    acknowledge(made, made.start())
    made.ask(1, 0.0, 1.0)
    assert made.arrived(1, "z") == []
    assert made.arrived(1, "z") == []  # twice is not two
    assert made.arrived(1, "y") == [Answer(1, 1)]
    assert made.arrived(1, "y") == []


def test_after_a_loss_images_in_flight_begin_anew_at_once_on_a_route_made_before():
    made = prepared(requests(*"abc"))
    assert made.ask(1, 0.0, 9.0) == [Begin(1, 1, 0)]
    instructions = made.gone("b")
    assert instructions[0] == Forget(1, ("a", "c"))
    begin = instructions[1]
    assert isinstance(begin, Begin)
    assert (begin.request, begin.image) == (1, 2)
    assert set(made.placement(begin.route).programs) == {"a", "c"}
    assert len(instructions) == 2  # nothing to offer: they know it
    assert made.arrived(1, "y") == []  # of the image that was given up
    assert made.arrived(2, "y") == [Answer(1, 2)]


def test_the_loss_of_a_board_that_does_nothing_changes_nothing():
    made = Requests("abc", ["y"], lambda out: plan({*out, "c"}), clock=lambda: 0.0)
    for board in "abc":
        made.here(board)
    acknowledge(made, made.start())
    assert made.ask(1, 0.0, 9.0) == [Begin(1, 1, 0)]
    assert [i for i in made.gone("c") if isinstance(i, (Begin, Forget))] == []


def test_a_board_that_comes_back_is_used_again_when_it_has_its_part():
    made = prepared(requests(*"abc"))
    made.gone("a")
    (begin,) = made.ask(1, 0.0, 9.0)
    offers = made.here("a")
    assert {o.board for o in offers} == {"a"}
    (other,) = made.ask(2, 0.0, 9.0)
    assert other.route == begin.route  # still without it
    assert acknowledge(made, offers) == []  # images in flight stay where they are
    assert made.ask(3, 0.0, 9.0) == [Begin(3, 3, 0)]
    assert made.arrived(1, "y") == [Answer(1, 1)]


def test_a_cut_link_leaves_one_of_the_two_out_and_its_return_brings_it_back():
    made = prepared(requests(*"abc"))
    made.ask(1, 0.0, 9.0)
    instructions = made.links("a", ["b"])
    assert [type(i) for i in instructions] == [Forget, Begin]
    assert set(made.placement(made.route).programs) == {"a", "c"}
    assert made.absent == ("b",)
    assert made.links("b", ["a"]) == []  # the other end says the same
    assert made.links("a", []) == []  # but b has not said so yet
    assert made.absent == ("b",)
    made.links("b", [])
    assert made.absent == ()
    assert made.route == 0


def refuse(made, board, instructions):
    """All boards but one take what they are offered."""
    while instructions:
        offer = instructions.pop(0)
        if offer.board == board:
            instructions += made.refused(board, offer.route, "it is full")
        else:
            instructions += made.acknowledged(offer.board, offer.route)


def test_a_board_that_refuses_what_it_would_do_after_a_loss_keeps_its_part():
    made = requests(*"abc")
    while not made.prepared:
        refuse(made, "b", made.prepare())
    assert made.absent == ()
    assert set(made.placement(made.route).programs) == set("abc")
    made.ask(1, 0.0, 1.0)
    forget, begin = made.gone("a")
    assert forget == Forget(1, ("b", "c"))
    assert set(made.placement(begin.route).programs) == {"c"}
    assert made.absent == ("a",)
    acknowledge(made, made.here("b"))  # it was started anew, with more memory
    assert set(made.placement(made.route).programs) == {"b", "c"}


def test_a_board_that_refuses_its_part_now_is_left_out_until_it_comes_anew():
    made = Requests("abc", ["y"], plan)
    for board in "abc":
        made.here(board)
    refuse(made, "b", made.start())
    assert made.absent == ("b",)
    assert made.refusals == {"b": "it is full"}
    assert set(made.placement(made.route).programs) == {"a", "c"}
    acknowledge(made, made.here("b"))
    assert made.absent == ()
    assert made.refusals == {}


def test_boards_need_not_remember_routes_of_which_nothing_is_left():
    made = prepared(requests(*"abc"))
    assert made.routes() == [0, 1, 2, 3]  # the plan, and one for each loss
    made.ask(1, 0.0, 9.0)
    for again in range(1, 4):
        acknowledge(made, made.replan())
        prepared(made)
        standing = [4 * again + number for number in range(4)]
        assert made.routes() == [0, *standing]  # an image is still on its way
    made.arrived(1, "y")
    assert made.routes() == standing


def test_routes_for_long_past_losses_are_planned_anew_and_the_one_in_use_stays():
    book = RouteBook(plan)
    first = book.without(frozenset())
    for number in range(300):
        book.without(frozenset((f"lost {number}",)))
        assert book.without(frozenset()) is first
    assert len(book.standing()) == 256
    assert not book.knows(frozenset(("lost 0",)))
    assert book.knows(frozenset(("lost 299",)))


def test_with_no_board_left_the_client_computes_or_waits():
    made = prepared(requests(*"abc"))
    made.ask(1, 0.0, 9.0)
    made.gone("a")
    made.gone("b")
    assert made.gone("c")[-1] == Compute(1)
    assert made.ask(2, 0.0, 9.0) == []  # one after another
    assert made.computed(1) == (True, [Compute(2)])
    assert made.computed(1) == (False, [])

    made = prepared(requests(*"a", boards="a", computes=False))
    made.ask(1, 0.0, 9.0)
    assert made.gone("a") == [Forget(1, ())]
    assert [i for i in acknowledge(made, made.here("a")) if isinstance(i, Begin)] == [
        Begin(1, 2, 0)
    ]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (lambda made: None, "no answer after 2 s: y did not come from a"),
        (lambda made: made.gone("a"), "no answer after 2 s: no board is left"),
    ],
)
def test_a_deadline_ends_a_request_with_what_is_missing(event, reason):
    made = requests("a", boards="a", computes=False)
    made.ask(1, 10.0, 12.0)
    event(made)
    assert made.next_deadline() == 12.0
    assert made.tick(11.9) == []
    assert made.tick(12.0)[-1] == Fail(1, reason)
    assert made.waiting == 0
    assert made.next_deadline() is None


def test_who_owes_an_answer_is_looked_at_when_it_does_not_come():
    made = requests(*"abc")
    made.ask(1, 0.0, 1.0)
    assert made.tick(1.0) == [
        Check(("a", "b", "c")),
        Forget(1, ("a", "b", "c")),
        Fail(1, "no answer after 1 s: y did not come from a"),
    ]


def test_a_route_that_is_not_agreed_on_says_so():
    made = Requests("ab", ["y"], lambda out: plan(out, "ab"))
    made.here("a")
    made.here("b")
    made.start()
    made.ask(1, 0.0, 1.0)
    reason = "no answer after 1 s: the boards did not agree on who does what"
    made.acknowledged("a", 0)
    assert made.tick(1.0) == [Check(("b",)), Fail(1, reason)]


def test_a_board_that_fails_ends_the_image_with_its_words():
    made = requests(*"abc")
    made.ask(1, 0.0, 9.0)
    assert made.failed(1, "b failed in s: out of memory") == [
        Forget(1, ("a", "b", "c")),
        Fail(1, "b failed in s: out of memory"),
    ]
    assert made.failed(1, "again") == []


EVENTS = st.lists(
    st.tuples(st.sampled_from(["here", "gone", "cut", "join", "ask", "tick"]),
              st.sampled_from("abc"), st.sampled_from("abc")),
    max_size=40,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(events=EVENTS, late=st.randoms(use_true_random=False))
def test_whatever_happens_each_request_ends_once_and_none_is_on_a_broken_route(events, late):
    """Boards acknowledge at random moments, answer only what runs on boards that are there."""
    now = 0.0
    made = Requests("abc", ["y"], plan, computes=False, clock=lambda: now)
    queue = made.start()
    offers, ended, living, cuts = [], [], set(), set()
    running = {}
    asked = 0
    for what, one, other in [*events, *[("tick", "a", "a")] * 12]:
        now += 1.0
        if what == "here" and one not in living:
            living.add(one)
            queue += made.here(one)
        elif what == "gone" and one in living:
            living.discard(one)
            offers = [o for o in offers if o.board != one]
            queue += made.gone(one)
        elif what in ("cut", "join") and one in living and one != other:
            (cuts.add if what == "cut" else cuts.discard)((one, other))
            queue += made.links(one, [b for a, b in cuts if a == one])
        elif what == "ask":
            asked += 1
            queue += made.ask(asked, now, now + 10.0)
        elif what == "tick":
            queue += made.tick(now)
        while offers and late.random() < 0.6:
            offer = offers.pop(late.randrange(len(offers)))
            if late.random() < 0.1:
                queue += made.refused(offer.board, offer.route, "it is full")
            else:
                queue += made.acknowledged(offer.board, offer.route)
        while queue:
            instruction = queue.pop(0)
            if isinstance(instruction, Offer):
                assert instruction.board in living
                offers.append(instruction)
            elif isinstance(instruction, Begin):
                boards = set(made.placement(instruction.route).programs)
                assert boards <= living
                running[instruction.image] = instruction.request
            elif isinstance(instruction, Forget):
                running.pop(instruction.image)
            elif isinstance(instruction, Check):
                assert set(instruction.boards) <= living
            else:
                assert isinstance(instruction, (Answer, Fail))
                ended.append(instruction.request)
        if running and late.random() < 0.3:
            image = late.choice(sorted(running))
            running.pop(image)
            queue += made.arrived(image, "y")
            ended += [i.request for i in queue if isinstance(i, (Answer, Fail))]
            running |= {i.image: i.request for i in queue if isinstance(i, Begin)}
            queue = []
    assert sorted(ended) == list(range(1, asked + 1))
