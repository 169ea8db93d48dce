"""A deployed federation whose parts are in containers: each is a station, which runs its own part of Flower.

    python -m testbed.subjects.federation.stations link NODES           the SuperLink, and the ServerApps
    python -m testbed.subjects.federation.stations node NUMBER NODES    a SuperNode, and its ClientApps

The coordinator's container writes the files of a run into `FOLDER/server` of the SuperLink and `FOLDER/node0`,
`FOLDER/node1`, ... of the nodes. Each is a volume that it shares with that station alone. Then it asks the SuperLink
for the run. Where a node's folder has a file `away`, its SuperNode is stopped until that file is gone.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from testbed.core.errors import RunError
from testbed.subjects.federation import deployed
from testbed.subjects.federation.deployment import AWAY, SETTINGS, STATIONS
from testbed.subjects.federation.supervisor import (
    HOST,
    LINK,
    PATIENCE_S,
    SERVER_APP,
    Stopped,
    Supervisor,
    answers,
    main,
)

NAME, PORT, NODE_PORT = "link", 9092, 9094
"""The host name and the port of the SuperLink, and the port of each SuperNode's own door, on its loopback."""
FOLDER, KEYS, TRUSTED = Path("/range/federation"), Path("/range/keys"), Path("/range/authority/federation")
"""The folders of the parts, of a station's own keys, and of the authority's certificate, which others trust."""
SCRATCH = Path("/tmp/station")
BEAT = SCRATCH / "beat"
"""The file that a station touches while all is well; the health check looks at its age."""
STATE, GIVEN_UP = "station", "given-up"
"""The file in which a node says whether it is `on` or `off`, and since which start of its container; and the file in
the folder of a run that the coordinator gave up."""
BEAT_S, ASK_S = 1.0, 5.0
SETTLED_S, AGAIN_S = 3.0, 2.0
"""Seconds in which a SuperNode that the SuperLink refuses has ended, and until it is started again."""
ALL = "0.0.0.0"
"""Where the SuperLink listens: in its container, whose networks have no other member than hospitals and coordinator."""


