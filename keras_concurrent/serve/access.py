"""Who may ask: anyone on this machine; from elsewhere whoever has the token, or over TLS.

A browser sends requests for every page that it shows. So without a token only those count whose
``Host`` is an address that was meant, and whose ``Origin``, if they have one, is the same: no page
from elsewhere can ask by way of a browser on this machine.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import socket
import stat
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from keras_concurrent.errors import KeysError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_LEAST_TOKEN = 16
_BACKLOG = 128
_OPEN = ("/", "/v2/health/live", "/v2/health/ready")  # a page without data, and what probes ask


@dataclass(frozen=True)
class Access:
    """Where a service listens, and whom it answers.

    Args:
        host: name or address of an interface.
        token: that requests must bring, as ``Authorization: Bearer TOKEN``; ``None`` for none.
        certificate: file of the certificate for TLS, with those between it and its authority.
        private_key: file of its key.

    Raises:
        KeysError: others can reach it, and it has neither token nor TLS; or the token is short, or
            one file of two is missing, or others may read the key.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    certificate: Path | None = None
    private_key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.private_key is None):
            raise KeysError("TLS takes a certificate and its private key, got one of them")
        if self.token is not None and (
            len(self.token) < _LEAST_TOKEN or not self.token.isascii() or " " in self.token
        ):
            raise KeysError(
                f"a token must be at least {_LEAST_TOKEN} ASCII characters without spaces, such as "
                f"'openssl rand -hex 16' prints, got {len(self.token)}"
            )
        if self.private_key is not None:
            _check_private(self.private_key)
        if not self.is_local and self.token is None and self.certificate is None:
            raise KeysError(
                f"{self.host or 'every interface'} can be reached from other machines, and whoever "
                "reaches it could ask the boards: give a token (--token-file), or TLS "
                "(--certificate and --private-key), or listen on 127.0.0.1"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return all(ipaddress.ip_address(each).is_loopback for each in self._addresses)

    @property
    def warning(self) -> str | None:
        """What should be known of who may ask, as a sentence; ``None`` where all is well."""
        if self.is_local or (self.token is not None and self.certificate is not None):
            return None
        if self.token is None:
            return "TLS hides what is asked, but whoever reaches the port may ask; see --token-file"
        return "without TLS the token and the images travel as they are; see --certificate"

    @property
    def _addresses(self) -> list[str]:
        try:
            found = socket.getaddrinfo(self.host or "0.0.0.0", None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise KeysError(f"{self.host!r} is no interface's name or address: {error}") from error
        return [str(each[4][0]).partition("%")[0] for each in found]

    def listen(self, port: int) -> socket.socket:
        """A socket that listens.

        Raises:
            OSError: the port is taken.
        """
        address = self._addresses[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Connections have it from here: an answer's body must not wait for the
            # acknowledgement of its header, which takes 40 ms.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listening.bind((address, port))
            listening.listen(_BACKLOG)
        except BaseException:
            listening.close()
            raise
        return listening

    def guarded(self, app: App) -> App:
        """An application that answers only who may ask."""

        async def guard(scope: Scope, receive: Receive, send: Send) -> None:
            fault = self._fault(scope) if scope["type"] == "http" else None
            if fault is None:
                await app(scope, receive, send)
            else:
                await _refuse(send, *fault)

        return guard

    def _fault(self, scope: Scope) -> tuple[int, str] | None:
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        if self.token is not None:
            if scope["path"] in _OPEN:
                return None
            kind, _, came = headers.get(b"authorization", "").partition(" ")
            if kind.lower() == "bearer" and hmac.compare_digest(came.encode(), self.token.encode()):
                return None
            return 401, "this server wants its token: 'Authorization: Bearer TOKEN'"
        host = headers.get(b"host", "")
        if self.is_local_name(host) or not self.is_local:
            origin = headers.get(b"origin")
            if origin is None or urlsplit(origin).netloc == host:
                return None
            return 403, f"a page of {origin} may not ask this server"
        return 403, f"this server is asked as localhost, not as {host!r}"

    @staticmethod
    def is_local_name(host: str) -> bool:
        """Whether a ``Host`` header means this machine."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name == "localhost" or ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        KeysError: others may read the file, or it holds no text.
    """
    _check_private(path)
    try:
        return path.read_text(encoding="ascii").strip()
    except UnicodeDecodeError as error:
        raise KeysError(f"{path} must hold a token in ASCII: {error}") from error


def _check_private(path: Path) -> None:
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o077:
        raise KeysError(f"{path} can be read by others (mode {mode:o}): chmod 600 it")


async def _refuse(send: Send, status: int, reason: str) -> None:
    import json

    body = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
