"""One search on several processes or machines: a chief hands out trials, workers train them.

These are KerasTuner's own chief and workers, with what they need to survive kills: a worker's name
stays the same, so that it gets back the trial that it was at; a worker waits for a chief that comes
again; on one machine `supervise` starts all of them and restarts the dead.

Chief and workers share the search's folder, where the checkpoints go too. On several machines that
is a network folder, or a copy of the folder on each: then the chosen trial's checkpoint lies with
the worker that trained it. KerasTuner's connection is neither encrypted nor authenticated: the
chief listens where it is told to, on this machine's loopback unless told otherwise.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_concurrent.children import Child, this_package
from keras_concurrent.errors import ConcurrentError

_POLL_S = 0.3
_GRACE_S = 20.0
_DEATHS = 5  # of one process without any trial ending meanwhile: then it is not chance


@dataclass(frozen=True)
class Role:
    """What a process does in a search.

    Args:
        chief: ``"127.0.0.1:8642"`` where it hands out trials there.
        worker: the chief's address where it asks there.
        worker_name: stays the same over restarts; must not hold ``"chief"``.

    Raises:
        ValueError: both at once, no address, or a name that KerasTuner would take for a chief's.
    """

    chief: str | None = None
    worker: str | None = None
    worker_name: str = "worker-0"

    def __post_init__(self) -> None:
        if self.chief and self.worker:
            raise ValueError("a process is either the chief or a worker, got both")
        address = self.chief or self.worker
        if address and not re.fullmatch(r"[^\s:]+:\d{1,5}", address):
            raise ValueError(f"an address must look like 127.0.0.1:8642, got {address!r}")
        if "chief" in self.worker_name or not re.fullmatch(r"[\w.-]+", self.worker_name):
            raise ValueError(
                "a worker's name must be letters, digits, '_', '.' or '-' without 'chief', "
                f"got {self.worker_name!r}"
            )

    @property
    def name(self) -> str:
        """What KerasTuner calls the process."""
        return "chief" if self.chief else self.worker_name if self.worker else "tuner0"

    def take(self) -> None:
        """Tell KerasTuner, which reads the environment."""
        address = self.chief or self.worker
        if address is None:
            return
        host, _, port = address.partition(":")
        os.environ["KERASTUNER_TUNER_ID"] = self.name
        os.environ["KERASTUNER_ORACLE_IP"] = host
        os.environ["KERASTUNER_ORACLE_PORT"] = port


def patient(tuner: Any) -> None:
    """Let a worker wait for a chief that dies and comes again, whatever it was asking."""
    import grpc

    client = tuner.oracle

    def wait(call: Callable[..., Any]) -> Callable[..., Any]:
        def again(*args: Any, **kwargs: Any) -> Any:
            while True:
                try:
                    return call(*args, **kwargs)
                except grpc.RpcError as error:
                    if error.code() != grpc.StatusCode.UNAVAILABLE:
                        raise
                    time.sleep(_POLL_S)

        return again

    for name in ("get_space", "update_space", "create_trial", "update_trial", "end_trial",
                 "get_trial", "get_best_trials"):  # fmt: skip
        setattr(client, name, wait(getattr(client, name)))


@contextlib.contextmanager
def sole(folder: Path) -> Iterator[None]:
    """Only one process at a time hands out the trials of a folder; its death sets it free.

    Raises:
        ConcurrentError: another does.
    """
    with open(folder / "lock", "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConcurrentError(
                f"another process hands out the trials of {folder}: take part with --worker"
            ) from None
        yield


class _Restarted:
    """A command of this package that is started again when it dies.

    Args:
        words: the command.
        log: file to which it and those after it append what they say.
    """

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self._words = words
        self._log = log
        self._deaths = 0
        self._ended = 0
        self._child = self._start()

    def _start(self) -> Child:
        with open(self._log, "ab") as log:
            return Child(this_package(*self._words), log)

    def tend(self, ended: int) -> bool:
        """Start it again if it died; whether it has ended well.

        Raises:
            ConcurrentError: it dies again and again while no trial ends.
        """
        status = self._child.status
        if status is None or status == 0:
            return status == 0
        self._deaths = self._deaths + 1 if ended == self._ended else 1
        self._ended = ended
        if self._deaths > _DEATHS:
            raise ConcurrentError(
                f"{' '.join(self._words)} died {self._deaths} times while no trial ended; "
                f"its last words are in {self._log}"
            )
        self.stop()
        self._child = self._start()
        return False

    def stop(self) -> None:
        """End it."""
        self._child.end(_GRACE_S)


def supervise(folder: Path, workers: int, port: int, look: Callable[[], int]) -> None:
    """Run a chief and workers on this machine until the workers find nothing left to do.

    Each writes ``FOLDER/NAME.log``.

    Args:
        folder: where the search is kept.
        workers: how many.
        port: where the chief listens, on the loopback.
        look: tells what is new, and gives the number of trials that have ended.

    Raises:
        ConcurrentError: a process dies again and again.
    """
    address = f"127.0.0.1:{port}"
    common = ("search", "--resume", str(folder))
    processes: list[_Restarted] = []
    try:
        chief = _Restarted((*common, "--chief", address), folder / "chief.log")
        processes.append(chief)
        crew = []
        for number in range(workers):
            name = f"worker-{number}"
            words = (*common, "--worker", address, "--name", name)
            crew.append(_Restarted(words, folder / f"{name}.log"))
            processes.append(crew[-1])
        while True:
            ended = look()
            chief.tend(ended)
            over = [worker.tend(ended) for worker in crew]  # each is looked after
            if all(over):
                break
            time.sleep(_POLL_S)
    finally:
        for process in reversed(processes):
            process.stop()
    look()
