# pyright: strict, reportUnknownMemberType=false
"""An exercise as its author writes it: a YAML file that a person can read, with a brief for each team beside it."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from testbed.core.errors import UsageError, perhaps

FILE = "exercise.yaml"
BRIEFS = ("brief-red.md", "brief-blue.md", "instructor.md")


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Patients(Part):
    """How many people are generated for each team."""

    each: int = Field(ge=8, le=2000, description="patients of one hospital")
    named: int = Field(ge=1, le=2000, description="patients of one hospital in the list of names that red holds")
    outsiders: int = Field(ge=200, le=5000, description="people of no hospital, who stand in the list of names")
    public: int = Field(ge=200, le=5000, description="people whose pictures both teams hold")
    decoys: int = Field(ge=99, le=5000, description="people who stand beside the true one in a line-up")
    doubtful: float = Field(ge=0, le=0.5, description="share of diagnoses that are wrong, as in real triage")


class Model(Part):
    """The network, and how it was trained on the public sample before the exercise."""

    hidden: int = Field(ge=2, le=512)
    learning_rate: float = Field(gt=0, le=10)
    gradient_rate: float = Field(gt=0, le=10, description="the coordinator's step in a gradient round")
    warm_epochs: int = Field(ge=0, le=200)
    warm_rate: float = Field(gt=0, le=10, description="the step of the training on the public sample")
    warm_batch: int = Field(ge=1, le=512)


class Round(Part):
    """One round as it is planned. `act` is what a malicious coordinator does, by the attack's name."""

    title: str
    kind: Literal["gradient", "training"]
    batch: int = Field(ge=1, le=512)
    epochs: int = Field(default=1, ge=1, le=200)
    repeats: int = Field(
        default=1, ge=1, le=50, description="how often a training round is repeated before it is shown"
    )
    flag: str | None = Field(default=None, description="the hospital whose patient carries a flag in this round")
    act: str | None = None
    membership: bool = False


class Points(Part):
    """What counts how much; printed before the start."""

    flag: int = Field(ge=0)
    reconstruction: int = Field(ge=0)
    membership: int = Field(ge=0)
    wrong_claim: int = Field(le=0)
    hint: int = Field(le=0)
    round_above_floor: int = Field(ge=0)
    patient_lost: int = Field(le=0)
    patient_protected: int = Field(ge=0)
    detection: int = Field(ge=0)
    false_alarm: int = Field(le=0)


class Limits(Part):
    """What keeps the scorer from being asked until it has told the truth."""

    claims: int = Field(ge=1, le=1000, description="claims of a team, of one kind and round")
    seconds_between: float = Field(ge=0, le=3600)
    membership_fpr: float = Field(gt=0, lt=0.5)
    utility_floor: float = Field(ge=0, le=1)


class Exercise(Part):
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{1,40}$")
    title: str
    minutes: int = Field(ge=1, le=1000)
    story: str
    data_class: Literal["synthetic"]
    hospitals: list[str] = Field(min_length=2, max_length=8)
    patients: Patients
    model: Model
    rounds: list[Round] = Field(min_length=1, max_length=40)
    points: Points
    limits: Limits
    hints: list[str] = []

    @model_validator(mode="after")
    def _whole(self) -> Exercise:
        if len(set(self.hospitals)) < len(self.hospitals):
            raise ValueError("hospitals: a hospital stands there twice")
        for number, one in enumerate(self.rounds, 1):
            if one.flag is not None and one.flag not in self.hospitals:
                raise ValueError(f"rounds: {number}: flag: {perhaps(one.flag, self.hospitals)}")
        free = self.patients.each - self.patients.named
        if sum(r.batch for r in self.rounds if r.kind == "gradient") > free:
            raise ValueError("patients: each: without the named ones, fewer than the gradient rounds' batches together")
        return self

    def planned(self, number: int) -> Round:
        """The round of this number, from 1 on; after the last one it is repeated."""
        return self.rounds[min(number, len(self.rounds)) - 1]


def shipped() -> dict[str, Traversable]:
    """The folders of the exercises that ship with the testbed, by name."""
    root = resources.files("testbed.range") / "exercises"
    return {f.name: f for f in sorted(root.iterdir(), key=lambda f: f.name) if (f / FILE).is_file()}


def folder(name: str) -> Traversable:
    """The folder of an exercise: a shipped one by its name, or one's own by its path. Raises `UsageError`."""
    if (own := Path(name)).is_dir() and (own / FILE).is_file():
        return own
    known = shipped()
    if name not in known:
        raise UsageError(
            "TB-RANGE-002",
            f"There is no exercise called {name!r}.",
            f"It is no shipped exercise, and no folder with a file {FILE}.",
            f"Did you mean one of these? {perhaps(name, known)}",
        )
    return known[name]


def load(name: str) -> Exercise:
    """The exercise of this name or folder. Raises `UsageError` for an unknown one, or for a mistake in its file."""
    return parsed((folder(name) / FILE).read_text(encoding="utf-8"))


def parsed(text: str) -> Exercise:
    """The exercise in a file's text. Raises `UsageError` that names the entry that is wrong and, where it can, the one
    that was meant."""
    try:
        told: Any = yaml.safe_load(text)
        return Exercise.model_validate(told)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"Line {mark.line + 1} cannot be read." if mark is not None else "It cannot be read."
        raise _mistaken("It is not YAML.", where) from None
    except ValidationError as error:
        # a misspelt entry is also missed under its true name
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        place = ".".join(str(p + 1 if isinstance(p, int) else p) for p in first["loc"]) or "the file"
        if first["type"] == "extra_forbidden":
            raise _mistaken(
                f"It has an entry {place!r} that no exercise has.",
                f"Did you mean one of these? {perhaps(str(first['loc'][-1]), _entries(first['loc'][:-1]))}",
            ) from None
        raise _mistaken(f"The entry {place!r} is wrong.", f"{first['msg']}.") from None


def _entries(place: tuple[int | str, ...]) -> list[str]:
    """The entries that are known at a place of the file."""
    parts: dict[str, type[Part]] = {
        "patients": Patients,
        "model": Model,
        "rounds": Round,
        "points": Points,
        "limits": Limits,
    }
    at = next((str(p) for p in place if isinstance(p, str)), "")
    return list(parts.get(at, Exercise).model_fields)


def _mistaken(what: str, fix: str) -> UsageError:
    return UsageError("TB-RANGE-003", f"The file {FILE} has a mistake. {what}", "Nothing was started.", fix)
