"""The supervisor of a deployed federation: it forks Flower's processes, watches them, and ends them.

It runs as a process of its own, `python -m testbed.subjects.federation.supervisor FOLDER NODES`. All that Flower and
the testbed import is imported once, here; every process is then a fork that starts at once. It has a single thread.

Each line of its input is the number of a run whose files lie in the folder. For each it prints one line: the number
when the run has ended well, or an error as JSON. When its input ends, because the deployment is not needed any more or
because the process that started it is gone, it ends all processes and deletes the folder.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

from testbed.core.errors import RunError, TestbedError
from testbed.subjects.federation import certificates, compat, deployed
from testbed.subjects.federation.certificates import HOST

TICK_S = 0.05
PATIENCE_S = 120.0
"""Seconds that a process has for its start, and one of Flower's commands for its answer."""
GRACE_S = 3.0
"""Seconds that processes have to end by themselves, before they are killed."""
LINK = "here"
"""The name of the connection to our own SuperLink in Flower's configuration."""
PROCESSES = "processes"
"""The file that lists each process that was started: its id, whose it is, and its command."""
SERVER_APP = "flwr-serverapp"
LOGS = "TESTBED_DEBUG=1 shows the logs of all its processes (do not share them: they may quote data)."


class Stopped(BaseException):
    """The supervisor was told to end."""


class Ended(NamedTuple):
    """A process that ended: its id, whose it was, its command, and its exit code, which is negative for a signal."""

    pid: int
    part: str
    command: str
    code: int


