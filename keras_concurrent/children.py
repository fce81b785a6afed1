"""Child processes: all started alike, and ended with the one that started them, however it ends.

A child's standard input is a pipe that its parent holds. It closes when the parent is gone, even
one that was killed, and the child, which called `end_with_parent`, ends too. A child has a session
of its own: Ctrl-C reaches the parent alone, which puts things in order and then ends its children.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import IO

UNTIL_STDIN_CLOSES = "--until-stdin-closes"
"""Option of the commands that end with their parent."""


def this_package(*words: str) -> list[str]:
    """A command of this package as a child's words: it will end with its parent."""
    return [sys.executable, "-m", "keras_concurrent", *words, UNTIL_STDIN_CLOSES]


def end_with_parent(end: Callable[[], object] | None = None) -> None:
    """In a child: end when the parent is gone, or closes the pipe.

    Args:
        end: is called then, in a thread; by default the process ends at once, as any kill would
            end it.
    """

    def wait() -> None:
        while os.read(0, 4096):  # not sys.stdin, whose lock would abort the interpreter's end
            pass
        if end is None:
            os._exit(1)
        end()

    threading.Thread(target=wait, daemon=True).start()


class Child:
    """A process that ends with this one.

    Args:
        command: its words, such as `this_package` gives.
        output: the file that takes what it says, errors too; without one, `stdout` gives what it
            says, and errors go where this process's go.
    """

    def __init__(self, command: Sequence[str], output: IO[bytes] | None = None) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if output is None else output,
            stderr=output,
            start_new_session=True,
        )

    @property
    def id(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """What it ended with; ``None`` while it runs."""
        return self._process.poll()

    @property
    def stdin(self) -> IO[bytes]:
        """What it reads; it ends when this is closed."""
        assert self._process.stdin is not None  # a pipe was asked for
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """What it says, if that goes to no file."""
        assert self._process.stdout is not None, "what it says goes to a file"
        return self._process.stdout

    def wait(self) -> int:
        """Wait until it has ended; its status."""
        return self._process.wait()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()
        self._close()

    def ask_to_end(self) -> None:
        """Let it put things in order and end; see `end`."""
        self._close()
        self._process.terminate()

    def end(self, grace_s: float) -> None:
        """Ask it to end, and kill it if it has not within so many seconds."""
        self.ask_to_end()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def _close(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it ended before it had read all
            self.stdin.close()
