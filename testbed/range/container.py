"""What the containers of a range run besides scorer and board (docker/compose.yml).

    python -m testbed.range.container prepare EXERCISE    makes people, secrets, certificates and the first model
    python -m testbed.range.container attend SIDE         keeps a desk open, for those who come in by `exec`
    python -m testbed.range.container healthy [URL]       0 if the scorer, or the server at URL, answers
    python -m testbed.range.container beating             0 if the SuperLink or the SuperNode of this container is well

One project of the compose file is one instance with one team. Its volumes are mounted under /range/game, and each
container has those of its own role alone.
"""

from __future__ import annotations

import os
import signal
import ssl
import sys
import threading
import time
import urllib.request
from pathlib import Path

GAME, AUTHORITY, CERTIFICATE = "game", "authority", "certificate"
"""The names of the folders under TESTBED_RANGE: the instance, its authority's certificate, the scorer's certificate."""
NAMES = ("scorer", "localhost")
"""The names for which the scorer's certificate is valid, besides 127.0.0.1."""
PATIENCE_S = 4.0
LINK = "link"
"""The SuperLink's host name."""
KEYS = "keys"
"""The folder of the stations' keys under TESTBED_RANGE: for `init` one of each station, for a station its own."""
BEAT, BEAT_S = Path("/tmp/station/beat"), 15.0
"""The file that a station touches while all is well, and the age in seconds at which it is not well any more."""


def prepare(source: str, root: Path) -> None:
    """Everything that must be there before the scorer starts. A project that is started again stays as it was."""
    from testbed.range import exercise as exercises
    from testbed.range import instance as instances
    from testbed.range.desk import STATIONS
    from testbed.range.play import populate
    from testbed.subjects.federation import certificates

    folder = root / GAME
    if (folder / "instance.json").is_file():
        return
    certificates.server(root / AUTHORITY, root / CERTIFICATE, NAMES)
    if os.environ.get(STATIONS):
        _stations(root, len(exercises.federated(exercises.load(source)).hospitals))
    made = instances.create(folder, source, 1, finished=lambda made: populate(made, print))
    print(f"{made.exercise.title}: ready")


def _stations(root: Path, hospitals: int) -> None:
    """The keys of the SuperLink and of each hospital's SuperNode."""
    from testbed.subjects.federation import certificates

    trusted = root / AUTHORITY / "federation"
    trusted.mkdir(exist_ok=True)
    nodes = [root / KEYS / f"node{number}" for number in range(hospitals)]
    certificates.stations(trusted, root / KEYS / "server", nodes, LINK)


def beating(file: Path = BEAT) -> bool:
    """Did the station of this container say lately that all is well?"""
    try:
        return time.time() - file.stat().st_mtime < BEAT_S
    except OSError:
        return False


def attend(side: str, root: Path) -> None:
    """Keeps a desk open until the container is stopped. The instructor's tells the scorer that the exercise begins."""
    from testbed.range import instance as instances
    from testbed.range.desk import Desk

    if side == "white":
        game = instances.find_at(root / GAME)
        white = Desk(game, "white")
        if not white.view()["events"]:
            white.note("start", {"teams": game.teams, "exercise": game.exercise.id}, 0)
    _stopped()


def _stopped() -> bool:
    """Waits until the container is stopped."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    while not over.wait(3600):
        pass
    return True


def healthy(url: str) -> bool:
    """Does the server at this address answer? HTTPS is trusted by the range's own authority alone."""
    authority = os.environ.get("TESTBED_SCORER_CA")
    trusted = ssl.create_default_context(cafile=authority) if authority and url.startswith("https:") else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *_https(trusted))
    try:
        with opener.open(f"{url}/health", timeout=PATIENCE_S) as answer:
            return answer.status == 200
    except OSError:
        return False


def _https(trusted: ssl.SSLContext | None) -> list[urllib.request.BaseHandler]:
    return [] if trusted is None else [urllib.request.HTTPSHandler(context=trusted)]


def main(arguments: list[str]) -> int:
    root = Path(os.environ.get("TESTBED_RANGE", "/range"))
    match arguments:
        case ["prepare", source]:
            prepare(source, root)
        case ["attend", ("red" | "blue" | "white") as side]:
            attend(side, root)
        case ["healthy", *url] if len(url) < 2:
            return 0 if healthy(url[0] if url else os.environ.get("TESTBED_SCORER", "")) else 1
        case ["beating"]:
            return 0 if beating() else 1
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