class Supervisor:
    """The processes of one deployment, by process id, and what it takes to start them.

    `folder` holds the files of each part's runs. Logs and Flower's own files are in `scratch`, by default the same.
    """

    def __init__(self, folder: Path, nodes: int, scratch: Path | None = None) -> None:
        self.folder, self.nodes, self.scratch = folder, nodes, scratch or folder
        self.keys = folder / deployed.KEYS
        self.running: dict[int, tuple[str, str]] = {}
        self.ended: list[Ended] = []
        self.asked: list[int] = []
        self.waiting: list[list[str]] = []
        self._heard = b""
        self._apps, self._ask = os.pipe()
        self._told = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self.link = f"{HOST}:{free_ports(1)[0]}"
        self.commands = compat.deployed(compat.bundle_of(deployed.write_app(self.scratch / "app")), self._launch)

    def reached(self, node: int) -> str:
        """The address at which a node reaches the SuperLink."""
        return self.link

    def _launch(self, command: Sequence[str]) -> None:
        """Asks the supervisor to start an app. It is called in the processes that start tasks, which are forks."""
        os.write(self._ask, (json.dumps([os.environ["TESTBED_PART"], *command]) + "\n").encode())

    def start(self, part: str, *command: str, out: Path | None = None) -> int:
        """Forks a process that runs one of Flower's commands, and returns its id. `part` names whose process it is."""
        child = os.fork()
        if child == 0:
            self._become(part, command, out)
        self.running[child] = (part, command[0])
        with (self.scratch / PROCESSES).open("a") as listed:
            listed.write(f"{child} {part} {command[0]}\n")
        return child

    def _become(self, part: str, command: Sequence[str], out: Path | None) -> NoReturn:
        """Runs the command in this process, which is a fork, and ends it."""
        code = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._told.close()
            home = self.scratch / part
            log = os.open(home / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(log if out is None else os.open(out, os.O_WRONLY | os.O_CREAT, 0o600), 1)
            os.dup2(log, 2)
            os.environ |= {
                "FLWR_HOME": str(home / "flwr"),
                deployed.FOLDER: str(self.folder / part),
                "TESTBED_PART": part,
            }
            sys.argv = list(command)
            self.commands[command[0]]()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code & 0xFF)

    def up(self) -> None:
        """Starts the SuperLink, registers the nodes' keys, and starts the SuperNodes. Raises `RunError`."""
        self.prepare("server", *(f"node{n}" for n in range(self.nodes)))
        self.start_link(HOST)
        self.register()
        ports = free_ports(self.nodes)
        for node in range(self.nodes):
            self.start_node(node, self.reached(node), ports[node])
        for node in range(self.nodes):
            self.serve_node(node, ports[node])

    def prepare(self, *parts: str) -> None:
        """Makes the places of these parts, and tells Flower's commands where the SuperLink is."""
        for part in {"server", *parts}:
            (self.scratch / part / "flwr").mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.scratch / "server" / "flwr" / "config.toml").write_text(
            f'[superlink]\ndefault = "{LINK}"\n\n[superlink.{LINK}]\naddress = "{self.link}"\n'
            f'root-certificates = "{self.keys / certificates.AUTHORITY}"\n',
            encoding="utf-8",
        )

    @property
    def _trusted(self) -> list[str]:
        return ["--root-certificates", str(self.keys / certificates.AUTHORITY)]

    @property
    def _secret(self) -> list[str]:
        return ["--superexec-auth-secret-file", str(self.keys / certificates.SECRET)]

    @property
    def _served(self) -> list[str]:
        return [
            *("--ssl-ca-certfile", str(self.keys / certificates.AUTHORITY)),
            *("--ssl-certfile", str(self.keys / certificates.CERTIFICATE)),
            *("--ssl-keyfile", str(self.keys / certificates.KEY)),
        ]

    def start_link(self, host: str) -> None:
        """Starts the SuperLink, which listens on `host`, and what starts the ServerApp."""
        address = ["--host", host, "--port", self.link.rpartition(":")[2], "--disable-runtime-dependency-installation"]
        own = ["--isolation", "process", "--enable-supernode-auth"]
        self.start("server", "flower-superlink", *address, *self._served, *self._secret, *own)
        self._until(lambda: answers(self.link), "the SuperLink")
        self.start("server", "flower-superexec", "--runtime-api-address", self.link, *self._trusted, *self._secret)

    def register(self) -> None:
        """Tells the SuperLink the nodes' keys."""
        for node in range(self.nodes):
            self.flwr("supernode", "register", str(self.keys / f"node{node}.pub"), LINK)

    def start_node(self, node: int, link: str, port: int) -> None:
        """Starts a SuperNode whose own door is on loopback."""
        part, settings = f"node{node}", f"{compat.PARTITION}={node} {compat.PARTITIONS}={self.nodes}"
        self.start(
            *(part, "flower-supernode", "--superlink", link, *self._trusted, *self._served, *self._secret),
            *("--isolation", "process", "--auth-supernode-private-key", str(self.keys / part)),
            *("--host", HOST, "--port", str(port), "--node-config", settings),
        )

    def serve_node(self, node: int, port: int) -> None:
        """Starts what starts the ClientApps of a SuperNode, as soon as it answers."""
        own = f"{HOST}:{port}"
        self._until(lambda: answers(own), f"SuperNode {node}")
        self.start(f"node{node}", "flower-superexec", "--runtime-api-address", own, *self._trusted, *self._secret)

    def flwr(self, *command: str) -> Any:
        """What one of Flower's own commands prints as JSON. Raises `RunError` if it fails."""
        out = self.scratch / "server" / "answer"
        child = self.start("server", "flwr", *command, "--format", "json", out=out)
        self._until(lambda: child not in self.running, f"flwr {command[0]}")
        try:
            told = json.loads(out.read_text(encoding="utf-8"))
        except ValueError:
            told = {}
        out.unlink(missing_ok=True)
        if not told or told.get("success") is False:
            raise RunError(
                "TB-DEPLOY-003",
                f"Flower's command {command[0]} did not succeed.",
                "The SuperLink refused it, or did not answer.",
                f"Start it again. {LOGS}",
            )
        return told

    def run(self, number: int) -> None:
        """Runs the apps in the folder of this number. Raises the error that ended the run."""
        folder = self.folder / "server" / str(number)
        for file in (folder / deployed.SERVER, self.folder / "node0" / str(number) / deployed.CLIENT):
            cloudpickle.loads(file.read_bytes())  # what the apps import is then imported in all forks
        self.ended.clear()
        begun = self.flwr("run", str(self.scratch / "app"), LINK, "--run-config", f"{deployed.NUMBER}={number}")
        self._until(lambda: self._over(folder), "the run", patience=None)
        if (folder / deployed.FAILED).is_file():
            raise deployed.read_error(folder / deployed.FAILED)
        self._until(lambda: not any(is_app(command) for _, command in self.running.values()), "the end of the apps")
        self.conclude(begun["run-id"], folder)

    def conclude(self, run: str, folder: Path) -> None:
        """Raises the error that ended the run, or `RunError` if it ended without a transcript."""
        if (folder / deployed.FAILED).is_file():
            raise deployed.read_error(folder / deployed.FAILED)
        status = [r["status"] for r in self.flwr("list", LINK, "--run-id", run)["runs"]]
        if not (folder / deployed.SEEN).is_file() or status != ["finished:completed"]:
            raise RunError(
                "TB-DEPLOY-004",
                f"The deployed federation ended without a transcript ({', '.join(status) or 'unknown'}).",
                "The ServerApp was stopped, or could not be loaded.",
                f"Start it again. {LOGS}",
            )

    def _over(self, folder: Path) -> bool:
        written = any((folder / name).is_file() for name in (deployed.SEEN, deployed.FAILED))
        return written or any(e.command == SERVER_APP for e in self.ended)

    def _until(self, reached: Callable[[], bool], what: str, patience: float | None = PATIENCE_S) -> None:
        """Waits and watches. Raises `RunError` if a process that must live ends, or if `patience` (seconds) does."""
        limit = None if patience is None else time.monotonic() + patience
        while not reached():
            self.watch()
            if patience is not None and limit is not None and time.monotonic() > limit:
                raise RunError(
                    "TB-DEPLOY-001",
                    f"The deployment waited {patience:.0f} s for {what}.",
                    "The machine is overloaded, or a process hangs.",
                    f"Start it again with fewer clients. {LOGS}",
                )

    def watch(self) -> None:
        """One look at all that may happen: a run is asked for, an app must be started, a process ended.

        Raises `Stopped` when the input ends, and `RunError` for a process without which a run cannot go on.
        """
        ready, _, _ = select.select([self._apps, 0], [], [], TICK_S)
        if 0 in ready:
            self._hear()
        if self._apps in ready:
            self.waiting += [json.loads(line) for line in os.read(self._apps, 1 << 16).decode().splitlines()]
        while self.running:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                break
            self._note(Ended(child, *self.running.pop(child), os.waitstatus_to_exitcode(status)))
        for app in list(self.waiting):
            # An app sends its answer first and its state last, so the next one of the node would miss the state.
            if (app[0], app[1]) not in self.running.values():
                self.waiting.remove(app)
                self.start(*app)

    def _note(self, ended: Ended) -> None:
        self.ended.append(ended)
        killed = is_app(ended.command) and ended.code < 0
        if killed or ended.command.startswith("flower-"):
            how = f"by signal {-ended.code}" if ended.code < 0 else f"with exit code {ended.code}"
            raise RunError(
                "TB-DEPLOY-002",
                f"A process of the deployed federation ended {how}: {ended.command} of {ended.part}.",
                "Without it, the federation would wait for ever or continue with fewer clients.",
                f"Start it again. {LOGS}",
            )

    def _hear(self) -> None:
        given = os.read(0, 1 << 12)
        if not given:
            raise Stopped
        *lines, self._heard = (self._heard + given).split(b"\n")
        self.asked += [int(line) for line in lines]

    def say(self, text: str) -> None:
        print(text, file=self._told, flush=True)

    def serve(self) -> None:
        """Starts everything, then runs what is asked for, until the input ends or something fails."""
        self.up()
        self.say("ready")
        while True:
            self.watch()
            while self.asked:
                number = self.asked.pop(0)
                self.run(number)
                self.say(str(number))

    def fail(self, error: Exception) -> None:
        """Tells the error, and keeps the logs until the input ends."""
        traceback.print_exception(error)
        known = error if isinstance(error, TestbedError) else _unexpected(error)
        deployed.write_error(self.scratch / deployed.FAILED, known)
        self.say("failed")
        while True:
            self._hear()

    def down(self) -> None:
        """Ends all processes: apps and SuperNodes first, since a SuperNode without a SuperLink tries again."""
        link = [pid for pid, (_, command) in self.running.items() if command == "flower-superlink"]
        for group in ([pid for pid in self.running if pid not in link], link):
            self._end(group)

    def _end(self, group: list[int]) -> None:
        for number, grace in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
            for pid in group:
                if pid in self.running:
                    os.kill(pid, number)
            limit = time.monotonic() + grace
            while any(pid in self.running for pid in group) and time.monotonic() < limit:
                child, _ = os.waitpid(-1, os.WNOHANG)
                self.running.pop(child, ("", ""))
                if child == 0:
                    time.sleep(TICK_S)


def is_app(command: str) -> bool:
    """Is this the command of a ServerApp or a ClientApp, which ends with its task?"""
    return command.startswith("flwr-")


def free_ports(number: int) -> list[int]:
    """Ports on loopback that nobody listens on."""
    held = [socket.socket() for _ in range(number)]
    try:
        for one in held:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def answers(address: str) -> bool:
    """Does somebody listen at this address?"""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _unexpected(error: Exception) -> RunError:
    return RunError(
        "TB-DEPLOY-009",
        f"The supervisor of the deployed federation failed ({type(error).__name__}).",
        "It starts and watches Flower's processes.",
        f"Please report it. {LOGS}",
    )


def main(kind: Callable[[Path, int], Supervisor] = Supervisor) -> None:
    def stop(*_: Any) -> None:
        raise Stopped

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    supervisor = kind(Path(sys.argv[1]), int(sys.argv[2]))
    try:
        try:
            supervisor.serve()
        except Exception as error:
            supervisor.fail(error)
    except Stopped:
        pass
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        supervisor.down()
        shutil.rmtree(supervisor.scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
