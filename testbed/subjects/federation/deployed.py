"""The apps of a deployed federation: what Flower's app processes load, and what the server's one leaves behind.

The bundle that Flower sends to the nodes holds two lines that call `server()` and `client()`. What runs there is read
from files that the deployment wrote for this process, never from the message: a server cannot send code to a client.
"""

from __future__ import annotations

import json
import logging
import os
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from testbed.core import user_code
from testbed.core.errors import RunError, TestbedError
from testbed.subjects.federation import compat, transcript

FOLDER = "TESTBED_DEPLOYMENT"
"""The environment variable that names the folder of this process's own files."""
NUMBER = "number"
"""The key of a run's configuration that says which of the deployment's runs it is."""
KEYS = "keys"
SERVER, CLIENT, SEEN, FAILED = "server.pickle", "client.pickle", "seen.transcript", "failed.json"
ALARMS = "alarms.jsonl"
GUARDS = logging.getLogger("testbed.guards")
"""What guards write to, whichever process they are in."""
PLACE = "client.place"
"""The file of a run that says which client of the federation this node is, if its own settings do not."""
MANIFEST = f"""[project]
name = "testbed-federation"
version = "1.0.0"
description = "A federation of the leakage testbed"
license = {{ file = "LICENSE" }}
dependencies = ["flwr>={compat.VERSION}"]

[tool.flwr.app]
publisher = "testbed"
fab-format-version = 1
flwr-version-target = "{compat.VERSION}"

[tool.flwr.app.components]
serverapp = "deployment.server:app"
clientapp = "deployment.client:app"

[tool.flwr.app.config]
{NUMBER} = 0
"""


def write_app(folder: Path) -> Path:
    """The folder of the app that Flower bundles: a manifest, and two modules that name the apps."""
    inner = folder / "deployment"
    inner.mkdir(mode=0o700, parents=True)
    (folder / "pyproject.toml").write_text(MANIFEST, encoding="utf-8")
    (folder / "LICENSE").write_text("The license of the leakage testbed.\n", encoding="utf-8")
    (inner / "__init__.py").touch()
    for side in ("server", "client"):
        source = f"from testbed.subjects.federation import deployed\n\napp = deployed.{side}()\n"
        (inner / f"{side}.py").write_text(source, encoding="utf-8")
    return folder


def place(number: int) -> Path:
    """The folder of this process's files for one run."""
    return Path(os.environ[FOLDER]) / str(number)


def server() -> ServerApp:
    """The ServerApp of the run. It writes the transcript, or the error that ended the run, into the run's folder."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        folder = place(int(str(context.run_config[NUMBER])))
        try:
            inner, seen = cloudpickle.loads((folder / SERVER).read_bytes())
            with alarms_into(folder / ALARMS):
                inner(grid, context)
            transcript.write(folder / SEEN, seen())
        except Exception as error:
            with (folder.parent / "log").open("a", encoding="utf-8") as log:  # Flower keeps a ServerApp's output
                traceback.print_exc(file=log)
            write_error(folder / FAILED, told(error))
            raise

    return app


class Deployed(ClientApp):
    """A ClientApp that answers as the one in the run's folder."""

    def __call__(self, message: Message, context: Context) -> Message:
        folder = place(int(str(context.run_config[NUMBER])))
        if (placed := folder / PLACE).is_file():
            context.node_config[compat.PARTITION] = int(placed.read_text(encoding="utf-8"))
        inner: ClientApp = cloudpickle.loads((folder / CLIENT).read_bytes())
        with alarms_into(folder / ALARMS):
            return inner(message, context)


class _Written(logging.Handler):
    """Writes each alarm as a line of JSON: its text, and the values in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def emit(self, record: logging.LogRecord) -> None:
        values = list(record.args) if isinstance(record.args, tuple) else []
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([record.levelno, record.msg, values], default=float) + "\n")


@contextmanager
def alarms_into(path: Path) -> Generator[None]:
    """A context in which the alarms of guards are also written into this file."""
    written = _Written(path)
    GUARDS.addHandler(written)
    try:
        yield
    finally:
        GUARDS.removeHandler(written)


def repeat_alarms(path: Path) -> None:
    """Says the alarms in a file that `alarms_into` wrote, in this process."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        level, text, values = json.loads(line)
        GUARDS.log(level, text, *values)


def client() -> ClientApp:
    """The ClientApp of the run."""
    return Deployed()


def told(error: Exception) -> TestbedError:
    """The error as it may be told to the user: another library's text may quote records."""
    return (
        error
        if isinstance(error, TestbedError)
        else user_code.blamed(error)
        or RunError(
            "TB-DEPLOY-005",
            f"The server of the deployed federation stopped with {type(error).__name__}.",
            "The error was raised in the server's own process.",
            "Run it with --engine in-process and TESTBED_DEBUG=1, which shows the whole traceback.",
        )
    )


def write_error(path: Path, error: TestbedError) -> None:
    """Writes an error so that another process can raise it; the file is whole or absent."""
    values = {"kind": type(error).__name__, "id": error.id, "what": error.what, "why": error.why, "fix": error.fix}
    staging = path.with_suffix(".part")
    staging.write_text(json.dumps(values), encoding="utf-8")
    staging.replace(path)


def read_error(path: Path) -> TestbedError:
    """The error in a file that `write_error` wrote."""
    from testbed.core import errors

    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    kind = getattr(errors, values.pop("kind"), RunError)
    return kind(**values)
