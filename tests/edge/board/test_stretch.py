"""Steps that take as long as on a slower board."""

import itertools
import threading
import time

import pytest

from keras_concurrent.edge.board.stretch import Stretch
from keras_concurrent.edge.link.message_stretch import MessageStretch


def test_stretched_compute_takes_slowdown_times_its_cpu_time():
    stretch = Stretch(5.0)

    def step():
        start = time.thread_time()
        while time.thread_time() - start < 0.01:
            pass

    stretch.learn("step", step)
    start = time.monotonic()
    stretch.run("step", step)
    assert 0.05 <= time.monotonic() - start < 1.0  # 5 x 10 ms, and what a loaded machine adds
    with pytest.raises(ValueError, match=r"slowdown must be at least 1, got 0\.5"):
        Stretch(0.5)


def test_emulated_boards_measure_one_at_a_time(tmp_path):
    turn = tmp_path / "cluster.toml"
    turn.write_text("kept")
    steps = []

    def learn(board):
        def step():
            steps.append(board)
            time.sleep(0.002)  # the others would come in between

        stretches[board].learn("step", step)

    stretches = {name: Stretch(2.0, turn) for name in ("a", "b", "c")}
    boards = [threading.Thread(target=learn, args=(name,)) for name in stretches]
    for board in boards:
        board.start()
    for board in boards:
        board.join()
    assert len(list(itertools.groupby(steps))) == 3
    assert turn.read_text() == "kept"
    turn.unlink()  # as when the command that started them has gone on
    learn("a")
    assert list(steps)[-1] == "a"
    for stretch in stretches.values():
        stretch.close()


def test_a_stretched_message_takes_what_it_takes_of_the_board_beyond_this_machine():
    # 20 ms, and 10 for a megabyte; here 5 ms, and 2 for a megabyte
    messages = MessageStretch((0.02, 1e-8), (0.005, 2e-9))
    start = time.monotonic()
    messages.handled(1_000_000)
    assert 0.023 <= time.monotonic() - start < 0.5
    assert messages.taken_s() == pytest.approx(0.03)
    start = time.monotonic()
    messages.handled(0)
    assert 0.015 <= time.monotonic() - start < 0.5
    assert messages.taken_s() == pytest.approx(0.05)
    MessageStretch((0.001, 0.0), (0.005, 0.0)).handled(10**9)  # a board that is quicker at it
