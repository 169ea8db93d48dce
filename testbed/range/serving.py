"""One HTTP server of a range: where it listens, and the file that tells its address while it answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

HOST = "TESTBED_RANGE_HOST"
"""The environment variable that names the address to listen on. In a container it is all of them; else loopback."""
LOOPBACK = "127.0.0.1"
CERTIFICATE, KEY = "certificate.pem", "key.pem"
TLS = "TESTBED_RANGE_TLS"
"""The environment variable that names the folder with certificate and key, if the server speaks TLS."""


def serve(app: ASGIApp, told: Path, port: int = 0) -> None:
    """Answers until it is stopped. On loopback the address is written to the file `told`, which is removed at the end;
    in a container it is known beforehand."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    host, tls = os.environ.get(HOST), os.environ.get(TLS)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        ssl_certfile=str(Path(tls) / CERTIFICATE) if tls else None,
        ssl_keyfile=str(Path(tls) / KEY) if tls else None,
    )
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host or LOOPBACK, port))
        listening.listen()  # before the address is told, so that nobody who reads it is turned away
        if not host:
            staging = told.with_suffix(".new")
            staging.write_text(json.dumps({"port": listening.getsockname()[1], "pid": os.getpid()}), encoding="utf-8")
            staging.replace(told)
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            if not host:
                told.unlink(missing_ok=True)
