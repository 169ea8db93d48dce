# pyright: strict
"""The folder of a running exercise: who may read which part of it, and the secrets that are made at its start.

    NAME/
      instance.json, exercise.yaml     what is played, by how many teams
      door.json                        the address of the scorer while it runs
      scorer/                          truth, key of the log, log, claims: the scorer's alone
      white/                           the instructor's token, page and models between rounds
      red-1/, blue-1/, red-2/, ...     a desk for each team: its token, its brief, what it may see

Every folder has mode 0700 and every secret 0600. In the process runtime all of them belong to one user, so this keeps
teams apart by agreement alone. Different users, or containers, keep them apart for certain.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from testbed.core.errors import UsageError, perhaps
from testbed.range import exercise as exercises
from testbed.range.exercise import Exercise

Side = Literal["red", "blue", "white"]
HOME = "TESTBED_RANGE"
"""The environment variable that names the folder of all instances; by default runs/range."""
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,40}$")
TOKEN_BYTES = 24
TOKEN = re.compile(r"^[A-Za-z0-9_-]{16,200}$")
OF_DESK = "x-testbed-desk"
"""The header in which a command tells the scorer for whom it speaks, so that a mixed-up token is noticed."""
SOURCE = "exercise"
"""The folder of the instructor's desk that holds the exercise as it was started, for a reset."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One exercise that is played, or was."""

    folder: Path
    exercise: Exercise
    teams: int

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def scorer(self) -> Path:
        return self.folder / "scorer"

    @property
    def white(self) -> Path:
        return self.folder / "white"

    def desk(self, side: Side, team: int) -> Path:
        """The folder of one side of one team."""
        if side == "white":
            return self.white
        if not 1 <= team <= self.teams:
            raise UsageError(
                "TB-RANGE-004",
                f"There is no team {team}.",
                f"This instance has {self.teams} {'team' if self.teams == 1 else 'teams'}.",
                f"Give --team with a number from 1 to {self.teams}.",
            )
        return self.folder / f"{side}-{team}"

    def token(self, side: Side, team: int = 0) -> str:
        """The secret with which this side speaks to the scorer. Raises `UsageError` if its file holds none."""
        try:
            text = (self.desk(side, team) / "token").read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            text = ""
        if not TOKEN.match(text):
            raise UsageError(
                "TB-RANGE-032",
                f"The token of {self.desk(side, team).name} cannot be read.",
                "Its file token is missing, empty, or holds something else.",
                "Ask the instructor for it; it can be taken from a snapshot.",
            )
        return text

    def sides(self) -> Iterator[tuple[Side, int]]:
        yield "white", 0
        for team in range(1, self.teams + 1):
            yield "red", team
            yield "blue", team


def home() -> Path:
    """The folder of all instances."""
    return Path(os.environ.get(HOME) or "runs/range")


def names() -> list[str]:
    """The instances there are."""
    return sorted(p.parent.name for p in home().glob("*/instance.json"))


def find(name: str) -> Instance:
    """The instance of this name. Raises `UsageError` if there is none."""
    folder = home() / name
    if not NAME.match(name) or not (folder / "instance.json").is_file():
        known = names()
        raise UsageError(
            "TB-RANGE-005",
            f"There is no instance called {name!r}.",
            f"Instances are folders in {HOME} (or runs/range).",
            f"Did you mean one of these? {perhaps(name, known)}" if known else "Start one: testbed range up EXERCISE.",
        )
    return find_at(folder)


def find_at(folder: Path) -> Instance:
    """The instance in this folder."""
    told: dict[str, Any] = json.loads((folder / "instance.json").read_text(encoding="utf-8"))
    return Instance(folder, exercises.load(str(folder)), int(told["teams"]))


def create(folder: Path, source: str, teams: int, finished: Callable[[Instance], None] | None = None) -> Instance:
    """A new instance in a place without files: its folders, briefs and secrets, and of its people what `finished` does.

    Its file instance.json comes last, so that half an instance is none.
    """
    made = Instance(folder, exercises.load(source), teams)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    briefs = exercises.folder(source)
    for path in (made.scorer, made.white, made.scorer / "claims", made.white / SOURCE):
        path.mkdir(mode=0o700, exist_ok=True)
    for page in briefs.iterdir():
        if page.is_file() and page.name.endswith(exercises.SUFFIXES):
            (made.white / SOURCE / page.name).write_text(page.read_text("utf-8"), encoding="utf-8")
    (folder / exercises.FILE).write_text((briefs / exercises.FILE).read_text("utf-8"), encoding="utf-8")
    who: dict[str, list[Any]] = {}
    for side, team in made.sides():
        desk = made.desk(side, team)
        desk.mkdir(mode=0o700, exist_ok=True)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        write_secret(desk / "token", token + "\n")
        who[token_digest(token)] = [side, team]
        page = "instructor.md" if side == "white" else f"brief-{side}.md"
        if (briefs / page).is_file():
            text = (briefs / page).read_text("utf-8")
            (desk / page).write_text(_placed(text, made, desk, team), encoding="utf-8")
    write_secret(made.scorer / "tokens.json", json.dumps(who))
    write_secret(made.scorer / "key", secrets.token_hex(32))
    if finished is not None:
        finished(made)
    (folder / "instance.json").write_text(json.dumps({"exercise": made.exercise.id, "teams": teams}), encoding="utf-8")
    return made


def _placed(text: str, made: Instance, desk: Path, team: int) -> str:
    """A brief with the instance, the desk and the team of whoever reads it, so that its commands can be copied."""
    for word, meant in (("{name}", made.name), ("{desk}", shlex.quote(str(desk.resolve()))), ("{team}", str(team))):
        text = text.replace(word, meant)
    return text


def write_secret(path: Path, text: str) -> None:
    """Writes a file that its owner alone can read, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def token_digest(token: str) -> str:
    """What the scorer keeps of a token, so that its files do not let anybody in."""
    return hashlib.sha256(token.encode()).hexdigest()
