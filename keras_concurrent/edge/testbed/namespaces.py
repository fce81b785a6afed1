"""Real kernel links: a network namespace and a rate-limited cable each (Linux, root).

::

    bridge ── veth ── pi4-1      each veth is limited at both ends to the link's rate, as a
           ── veth ── pi4-2      board's interface limits what it sends and what it receives
           ── veth ── client

Latency is the kernel's own, a few hundredths of a millisecond: `LATENCY_MS`.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
from collections.abc import Sequence

from keras_concurrent.errors import TransportError

LATENCY_MS = 0.05
_LEAST_BURST_BYTES = 3200  # two frames
_BURST_S = 2e-4
_LEAST_CHUNK_BYTES = 16_000  # below, frames one by one are little work
_QUEUE_MS = 2000.0
_HEADERS = 1.05  # what Ethernet, IP, TCP and TLS add to what a program sends
_PREFIX = "kcc"


class Namespaces:
    """A context in which each participant has a namespace with one rate-limited interface.

    Args:
        names: the participants'.
        mbit_per_s: what each interface carries, in each direction.

    Raises:
        TransportError: not Linux, not root, no iproute2, or the kernel refuses.
    """

    def __init__(self, names: Sequence[str], mbit_per_s: float) -> None:
        if shutil.which("ip") is None or shutil.which("tc") is None:
            raise TransportError("namespaces need the commands ip and tc: install iproute2")
        if os.geteuid() != 0:
            raise TransportError("namespaces need root; without it messages are paced instead")
        remove_left_over()
        # Names of interfaces have 15 letters: the process's number and the participant's.
        self._mark = f"{_PREFIX}{os.getpid()}"
        subnet = os.getpid() % 250 + 1
        hosts = list(ipaddress.ip_network(f"10.213.{subnet}.0/24").hosts())
        self._rate = mbit_per_s
        self._numbers = {name: number for number, name in enumerate(names)}
        self.addresses = {name: str(hosts[number + 9]) for name, number in self._numbers.items()}
        """The address of each participant."""

    def __enter__(self) -> Namespaces:
        try:
            bridge = f"{self._mark}b"
            _run("ip", "link", "add", bridge, "type", "bridge")
            _run("ip", "link", "set", bridge, "up")
            for name, number in self._numbers.items():
                outside, inside = f"{self._mark}v{number}", f"{self._mark}w{number}"
                space = self.namespace(name)
                _run("ip", "netns", "add", space)
                _run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside)
                _run("ip", "link", "set", inside, "netns", space)
                _run("ip", "link", "set", outside, "master", bridge, "up")
                within = ("ip", "-n", space)
                _run(*within, "addr", "add", f"{self.addresses[name]}/24", "dev", inside)
                _run(*within, "link", "set", inside, "up")
                _run(*within, "link", "set", "lo", "up")
                self._limit((), outside)
                self._limit(("-n", space), inside)
        except BaseException:
            self._remove()
            raise
        return self

    def _limit(self, within: Sequence[str], interface: str) -> None:
        burst = max(_LEAST_BURST_BYTES, round(self._rate * 1e6 / 8 * _BURST_S))
        if burst > _LEAST_CHUNK_BYTES:
            # TCP hands over chunks of frames. One that is larger than the burst would be taken
            # apart, and its frames overtake each other on this machine's cores: TCP takes that for
            # loss and slows down, up to twice as slow at 1 Gbit, which no cable does.
            chunk = burst - burst // 25
            _run("ip", *within, "link", "set", interface, "gso_max_size", str(chunk))
        _run(
            "tc", *within, "qdisc", "add", "dev", interface, "root", "tbf",
            "rate", f"{round(self._rate * 1e6 * _HEADERS)}bit", "burst", f"{burst}b",
            "latency", f"{_QUEUE_MS}ms",
        )  # fmt: skip

    def namespace(self, name: str) -> str:
        """The name of a participant's namespace."""
        return f"{self._mark}n{self._numbers[name]}"

    def within(self, name: str) -> tuple[str, ...]:
        """Words before a command that is to run in a participant's namespace."""
        return ("ip", "netns", "exec", self.namespace(name))

    def __exit__(self, *_: object) -> None:
        self._remove()

    def _remove(self) -> None:
        _remove(self._mark)


def remove_left_over() -> None:
    """Remove what processes left behind that were killed before they could."""
    listed = subprocess.run(["ip", "-o", "link", "show", "type", "bridge"], capture_output=True)
    for line in listed.stdout.decode().splitlines():
        name = line.split(":")[1].strip()
        number = name[len(_PREFIX) : -1]
        ours = name.startswith(_PREFIX) and name.endswith("b") and number.isdigit()
        if ours and not os.path.exists(f"/proc/{number}"):
            _remove(name[:-1])


def _remove(mark: str) -> None:
    """Remove all that carries a mark; interfaces go with their namespaces."""
    spaces = subprocess.run(["ip", "netns", "list"], capture_output=True).stdout.decode()
    for line in spaces.splitlines():
        if line.startswith(f"{mark}n"):
            subprocess.run(["ip", "netns", "delete", line.split()[0]], capture_output=True)
    links = subprocess.run(["ip", "-o", "link", "show"], capture_output=True).stdout.decode()
    for line in links.splitlines():
        name = line.split(":")[1].strip().split("@")[0]
        if name == f"{mark}b" or name.startswith((f"{mark}v", f"{mark}w")):
            subprocess.run(["ip", "link", "delete", name], capture_output=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise TransportError(f"'{' '.join(command)}' failed: {done.stderr.strip()}")
