import random

from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent.edge.board.engine import Engine, Finish, RunSegment, Transmit
from keras_concurrent.edge.link.protocol import MOST_IMAGES
from keras_concurrent.edge.manifest import SegmentSpec
from keras_concurrent.edge.placement import Program, Send


def segment(inputs, outputs):
    return SegmentSpec("x.tflite", "", 0, tuple(inputs.split()), tuple(outputs.split()))


SEGMENTS = {
    "first": segment("a", "x"),
    "second": segment("b x", "y"),
    "elsewhere": segment("y", "z"),
}
PROGRAM = Program(("first", "second"), (Send("x", "pi2"), Send("y", "client")))


def engine(program=PROGRAM):
    return Engine(SEGMENTS, program)


def test_it_expects_what_none_of_its_segments_writes():
    assert engine().expected(0) == {"a", "b"}
    assert engine().expected(7) == frozenset()  # a route it was never told


def test_an_image_from_its_first_tensor_to_its_end():
    board = engine()
    assert board.arrived(0, "a") == [RunSegment(0, "first")]
    assert board.arrived(0, "b") == []  # second waits for x
    assert board.finished(0, "first") == [Transmit(0, "x", "pi2"), RunSegment(0, "second")]
    assert board.finished(0, "second") == [Transmit(0, "y", "client"), Finish(0)]


def test_segments_keep_their_order_though_a_later_one_could_run():
    board = engine(Program(("first", "elsewhere"), ()))
    assert board.expected(0) == {"a", "y"}
    assert board.arrived(0, "y") == []  # elsewhere is ready, first is not
    assert board.arrived(0, "a") == [RunSegment(0, "first")]
    assert board.finished(0, "first") == [RunSegment(0, "elsewhere")]
    assert board.finished(0, "elsewhere") == [Finish(0)]


def test_sends_keep_their_order_though_a_later_one_is_ready():
    board = engine(Program(("first", "second"), (Send("y", "pi2"), Send("x", "pi3"))))
    board.arrived(0, "a")
    board.arrived(0, "b")
    assert board.finished(0, "first") == [RunSegment(0, "second")]  # x is there and waits behind y
    assert board.finished(0, "second") == [
        Transmit(0, "y", "pi2"), Transmit(0, "x", "pi3"), Finish(0)
    ]  # fmt: skip


def test_one_tensor_may_go_to_several_receivers():
    board = engine(Program(("first",), (Send("x", "pi2"), Send("x", "client"))))
    board.arrived(0, "a")
    assert board.finished(0, "first") == [
        Transmit(0, "x", "pi2"), Transmit(0, "x", "client"), Finish(0)
    ]  # fmt: skip


def test_a_younger_image_fills_the_time_in_which_the_older_one_waits():
    board = engine()
    assert board.arrived(0, "a") == [RunSegment(0, "first")]
    assert board.arrived(1, "a") == []  # one segment at a time
    assert board.finished(0, "first") == [Transmit(0, "x", "pi2"), RunSegment(1, "first")]
    assert board.arrived(0, "b") == []
    assert board.arrived(1, "b") == []
    # Both could run their second segment now: the older one goes first, and a tensor that is ready
    # is sent before either.
    assert board.finished(1, "first") == [Transmit(1, "x", "pi2"), RunSegment(0, "second")]
    assert board.finished(0, "second") == [
        Transmit(0, "y", "client"), Finish(0), RunSegment(1, "second")
    ]  # fmt: skip
    assert board.finished(1, "second") == [Transmit(1, "y", "client"), Finish(1)]


def test_images_on_different_routes_follow_different_programs():
    board = engine()
    board.learn(3, Program(("second",), (Send("y", "pi9"),)))
    assert board.expected(3) == {"b", "x"}
    assert board.arrived(0, "a", 0) == [RunSegment(0, "first")]
    assert board.arrived(1, "b", 3) == []
    assert board.arrived(1, "x", 3) == []
    assert board.finished(0, "first") == [Transmit(0, "x", "pi2", 0), RunSegment(1, "second")]
    assert board.finished(1, "second") == [Transmit(1, "y", "pi9", 3), Finish(1)]
    assert board.arrived(2, "a", 8) == []  # an unknown route
    assert board.images == (0,)


def test_more_images_than_fit_push_the_oldest_out():
    board = engine()
    for image in range(MOST_IMAGES):
        assert board.arrived(image, "b") == []
    assert board.arrived(MOST_IMAGES, "b") == [Finish(0)]
    assert board.images == tuple(range(1, MOST_IMAGES + 1))
    assert board.arrived(0, "a") == []  # it stays out


def test_a_late_tensor_of_a_finished_image_is_ignored():
    board = engine(Program(("first",), ()))
    board.arrived(3, "a")
    assert board.finished(3, "first") == [Finish(3)]
    assert board.arrived(3, "a") == []
    assert board.arrived(4, "a") == [RunSegment(4, "first")]


def test_what_is_over_stays_over_and_takes_no_memory():
    board = engine(Program(("first",), ()))
    for image in range(5000):
        board.arrived(image, "a")
        board.finished(image, "first")
    assert all(board.is_over(image) for image in range(5000))
    assert not board.is_over(5000)
    assert len(board._over) < 5000


def test_a_tensor_that_comes_twice_changes_nothing():
    board = engine()
    assert board.arrived(0, "a") == [RunSegment(0, "first")]
    assert board.arrived(0, "a") == []
    assert board.finished(0, "first") == [Transmit(0, "x", "pi2")]
    assert board.arrived(0, "a") == []
    assert board.arrived(0, "b") == [RunSegment(0, "second")]


def test_a_dropped_image_does_not_hold_up_the_others():
    board = engine()
    board.arrived(0, "a")  # 0 runs
    assert board.arrived(1, "a") == []
    assert board.drop(0) == [Finish(0)]
    assert board.finished(0, "first") == [RunSegment(1, "first")]  # its x is no one's any more
    assert board.arrived(0, "b") == []
    assert board.drop(0) == []
    assert board.drop(2) == [Finish(2)]  # before its first tensor came
    assert board.arrived(2, "a") == []
    assert board.images == (1,)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9), images=st.integers(1, 4))
def test_any_arrival_order_gives_the_planned_orders(seed, images):
    rng = random.Random(seed)
    board = engine()
    streams = {"a": list(range(images)), "b": list(range(images))}  # each link keeps its order
    done, running = [], None
    while any(streams.values()) or running:
        sources = [name for name, left in streams.items() if left]
        if running and (not sources or rng.random() < 0.5):
            instructions = board.finished(*running)
            running = None
        else:
            source = rng.choice(sources)
            instructions = board.arrived(streams[source].pop(0), source)
        for instruction in instructions:
            if isinstance(instruction, RunSegment):
                assert running is None  # one at a time
                running = (instruction.image, instruction.segment)
        done += instructions
    for image in range(images):
        assert [i for i in done if i.image == image] == [
            RunSegment(image, "first"),
            Transmit(image, "x", "pi2"),
            RunSegment(image, "second"),
            Transmit(image, "y", "client"),
            Finish(image),
        ]
