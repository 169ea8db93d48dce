# pyright: strict
"""One HTTP server on this machine, as the range's desks and `testbed serve` use it: who may ask, and how it ends.

Threat model: a page elsewhere on the web leads its reader's browser to a port of this machine, by a name of its own
that points here (DNS rebinding), by a form, or by a picture. So a question under any name but loopback's is refused,
and a page runs no script, loads nothing from elsewhere and stands in no frame.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator
from pathlib import Path

import uvicorn
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

from testbed.core.errors import UsageError

LOOPBACK = "127.0.0.1"
HOSTS = [LOOPBACK, "localhost"]
"""The names by which a server on loopback may be asked."""
GUARD = Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)
"""Refuses (400) what is asked under another name."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""Headers of every answer; a page adds its content security policy."""
PATIENCE_S = 2
"""Seconds that an answer under way still has when the server ends."""


@contextlib.contextmanager
def listening(port: int = 0, host: str = LOOPBACK) -> Generator[socket.socket]:
    """A socket that listens already, so that nobody who reads its address is turned away. Port 0 takes a free one.

    Raises `UsageError` for a port that is taken or not allowed.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((host, port))
            made.listen()
        except (OSError, OverflowError) as error:
            raise UsageError(
                "TB-SERVE-001",
                f"Nothing can listen on port {port}.",
                f"The system says: {getattr(error, 'strerror', None) or 'no such port'}.",
                "Name another port, or none to take a free one.",
            ) from None
        yield made


def answer(app: ASGIApp, at: socket.socket, certificate: Path | None = None, key: Path | None = None) -> None:
    """Answers at this socket until the process is told to end. No question is logged: its address may hold a token."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        timeout_graceful_shutdown=PATIENCE_S,
    )
    uvicorn.Server(config).run(sockets=[at])
