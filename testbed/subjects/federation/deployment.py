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
from collections.abc import Callable, Generator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from testbed.core import Transcript, user_code
from testbed.core.errors import RunError, UsageError
from testbed.subjects.federation import certificates, deployed, transcript
from testbed.subjects.federation.parties import for_client

SETTINGS = {
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.3",
    "FLWR_TELEMETRY_ENABLED": "0",
}
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
MOST_NODES = 30
SUPERVISOR = "testbed.subjects.federation.supervisor"
CONSOLE = "testbed.subjects.federation.stations"
STATIONS = "TESTBED_STATIONS"
"""The environment variable that names the folder of the stations, where the hospitals are containers of their own."""
AWAY = "away"
"""The file in a station's folder that sends its SuperNode away."""
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
        self.nodes, self.places = nodes, list(range(nodes))
        self.scratch = Path(tempfile.mkdtemp(prefix="testbed-deployment-"))
        self.folder = self.scratch
        self._runs = 0
        self._process: subprocess.Popen[str] | None = None
        try:
            (self.scratch / "tmp").mkdir(mode=0o700)
            self._prepare()
            with (self.scratch / "log").open("w") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", self._supervisor(), str(self.folder), str(nodes)],
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

    def _prepare(self) -> None:
        """What must be there before the supervisor starts."""
        (self.folder / deployed.KEYS).mkdir(mode=0o700)
        certificates.write(self.folder / deployed.KEYS, self.nodes)

    def _supervisor(self) -> str:
        return SUPERVISOR

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k.lower() not in PROXIES}
        path = os.pathsep.join(p or str(Path.cwd()) for p in sys.path)
        return {**kept, **SETTINGS, "TMPDIR": str(self.scratch / "tmp"), "PYTHONPATH": path}

    def run(self, server: ServerApp, client: ClientApp, seen: Callable[[], Transcript]) -> Transcript:
        """Runs the apps on all nodes. Raises `UsageError` for apps that cannot be sent, `RunError` for a failure."""
        self._runs += 1
        own = self._place("server", deployed.SERVER)
        own.write_bytes(pickled((server, seen)))
        for number, node in enumerate(self.places):
            with for_client(number):
                self._place(f"node{node}", deployed.CLIENT).write_bytes(pickled(client))
            self._place(f"node{node}", deployed.PLACE).write_text(str(number), encoding="utf-8")
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{self._runs}\n")
            self._process.stdin.flush()
        self._expect(str(self._runs))
        for part in ("server", *(f"node{node}" for node in self.places)):
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
        if (failed := self.scratch / deployed.FAILED).is_file():
            raise deployed.read_error(failed)
        raise RunError(
            "TB-DEPLOY-007",
            "The supervisor of the deployed federation ended.",
            "It was killed, or it could not start.",
            "Start it again. TESTBED_DEBUG=1 shows its log.",
        )

    def _show_logs(self) -> None:
        for log in sorted(self.scratch.rglob("log")):
            sys.stderr.write(f"== {log.relative_to(self.scratch)}\n{log.read_text(errors='replace')}\n")

    def stop(self) -> None:
        """Ends all processes and deletes the folder."""
        try:
            if self._process is not None:
                _ended(self._process)
        finally:
            self._process = None
            shutil.rmtree(self.scratch, ignore_errors=True)


class Stationed(Deployment):
    """The stations of a federation in containers (stations.py), of which those in `places` take part."""

    def __init__(self, nodes: int) -> None:
        self._chosen = _places.get() or list(range(nodes))
        super().__init__(nodes)

    def _prepare(self) -> None:
        self.folder, self.places = Path(os.environ[STATIONS]), self._chosen
        before = [int(p.name) for p in (self.folder / "server").iterdir() if p.name.isdigit()]
        self._runs = max(before, default=0)
        for place in sorted(self.folder.glob("node*")):
            self._clear(place)
            if int(place.name.removeprefix("node")) in self.places:
                (place / AWAY).unlink(missing_ok=True)
            elif any(place.iterdir()):  # the folder of a hospital that this exercise has
                (place / AWAY).touch(mode=0o600)
        self._clear(self.folder / "server", keep=self._runs)

    def _clear(self, place: Path, keep: int = 0) -> None:
        """Deletes the files of earlier runs."""
        for old in (p for p in place.iterdir() if p.name.isdigit() and int(p.name) != keep):
            shutil.rmtree(old, ignore_errors=True)

    def _supervisor(self) -> str:
        return CONSOLE


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
_places: ContextVar[list[int] | None] = ContextVar("places", default=None)


@contextlib.contextmanager
def at(places: Sequence[int]) -> Generator[None]:
    """A context in which client 0, 1, ... of a federation runs at the station of this number, if there are stations."""
    before = _places.set(list(places))
    try:
        yield
    finally:
        _places.reset(before)


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
        kept[nodes] = Stationed(nodes) if os.environ.get(STATIONS) else Deployment(nodes)
    try:
        return kept[nodes].run(server, client, seen)
    except BaseException:
        kept.pop(nodes).stop()
        raise
