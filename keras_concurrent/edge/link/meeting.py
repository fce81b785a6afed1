"""How two participants come by a direct link: who calls whom, and who is let in.

Each board listens on its tensor port; each board calls those before it in the cluster file, the
client calls all, as their other links are made. Beyond loopback both ends show a certificate of the
cluster's authority. Then both say who they are and whom they mean; who does not, is not of this
cluster, or says another name than its certificate's, is refused before a frame of its is read. The
caller has the last word: a call that it has given up takes no other's place, however late it comes.
"""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from keras_concurrent.board import CLIENT, Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.link.keys import AUTHORITY, CERTIFICATE, KEY, Keys, protocol_and_host
from keras_concurrent.edge.link.protocol import PROTOCOL_VERSION

_log = logging.getLogger(__name__)
GREETING = struct.Struct("<4sB64s64s")
_MARK = b"kcTL"
_STILL_HERE = b"!"
_GREET_S = 2.0  # a stranger that says nothing is sent away
_MOST_GUESTS = 16  # that have not greeted yet
_FIRST_RETRY_S, _LAST_RETRY_S = 0.05, 2.0
_DEAD_AFTER_S = 3  # a peer whose machine says nothing any more
_CHACHA, _AES = "ECDHE+CHACHA20", "ECDHE+AESGCM"
_REFUSED = (ConnectionRefusedError, ssl.SSLError)  # else it only hung up, or said nothing
_TENSORS_WAIT_FOR_NOTHING = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

Met = Callable[[str, socket.socket], None]


def address_of(board: Board) -> tuple[str, int]:
    """Where a board listens for tensors."""
    return protocol_and_host(board.endpoint)[1], board.tensor_port_used


