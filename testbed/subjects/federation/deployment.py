"""The deployment engine: the same apps on Flower's SuperLink and SuperNodes, as processes on loopback.

The SuperLink and each SuperNode have a certificate, and each SuperNode has a key that the SuperLink knows. All files
lie in one temporary folder. A supervisor, which is the only process started from here, owns all the others: when this
process ends in whatever way, the supervisor ends them and deletes the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from testbed.core import Transcript, user_code
from testbed.core.errors import RunError, UsageError
from testbed.subjects.federation import certificates, deployed, transcript

SETTINGS = {
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.3",
    "FLWR_TELEMETRY_ENABLED": "0",
}
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
MOST_NODES = 30
SUPERVISOR = "testbed.subjects.federation.supervisor"
GRACE_S = 20.0
"""Seconds that the supervisor has to end all processes, before they are killed as one group."""


class Deployment:
    """A SuperLink and `nodes` SuperNodes that run one federation after the other, until `stop`."""

    def __init__(self, nodes: int) -> None:
        if not hasattr(os, "fork"):
            raise UsageError(
                "TB-DEPLOY-006",
                "The engine deployment does not run on this system.",
                "It forks its processes, which Windows cannot do.",
                "Use --engine simulation, or --engine in-process.",
            )
        if nodes > MOST_NODES:
            raise UsageError(
                "TB-DEPLOY-010",
                f"{nodes} clients are too many for the engine deployment.",
                f"Each client is two processes of this machine; it runs at most {MOST_NODES} clients.",
                "Use fewer clients, or --engine simulation.",
            )
        self.nodes = nodes
        self.folder = Path(tempfile.mkdtemp(prefix="testbed-deployment-"))
        self._runs = 0
        self._process: subprocess.Popen[str] | None = None
        try:
            for name in (deployed.KEYS, "tmp"):
                (self.folder / name).mkdir(mode=0o700)
            certificates.write(self.folder / deployed.KEYS, nodes)
            with (self.folder / "log").open("w") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", SUPERVISOR, str(self.folder), str(nodes)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=self._environment(),
                    text=True,
                    start_new_session=True,
                )
            self._expect("ready")
        except BaseException:
            self.stop()
            raise

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k.lower() not in PROXIES}
        path = os.pathsep.join(p or str(Path.cwd()) for p in sys.path)
        return {**kept, **SETTINGS, "TMPDIR": str(self.folder / "tmp"), "PYTHONPATH": path}

    def run(self, server: ServerApp, client: ClientApp, seen: Callable[[], Transcript]) -> Transcript:
        """Runs the apps on all nodes. Raises `UsageError` for apps that cannot be sent, `RunError` for a failure."""
        self._runs += 1
        own = self._place("server", deployed.SERVER)
        own.write_bytes(pickled((server, seen)))
        given = pickled(client)
        for node in range(self.nodes):
            self._place(f"node{node}", deployed.CLIENT).write_bytes(given)
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{self._runs}\n")
            self._process.stdin.flush()
        self._expect(str(self._runs))
        for part in ("server", *(f"node{node}" for node in range(self.nodes))):
            deployed.repeat_alarms(self._place(part, deployed.ALARMS))
        return transcript.read(own.with_name(deployed.SEEN))

    def _place(self, part: str, file: str) -> Path:
        folder = self.folder / part / str(self._runs)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / file

    def _expect(self, word: str) -> None:
        """Waits for the supervisor's word. Raises the error that it left instead."""
        assert self._process is not None
        assert self._process.stdout is not None
        told = self._process.stdout.readline().strip()
        if told == word:
            return
        if os.environ.get("TESTBED_DEBUG"):
            self._show_logs()
        if (failed := self.folder / deployed.FAILED).is_file():
            raise deployed.read_error(failed)
        raise RunError(
            "TB-DEPLOY-007",
            "The supervisor of the deployed federation ended.",
            "It was killed, or it could not start.",
            "Start it again. TESTBED_DEBUG=1 shows its log.",
        )

    def _show_logs(self) -> None:
        for log in sorted(self.folder.rglob("log")):
            sys.stderr.write(f"== {log.relative_to(self.folder)}\n{log.read_text(errors='replace')}\n")

    def stop(self) -> None:
        """Ends all processes and deletes the folder."""
        try:
            if self._process is not None:
                _ended(self._process)
        finally:
            self._process = None
            shutil.rmtree(self.folder, ignore_errors=True)


def _ended(process: subprocess.Popen[str]) -> None:
    """Closes the supervisor's input, at which it ends everything. If it does not, its group of processes is killed."""
    with process:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        if process.returncode != 0:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def pickled(value: Any) -> bytes:
    """The value as bytes, with the code of the user's own modules, which other processes may not find by name."""
    with _by_value():
        try:
            return cloudpickle.dumps(value)
        except Exception as error:
            raise UsageError(
                "TB-DEPLOY-008",
                f"This federation cannot be sent to other processes ({type(error).__name__}).",
                "An attack, a defence or a guard holds something that exists in one process only, such as a lock.",
                "Use --engine in-process, or correct your own code.",
            ) from None


@contextlib.contextmanager
def _by_value() -> Generator[None]:
    modules = user_code.modules()
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


_standing: ContextVar[dict[int, Deployment] | None] = ContextVar("standing", default=None)


@contextlib.contextmanager
def standing() -> Generator[None]:
    """A context in which all federations of the same number of clients run on one deployment."""
    kept: dict[int, Deployment] = {}
    before = _standing.set(kept)
    try:
        yield
    finally:
        _standing.reset(before)
        with contextlib.ExitStack() as stack:
            for deployment in kept.values():
                stack.callback(deployment.stop)


def run(server: ServerApp, client: ClientApp, nodes: int, seen: Callable[[], Transcript]) -> Transcript:
    """What the server saw of a federation that ran on `nodes` SuperNodes. Raises `UsageError`, `RunError`."""
    kept = _standing.get()
    if kept is None:
        with standing():
            return run(server, client, nodes, seen)
    if nodes not in kept:
        kept[nodes] = Deployment(nodes)
    try:
        return kept[nodes].run(server, client, seen)
    except BaseException:
        kept.pop(nodes).stop()
        raise