class Station(Supervisor):
    """One part of the federation, and its processes, in a container of its own."""

    def __init__(self, part: str, nodes: int, link: str) -> None:
        (SCRATCH / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        super().__init__(Path(os.environ.get(STATIONS) or FOLDER), nodes, SCRATCH)
        self.part, self.keys, self.link, self._beaten = part, KEYS, link, 0.0
        self.begun = secrets.token_hex(8)

    def beat(self) -> None:
        """Says that all is well."""
        if time.monotonic() - self._beaten > BEAT_S:
            self._beaten = time.monotonic()
            BEAT.touch()

    def serve(self) -> None:
        """Runs this part. Where one of its processes ends, all of them are started again."""
        self.prepare(self.part)
        while True:
            try:
                self.begin()
                while True:
                    self.step()
                    self.beat()
                    self.watch()
            except RunError as error:
                print(error, file=sys.stderr, flush=True)
                self.down()
                self.waiting.clear()
                self.begun = secrets.token_hex(8)
                time.sleep(AGAIN_S)

    def begin(self) -> None:
        """What comes first."""

    def step(self) -> None:
        """What is looked at again and again."""


class Link(Station):
    """The SuperLink's station. It tells the SuperLink the nodes' keys, so that it may be started again at any time."""

    def __init__(self, nodes: int) -> None:
        super().__init__("server", nodes, f"{HOST}:{PORT}")

    def begin(self) -> None:
        self.start_link(ALL)
        self.register()

    def step(self) -> None:
        """Ends the ServerApp of a run that was given up: it would wait for answers, and the next one for its end."""
        for given_up in (self.folder / self.part).glob(f"*/{GIVEN_UP}"):
            self._end([pid for pid, (_, command) in self.running.items() if command == SERVER_APP])
            given_up.unlink()


class Node(Station):
    """A hospital's station. The SuperLink takes a node that was killed for present until it misses two heartbeats, and
    refuses it so long."""

    def __init__(self, number: int, nodes: int) -> None:
        super().__init__(f"node{number}", nodes, f"{NAME}:{PORT}")
        self.number = number

    def begin(self) -> None:
        self.tell("starting")

    def step(self) -> None:
        away = (self.folder / self.part / AWAY).exists()
        if away and self.running:
            self.down()
        elif not away and not self.running:
            self.start_node(self.number, self.link, NODE_PORT)
            self.serve_node(self.number, NODE_PORT)
            limit = time.monotonic() + SETTLED_S
            self._until(lambda: time.monotonic() > limit, "the SuperNode to be accepted")
        self.tell("off" if away else "on")

    def tell(self, what: str) -> None:
        """Says to the coordinator what this node is, if that has changed."""
        state, told = self.folder / self.part / STATE, f"{what} {self.begun}"
        if not state.is_file() or state.read_text(encoding="utf-8") != told:
            new = state.with_suffix(".new")
            new.write_text(told, encoding="utf-8")
            new.replace(state)


class Console(Supervisor):
    """The coordinator's side: it asks the SuperLink for runs, and starts no other process than Flower's commands."""

    def __init__(self, folder: Path, nodes: int) -> None:
        super().__init__(folder, nodes, Path(os.environ["TMPDIR"]).parent)
        self.link, self.keys = f"{NAME}:{PORT}", TRUSTED

    def up(self) -> None:
        """Waits until the SuperLink answers and as many nodes are online as take part. Raises `RunError`."""
        self.prepare("server")
        self._until(lambda: answers(self.link), "the SuperLink")
        limit = time.monotonic() + PATIENCE_S
        while not (settled(self.folder) and self.online() == self.nodes):
            if time.monotonic() > limit:
                raise RunError(
                    "TB-DEPLOY-012",
                    f"Not all hospitals are there: {self.online()} of {self.nodes} SuperNodes are online.",
                    f"The round waited {PATIENCE_S:.0f} s for their containers.",
                    "See which containers run (testbed range status), and start them again (testbed range up).",
                )
            self._pause(1.0)

    def online(self) -> int:
        """How many SuperNodes the SuperLink hears."""
        return sum(node["status"] == "online" for node in self.flwr("supernode", "list", LINK)["nodes"])

    def run(self, number: int) -> None:
        folder, before = self.folder / "server" / str(number), states(self.folder)
        run = str(
            self.flwr("run", str(self.scratch / "app"), LINK, "--run-config", f"{deployed.NUMBER}={number}")["run-id"]
        )
        try:
            while not self._over(folder):
                self._pause(ASK_S, folder)
                if self.status(run).startswith("finished"):
                    break
                if states(self.folder) != before:
                    raise RunError(
                        "TB-DEPLOY-013",
                        "A hospital's container was started again while the federation ran.",
                        "What it had been asked is lost, and the server would wait for its answer.",
                        "See which containers run (testbed range status), and play the round again.",
                    )
        except BaseException:
            (folder / GIVEN_UP).touch(mode=0o600)
            raise
        if not (folder / deployed.FAILED).is_file():
            limit = time.monotonic() + PATIENCE_S
            while not self.status(run).startswith("finished") and time.monotonic() < limit:
                self._pause(0.2)
        self.conclude(run, folder)

    def status(self, run: str) -> str:
        """The status of a run. Raises `RunError` if the SuperLink does not know it, since it was started again."""
        return str(self.flwr("list", LINK, "--run-id", run)["runs"][0]["status"])

    def _pause(self, seconds: float, folder: Path | None = None) -> None:
        limit = time.monotonic() + seconds
        self._until(lambda: time.monotonic() > limit or (folder is not None and self._over(folder)), "a moment", None)


def settled(folder: Path) -> bool:
    """Does each node say what the coordinator wants, that it is on or off?"""
    told = states(folder)
    places = [p for p in folder.glob("node*") if any(p.iterdir())]
    return all(told.get(p.name, "").startswith("off " if (p / AWAY).exists() else "on ") for p in places)


def states(folder: Path) -> dict[str, str]:
    """What each node says of itself."""
    return {p.parent.name: p.read_text(encoding="utf-8") for p in sorted(folder.glob(f"node*/{STATE}"))}


def station(arguments: Sequence[str]) -> int:
    """Runs a station until it is stopped."""

    def stop(*_: Any) -> None:
        raise Stopped

    match arguments:
        case ["link", nodes]:
            made: Callable[[], Station] = partial(Link, int(nodes))
        case ["node", number, nodes]:
            made = partial(Node, int(number), int(nodes))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    os.environ.update(SETTINGS)
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(mode=0o700)
    silent, _ = os.pipe()
    os.dup2(silent, 0)  # nobody asks a station for anything
    one = made()
    try:
        one.serve()
        return 0
    except Stopped:
        return 0
    except Exception as error:
        traceback.print_exc()
        if log := _last_words(SCRATCH / one.part / "log"):
            print(log, file=sys.stderr)
        print(error, file=sys.stderr)
        return 1
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        BEAT.unlink(missing_ok=True)
        one.down()


def _last_words(log: Path) -> str:
    """The end of Flower's log, for the container's own log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]) if log.is_file() else ""


if __name__ == "__main__":
    if sys.argv[1:2] in (["link"], ["node"]):
        sys.exit(station(sys.argv[1:]))
    main(Console)
