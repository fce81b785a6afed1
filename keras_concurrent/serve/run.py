"""Runs a service until it is told to end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable

from keras_concurrent.errors import MissingExtraError
from keras_concurrent.serve.access import Access, App
from keras_concurrent.serve.service import Service

try:
    import uvicorn
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("uvicorn", "serve") from error

_GRACE_S = 5
_MOST_CONNECTIONS = 256


class _Server(uvicorn.Server):
    """Uvicorn's server, that tells the service and its user when it begins and ends."""

    def __init__(
        self, config: uvicorn.Config, service: Service, started: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self._service, self._started = service, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.ending = True
        await super().shutdown(sockets)


def server(
    app: App, service: Service, access: Access, started: Callable[[], object] = lambda: None
) -> uvicorn.Server:
    """A server that is not yet at work.

    Args:
        app: the service's addresses.
        service: it.
        access: who may ask.
        started: called when it answers.
    """
    config = uvicorn.Config(
        access.guarded(app),
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=access.certificate,
        ssl_keyfile=access.private_key,
    )
    return _Server(config, service, started)


def run(made: uvicorn.Server, listening: socket.socket) -> None:
    """Answer until SIGINT or SIGTERM, and then what is still asked for.

    Args:
        made: a `server`.
        listening: where it is asked.
    """
    # Uvicorn raises again what it was told to end by; here that is no error but the end.
    told = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in told:
            signal.signal(number, lambda *_: None)
        made.run([listening])
    finally:
        for number, handler in told.items():
            signal.signal(number, handler)


def address(access: Access, listening: socket.socket) -> str:
    """Where a browser finds a service."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    protocol = "http" if access.certificate is None else "https"
    return f"{protocol}://{f'[{host}]' if ':' in host else host}:{port}/"
