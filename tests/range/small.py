"""A small exercise with people but without a federation: what the scorer needs, in half a second."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from testbed.range import exercise as exercises
from testbed.range import instance as instances
from testbed.range.exercise import FederatedExercise, federated
from testbed.range.instance import Instance
from testbed.range.population import Population, first, population
from testbed.range.scorer import Caller, Scorer


def written(folder: Path, **changed: Any) -> Path:
    """The folder of an exercise like the shipped one, with fewer people, and with these entries changed."""
    told: dict[str, Any] = yaml.safe_load((exercises.folder("gradient-heist") / exercises.FILE).read_text("utf-8"))
    told["patients"] |= {"each": 30, "named": 8, "outsiders": 200, "public": 200, "decoys": 99}
    told["model"] |= {"warm_epochs": 2}
    told["limits"] |= {"membership_fpr": 0.05}
    for name, value in changed.items():
        told[name] = told[name] | value if isinstance(value, dict) else value
    folder.mkdir(parents=True)
    (folder / exercises.FILE).write_text(yaml.safe_dump(told), encoding="utf-8")
    return folder


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Played:
    """An instance of two teams of which the rounds in `rounds` were played, with its truth for the tests to know."""

    instance: Instance
    people: dict[int, Population]
    clock: Clock = field(default_factory=Clock)

    def scorer(self) -> Scorer:
        """The scorer, started from its folder alone."""
        return Scorer(self.instance, self.clock, self.clock)

    @property
    def exercise(self) -> FederatedExercise:
        return federated(self.instance.exercise)

    def behind(self, team: int, round_: int, hospital: str) -> Any:
        """The patients of a hospital whom a round used."""
        start = first(self.exercise, round_)
        batch = self.exercise.planned(round_).batch
        return self.people[team].hospitals[hospital].take(np.arange(start, start + batch))

    def picture(self, team: int, round_: int, hospital: str, item: int = 0) -> bytes:
        """A claim with the true picture of a patient."""
        record = self.behind(team, round_, hospital).x[item].ravel().tolist()
        return body(kind="reconstruction", round=round_, hospital=hospital, record=record)

    def play(self, scorer: Scorer, team: int, round_: int, **facts: Any) -> None:
        """Tell the scorer of a round, as the instructor's command does."""
        exercise = self.exercise
        kind = exercise.planned(round_).kind
        used = {
            h: self.behind(team, round_, h).persons.tolist() if kind == "gradient" else [] for h in exercise.hospitals
        }
        path = self.instance.scorer / f"round-{team}-{round_:03d}.json"
        path.write_text(json.dumps(used), encoding="utf-8")
        told = {"round": round_, "kind": kind, "sent": sum(map(len, used.values())), "above_floor": True, "act": None}
        scorer.note(WHITE, "round", told | {"par": None} | facts, team)


WHITE, RED, BLUE, OTHER_RED = Caller("white", 0), Caller("red", 1), Caller("blue", 1), Caller("red", 2)


def body(**claim: Any) -> bytes:
    return json.dumps(claim).encode()


def played(folder: Path, **changed: Any) -> Played:
    """A new instance of two teams, and no round yet."""
    made = instances.create(folder / "heist", str(written(folder / "source", **changed)), 2)
    people = {team: population(federated(made.exercise), 7 + team) for team in (1, 2)}
    for team, of in people.items():
        of.truth.write(made.scorer / f"truth-{team}.npz")
    return Played(made, people)
