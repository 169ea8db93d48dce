"""One HTTP server of a range: where it listens, and the file that tells its address while it answers."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from starlette.types import ASGIApp

from testbed.report import serving

HOST = "TESTBED_RANGE_HOST"
"""The environment variable that names the address to listen on. In a container it is all of them; else loopback."""
CERTIFICATE, KEY = "certificate.pem", "key.pem"
TLS = "TESTBED_RANGE_TLS"
"""The environment variable that names the folder with certificate and key, if the server speaks TLS."""


def serve(app: ASGIApp, told: Path, port: int = 0) -> None:
    """Answers until it is stopped. On loopback the address is written to the file `told`, which is removed at the end;
    in a container it is known beforehand."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    host, tls = os.environ.get(HOST), os.environ.get(TLS)
    files = (Path(tls) / CERTIFICATE, Path(tls) / KEY) if tls else (None, None)
    with serving.listening(port, host or serving.LOOPBACK) as at:
        if not host:
            staging = told.with_suffix(".new")
            staging.write_text(json.dumps({"port": at.getsockname()[1], "pid": os.getpid()}), encoding="utf-8")
            staging.replace(told)
        try:
            serving.answer(app, at, *files)
        finally:
            if not host:
                told.unlink(missing_ok=True)
