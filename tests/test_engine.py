import random

from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent.bundle import Program, SegmentSpec, Send
from keras_concurrent.engine import Engine, Finish, Run, Transmit


def segment(inputs, outputs):
    return SegmentSpec("x.tflite", "", 0, tuple(inputs.split()), tuple(outputs.split()))


SEGMENTS = {
    "first": segment("a", "x"),
    "second": segment("b x", "y"),
    "elsewhere": segment("y", "z"),
}
PROGRAM = Program(("first", "second"), (Send("x", "pi2"), Send("y", "client")))


def engine(program=PROGRAM):
    return Engine(program, SEGMENTS)


def test_it_expects_what_none_of_its_segments_writes():
    assert engine().expected == {"a", "b"}


def test_an_image_from_its_first_tensor_to_its_end():
    board = engine()
    assert board.arrived(0, "a") == [Run(0, "first")]
    assert board.arrived(0, "b") == []  # second waits for x
    assert board.finished(0, "first") == [Transmit(0, "x", "pi2"), Run(0, "second")]
    assert board.finished(0, "second") == [Transmit(0, "y", "client"), Finish(0)]


def test_segments_keep_their_order_though_a_later_one_could_run():
    board = engine(Program(("first", "elsewhere"), ()))
    assert board.expected == {"a", "y"}
    assert board.arrived(0, "y") == []  # elsewhere is ready, first is not
    assert board.arrived(0, "a") == [Run(0, "first")]
    assert board.finished(0, "first") == [Run(0, "elsewhere")]
    assert board.finished(0, "elsewhere") == [Finish(0)]


def test_sends_keep_their_order_though_a_later_one_is_ready():
    board = engine(Program(("first", "second"), (Send("y", "pi2"), Send("x", "pi3"))))
    board.arrived(0, "a")
    board.arrived(0, "b")
    assert board.finished(0, "first") == [Run(0, "second")]  # x is there and waits behind y
    assert board.finished(0, "second") == [
        Transmit(0, "y", "pi2"), Transmit(0, "x", "pi3"), Finish(0)
    ]  # fmt: skip


def test_one_tensor_may_go_to_several_receivers():
    board = engine(Program(("first",), (Send("x", "pi2"), Send("x", "client"))))
    board.arrived(0, "a")
    assert board.finished(0, "first") == [
        Transmit(0, "x", "pi2"), Transmit(0, "x", "client"), Finish(0)
    ]  # fmt: skip


def test_the_next_image_waits_until_the_first_is_done():
    board = engine()
    assert board.arrived(0, "a") == [Run(0, "first")]
    assert board.arrived(1, "a") == []
    assert board.arrived(1, "b") == []
    assert board.finished(0, "first") == [Transmit(0, "x", "pi2")]  # idle, and 1 still waits
    assert board.arrived(0, "b") == [Run(0, "second")]
    assert board.finished(0, "second") == [
        Transmit(0, "y", "client"), Finish(0), Run(1, "first")
    ]  # fmt: skip
    assert board.finished(1, "first") == [Transmit(1, "x", "pi2"), Run(1, "second")]


def test_a_late_tensor_of_a_finished_image_is_ignored():
    board = engine(Program(("first",), ()))
    board.arrived(3, "a")
    assert board.finished(3, "first") == [Finish(3)]
    assert board.arrived(3, "a") == []
    assert board.arrived(2, "a") == []
    assert board.arrived(4, "a") == [Run(4, "first")]


def test_a_tensor_that_comes_twice_changes_nothing():
    board = engine()
    assert board.arrived(0, "a") == [Run(0, "first")]
    assert board.arrived(0, "a") == []
    assert board.finished(0, "first") == [Transmit(0, "x", "pi2")]
    assert board.arrived(0, "a") == []
    assert board.arrived(0, "b") == [Run(0, "second")]


def test_dropped_images_do_not_hold_up_the_next():
    board = engine()
    board.arrived(0, "a")  # 0 runs
    board.arrived(1, "a")
    board.drop()
    assert board.finished(0, "first") == []  # its answer is no one's any more
    assert board.arrived(2, "a") == [Run(2, "first")]
    assert board.arrived(2, "b") == []
    assert board.finished(2, "first") == [Transmit(2, "x", "pi2"), Run(2, "second")]
    assert board.finished(2, "second") == [Transmit(2, "y", "client"), Finish(2)]


def test_a_late_tensor_of_a_dropped_image_does_not_block_the_next():
    board = engine()
    board.arrived(0, "a")
    board.drop()
    board.finished(0, "first")
    assert board.arrived(0, "b") == []
    assert board.arrived(1, "a") == [Run(1, "first")]


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
            if isinstance(instruction, Run):
                assert running is None  # one at a time
                running = (instruction.image, instruction.segment)
        done += instructions
    assert done == [
        instruction
        for image in range(images)
        for instruction in (
            Run(image, "first"),
            Transmit(image, "x", "pi2"),
            Run(image, "second"),
            Transmit(image, "y", "client"),
            Finish(image),
        )
    ]
