"""Children end with the one that started them, said politely, killed, or gone without a word."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from keras_concurrent.children import UNTIL_STDIN_CLOSES, Child, this_package

# A child that says its process id and then waits; `end_with_parent` may end it.
WAITS = """
import os, sys, time
from keras_concurrent.children import end_with_parent
end_with_parent({how})
print(os.getpid(), flush=True)
time.sleep(60)
"""


def python(code):
    return [sys.executable, "-c", code]


@pytest.fixture
def waiting():
    """A child that waits for its end."""
    child = Child(python(WAITS.format(how="")))
    assert int(child.stdout.readline()) == child.id
    yield child
    child.kill()
    child.stdout.close()


def wait_gone(pid, seconds=10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True)
            if state.stdout.strip() and not state.stdout.startswith(b"Z"):
                time.sleep(0.05)
                continue
        return
    pytest.fail(f"process {pid} is still there")


def test_a_child_ends_at_once_when_its_pipe_closes(waiting):
    assert waiting.status is None
    waiting.stdin.close()
    assert waiting.wait() == waiting.status == 1


def test_a_child_may_put_things_in_order_first():
    child = Child(python(WAITS.format(how="lambda: (print('in order', flush=True), os._exit(7))")))
    child.stdout.readline()
    child.stdin.close()
    assert child.stdout.readline() == b"in order\n"
    assert child.wait() == 7
    child.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_child_ends_when_its_parent_is_killed_or_stopped_by_ctrl_c(number):
    code = f"""
import sys, time
from keras_concurrent.children import Child
child = Child([sys.executable, "-c", {WAITS.format(how="")!r}])
print(int(child.stdout.readline()), flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen(
        python(code), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    pid = int(parent.stdout.readline())
    os.killpg(parent.pid, number)  # as a terminal does: to the parent and all of its group
    parent.wait()
    parent.stdout.close()
    wait_gone(pid)


def test_ctrl_c_reaches_the_parent_alone(waiting):
    assert os.getpgid(waiting.id) == os.getsid(waiting.id) == waiting.id != os.getpgid(0)


def test_what_a_child_says_goes_to_the_file_errors_too(tmp_path):
    with open(tmp_path / "log", "wb") as log:
        child = Child(python("import sys; print('out'); sys.exit('it failed')"), log)
        assert child.wait() == 1
        child.end(1.0)  # one that has ended is no trouble
    said = (tmp_path / "log").read_text().splitlines()
    assert sorted(said) == ["it failed", "out"]


def test_a_child_that_does_not_end_when_asked_is_killed(tmp_path):
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('here', flush=True)"
    child = Child(python(f"{code}; time.sleep(60)"))
    child.stdout.readline()
    start = time.monotonic()
    child.end(0.2)
    assert 0.2 <= time.monotonic() - start < 5
    assert child.status == -signal.SIGKILL
    child.stdout.close()


def test_a_command_of_this_package_ends_with_its_parent():
    command = this_package("board", "--name", "pi4-1")
    assert command == [
        sys.executable, "-m", "keras_concurrent", "board", "--name", "pi4-1", UNTIL_STDIN_CLOSES,
    ]  # fmt: skip
    for name in ("board", "search"):
        child = Child(this_package(name, "--help"))
        assert b"Usage" in child.stdout.read()
        assert child.wait() == 0  # it knows the option
        child.end(1.0)
        child.stdout.close()
