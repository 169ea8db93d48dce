# pyright: strict
"""The container runtime: a compose file driven by Docker or Podman, one project for each instance.

What this machine keeps of such an instance are two files in its folder. All else is in the project's volumes, and the
commands of testbed range run inside the container of the role that they are for.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.core.errors import RunError, UsageError
from testbed.range import composed
from testbed.range import exercise as exercises
from testbed.range import instance as instances
from testbed.range.container import GAME

RECORD, FILE = "containers.json", "compose.yml"
"""What this machine keeps of an instance: how it was started, and its compose file."""
COMPOSE = Path(os.environ.get("TESTBED_COMPOSE") or Path(__file__).parents[2] / "docker" / "compose.yml")
"""The compose file. TESTBED_COMPOSE names another one, for a host that cannot do all that ours asks for."""
PORT, EXERCISE = "TESTBED_BOARD_PORT", "TESTBED_EXERCISE"
ENGINES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "docker": (("docker", "compose", "version"), ("docker", "info")),
    "podman": (("podman", "compose", "version"), ("podman", "info")),
    "podman-compose": (("podman-compose", "version"), ("podman", "info")),
}
"""Each engine by its command, and what must work before it can be used."""
SERVICE_OF: Mapping[str, str] = {"attack": "red", "defend": "blue"}
"""The container in which a command runs; other ones run in the instructor's."""
BLUE_CLAIMS = frozenset({"detection", "decision"})
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Project:
    """An instance in containers: its name is the project's."""

    name: str
    exercise: str
    engine: str
    port: int

    def run(self, *arguments: str, heard: bool = False) -> subprocess.CompletedProcess[str]:
        """A command of compose on this project. Its output goes to this terminal, or with `heard` is returned."""
        words = [self.engine] if self.engine == "podman-compose" else [self.engine, "compose"]
        own = instances.home() / self.name / FILE
        environment = {**os.environ, PORT: str(self.port), EXERCISE: self.exercise}
        return subprocess.run(
            [*words, "-f", str(own if own.is_file() else COMPOSE), "-p", self.name, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=heard,
            text=True,
            check=False,
        )


def engine() -> str:
    """The engine that works here, Docker first. Raises `UsageError` that says of each what is missing."""
    missing: list[str] = []
    for name, needed in ENGINES.items():
        failed = next((command for command in needed if not _works(command)), None)
        if failed is None:
            return name
        missing.append(
            f"{name}: " + ("not installed" if shutil.which(failed[0]) is None else f"{' '.join(failed)} fails")
        )
    raise UsageError(
        "TB-RANGE-058",
        "No container engine with compose works here.",
        f"Tried: {'; '.join(missing)}.",
        "Install Docker with its compose plugin, or Podman with podman-compose; or use --runtime processes.",
    )


def _works(command: Sequence[str]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    try:
        done = subprocess.run(
            list(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def names() -> list[str]:
    """The instances in containers."""
    return sorted(p.parent.name for p in instances.home().glob(f"*/{RECORD}"))


def find(name: str) -> Project | None:
    """The instance in containers of this name, if there is one."""
    path = instances.home() / name / RECORD
    if not instances.NAME.match(name) or not path.is_file():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    return Project(name, str(told["exercise"]), str(told["engine"]), int(told["port"]))


def up(source: str, name: str | None, teams: int | None, port: int) -> Project:
    """Start an exercise in containers, or a known instance again. Raises `UsageError` before anything is started."""
    called = (name or source).lower()
    known = find(called)
    if known is None:
        if teams not in (None, 1):
            raise UsageError(
                "TB-RANGE-059",
                "An instance in containers has one team.",
                "Its volumes and networks are those of one red and one blue side.",
                "Start one instance for each team, with --name.",
            )
        if source not in exercises.shipped():
            exercises.folder(source)  # a misspelt name gets its own answer
            raise UsageError(
                "TB-RANGE-060",
                "Your own exercise is not in the image.",
                "A container sees no folder of this machine.",
                "Use --runtime processes; or put the folder into testbed/range/exercises and build the images again.",
            )
        if not instances.NAME.match(called) or (instances.home() / called).exists():
            raise UsageError(
                "TB-RANGE-061",
                f"{called!r} cannot be the name of a new instance in containers.",
                "It is taken, or it cannot be the name of a project.",
                "Give another --name, of small letters, digits, - and _.",
            )
    project = known or Project(called, source, engine(), port)
    made = composed.compose(composed.read(base()), exercises.load(project.exercise))
    (instances.home() / called).mkdir(mode=0o700, parents=True, exist_ok=True)
    (instances.home() / called / FILE).write_text(composed.text(made), encoding="utf-8")
    told = {"exercise": project.exercise, "engine": project.engine, "port": project.port}
    (instances.home() / called / RECORD).write_text(json.dumps(told), encoding="utf-8")
    wait = [] if project.engine == "podman-compose" else ["--wait"]
    if project.run("up", "-d", *wait).returncode != 0:
        raise RunError(
            "TB-RANGE-063",
            "The containers did not start.",
            "The engine's own words are above.",
            f"Build the images (docker/README.md); see testbed range status {called}; or testbed range down {called}.",
        )
    return project


def base() -> Path:
    """The compose file from which that of an exercise is made. Raises `UsageError` if it is not here."""
    if not COMPOSE.is_file():
        raise UsageError(
            "TB-RANGE-062",
            "The compose file is not here.",
            "It lies in docker/ of the repository, and the package was installed without it.",
            "Clone the repository and install with pip install -e .",
        )
    return COMPOSE


def status(project: Project) -> list[str]:
    """What runs and where, in lines for people."""
    told = project.run("ps", heard=True)
    head = (
        f"{project.name}: {project.exercise} in containers ({project.engine}), pages at http://127.0.0.1:{project.port}"
    )
    return [head, *told.stdout.strip().splitlines()]


def token(project: Project, side: str) -> str:
    """The token of a desk, for whoever starts the exercise."""
    place = {"white": f"/range/{GAME}/white", "red": f"/range/{GAME}/red-1", "blue": f"/range/{GAME}/blue-1"}[side]
    return project.run("exec", "-T", "range", "cat", f"{place}/token", heard=True).stdout.strip()


def reset(project: Project) -> Project:
    """Everything new: the volumes are deleted, and the exercise starts again."""
    down(project, remove=True)
    return up(project.exercise, project.name, None, project.port)


def down(project: Project, remove: bool = False) -> bool:
    """Stop the containers; with `remove`, delete the volumes and the record too."""
    done = project.run("down", *(["-v"] if remove else []))
    if done.returncode == 0 and remove:
        shutil.rmtree(instances.home() / project.name)
    return done.returncode == 0


def forwarded(command: str, arguments: Sequence[str]) -> int | None:
    """Runs a command of testbed range inside the container that it is for, if its instance is in containers.

    Returns its exit code; None if the command is not about such an instance.
    """
    name = next((a for a in arguments if find(a) is not None), None)
    project = find(name) if name is not None else None
    if project is None or name is None:
        return None
    place = list(arguments).index(name)
    inner = [*arguments[:place], GAME, *arguments[place + 1 :]]
    service = SERVICE_OF.get(command, "range")
    if command == "claim":
        service = "blue" if BLUE_CLAIMS & set(arguments[place + 1 :]) else "red"
    return project.run("exec", "-T", service, "testbed", "range", command, *inner).returncode