class Meeting:
    """One participant's part in making direct links.

    Args:
        name: the participant's.
        cluster: where boards listen.
        keys: the participant's; ``None`` within loopback.
        met: is given each peer and its connection, greeted, in a thread of this.
        refused: called for each stranger.
    """

    def __init__(
        self, name: str, cluster: Cluster, keys: Keys | None, met: Met, refused: Callable[[], None]
    ) -> None:
        self._name, self._keys, self._met, self._refused = name, keys, met, refused
        known = [board.name for board in cluster.boards]
        called = known if name == CLIENT else known[: known.index(name)]
        self._addresses = {other: address_of(cluster.board(other)) for other in called}
        self._callers = frozenset({CLIENT, *known} - {name, *called})
        self._sought: dict[str, threading.Event] = {}
        self._guests = threading.BoundedSemaphore(_MOST_GUESTS)
        self._as_client = _context(keys, server=False) if keys else None
        self._as_server = _context(keys, server=True) if keys else None
        self._listener = None if name == CLIENT else self._listen(address_of(cluster.board(name)))
        if self._listener is not None:
            self._start(self._accept, self._listener)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=target, args=arguments, name="meeting", daemon=True).start()

    def _listen(self, address: tuple[str, int]) -> socket.socket | None:
        try:
            # create_server lets a board that is restarted have its port back at once
            return socket.create_server(address, family=_family_of(address))
        except OSError as error:
            _log.warning(
                "%s cannot listen for tensors on port %d (%s): they come over Zenoh, which takes "
                "longer",
                self._name, address[1], error.strerror or error,
            )  # fmt: skip
            return None

    # ------------------------------------------------------------- who is called

    def calls(self, other: str) -> bool:
        """Whether it is this end that calls."""
        return other in self._addresses

    def seek(self, other: str) -> None:
        """Call a board that is there, until it has answered or `forget` ends it."""
        if self.calls(other):
            self.forget(other)
            ended = self._sought[other] = threading.Event()
            self._start(self._call_until, other, ended)

    def forget(self, other: str) -> None:
        """Call a board no more."""
        if other in self._sought:
            self._sought.pop(other).set()

    def _call_until(self, other: str, ended: threading.Event) -> None:
        wait_s = _FIRST_RETRY_S
        while not ended.is_set():
            try:
                connection = self._call(other)
            except OSError as error:  # ssl's errors among them
                _log.debug("%s does not reach %s for tensors: %s", self._name, other, error)
                ended.wait(wait_s)
                wait_s = min(2 * wait_s, _LAST_RETRY_S)
                continue
            if ended.is_set():
                connection.close()
            else:
                self._met(other, connection)
            return

    def _call(self, other: str) -> socket.socket:
        address = self._addresses[other]
        connection = socket.create_connection(address, timeout=_GREET_S)
        try:
            if self._as_client is not None:
                connection = self._as_client.wrap_socket(connection, server_hostname=address[0])
            self._say(connection, other)
            self._check(connection, self._hear(connection), (other,))
            connection.sendall(_STILL_HERE)
        except BaseException:
            connection.close()
            raise
        _settle(connection)
        return connection

    # ------------------------------------------------------------- who is let in

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                if listener.fileno() < 0:  # closed
                    return
                time.sleep(_FIRST_RETRY_S)
                continue
            if not self._guests.acquire(blocking=False):
                self._refused()
                connection.close()
                continue
            try:
                self._start(self._greet, connection)
            except RuntimeError:  # no memory for another thread: the caller calls again
                self._guests.release()
                connection.close()

    def _greet(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(_GREET_S)
            if self._as_server is not None:
                connection = self._as_server.wrap_socket(connection, server_side=True)
            caller = self._hear(connection)
            self._check(connection, caller, self._callers)
            self._say(connection, caller)
            if connection.recv(len(_STILL_HERE)) != _STILL_HERE:
                raise ConnectionResetError("it hung up")
            _settle(connection)
        except (OSError, ValueError) as error:
            _log.debug("%s lets a stranger's tensors not in: %s", self._name, error)
            connection.close()
            if isinstance(error, _REFUSED) and not isinstance(error, ssl.SSLEOFError):
                self._refused()
        else:
            self._met(caller, connection)
        finally:
            self._guests.release()

    def _say(self, connection: socket.socket, other: str) -> None:
        connection.sendall(GREETING.pack(_MARK, PROTOCOL_VERSION, _padded(self._name),
                                          _padded(other)))  # fmt: skip

    def _hear(self, connection: socket.socket) -> str:
        """Who the other says it is.

        Raises:
            OSError: it says nothing, or what is no greeting to this participant.
        """
        said, deadline = b"", time.monotonic() + _GREET_S
        while len(said) < GREETING.size:
            connection.settimeout(max(1e-3, deadline - time.monotonic()))
            more = connection.recv(GREETING.size - len(said))
            if not more:
                raise ConnectionResetError("it hung up")
            said += more
        mark, version, sender, receiver = GREETING.unpack(said)
        if (mark, version, receiver) != (_MARK, PROTOCOL_VERSION, _padded(self._name)):
            raise ConnectionRefusedError(f"no greeting to {self._name}: {said[:80]!r}")
        return str(sender.rstrip(b"\0"), "utf-8", "replace")

    def _check(
        self, connection: socket.socket, name: str, expected: frozenset[str] | tuple[str, ...]
    ) -> None:
        """That a peer may have the name it says.

        Raises:
            OSError: it may not.
        """
        if name not in expected:
            raise ConnectionRefusedError(f"{name!r} is none of those expected")
        if isinstance(connection, ssl.SSLSocket):
            proved = _common_name(connection)
            if proved != name:
                raise ConnectionRefusedError(f"the certificate of {proved!r} says it is {name!r}")

    def close(self) -> None:
        """Listen and call no more."""
        for other in list(self._sought):
            self.forget(other)
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # which ends the other thread's accept
            self._listener.close()


def _family_of(address: tuple[str, int]) -> socket.AddressFamily:
    return socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]


def _padded(name: str) -> bytes:
    return name.encode().ljust(64, b"\0")


def _settle(connection: socket.socket) -> None:
    """Send small messages at once, and find out when the peer's machine is gone."""
    connection.setsockopt(*_TENSORS_WAIT_FOR_NOTHING)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _DEAD_AFTER_S), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", _DEAD_AFTER_S),
    ):  # fmt: skip
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _common_name(connection: ssl.SSLSocket) -> str | None:
    certificate = connection.getpeercert() or {}
    subject = dict(pair for part in certificate.get("subject", ()) for pair in part)  # type: ignore[misc] # its stub is wider
    return subject.get("commonName")


def _context(keys: Keys, *, server: bool) -> ssl.SSLContext:
    """Mutual TLS with the cluster's certificates, in the cipher that this processor is quick at.

    Where there are no AES instructions, ChaCha20 takes a fraction of the time. Python cannot order
    the ciphers of TLS 1.3, so such a machine speaks 1.2, which its peers then do with it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(keys.folder / CERTIFICATE, keys.folder / KEY)
    context.load_verify_locations(keys.folder / AUTHORITY)
    context.verify_mode = ssl.CERT_REQUIRED
    if server:
        context.num_tickets = 0  # no link is resumed
    if has_aes():
        context.set_ciphers(f"{_AES}:{_CHACHA}")
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE  # the caller may have no AES
    else:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"{_CHACHA}:{_AES}")
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def has_aes(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor has instructions for AES; taken for granted where it is not told."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").lower().splitlines()
    except OSError:
        return True
    told = [line for line in lines if line.startswith(("flags", "features"))]
    return not told or any("aes" in line.split() for line in told)
