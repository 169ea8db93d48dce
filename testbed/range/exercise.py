# pyright: strict, reportUnknownMemberType=false
"""An exercise as its author writes it: a YAML file that a person can read, with a brief for each team beside it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from testbed.core import settings
from testbed.core.errors import UsageError, perhaps

FILE = "exercise.yaml"
SUFFIXES = (".yaml", ".md", ".py")
"""The files of an exercise's folder, all of which the instructor holds."""
BRIEFS = ("brief-red.md", "brief-blue.md", "instructor.md")


class Part(BaseModel):
    """A part of an exercise's file. An entry that it does not know is refused."""

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


LEAKS = frozenset({"moved", "swapped"})
"""The ways of making a candidate that keep rows of single patients."""


class People(Part):
    """How many people are generated for each team, where the subject is a released table."""

    original: int = Field(ge=50, le=5000, description="people of the original")
    control: int = Field(ge=50, le=5000, description="people held out, for blue")
    named: int = Field(ge=50, le=5000, description="people of the original in the list of names that red holds")
    outsiders: int = Field(ge=200, le=5000, description="other people in the list of names")
    public: int = Field(ge=200, le=5000, description="people whose rows red holds as a sample of the population")


class Rows(Part):
    """How many people are generated for each team, where hospitals boost trees on tables."""

    each: int = Field(ge=20, le=2000, description="patients of one hospital")
    outsiders: int = Field(ge=200, le=5000, description="people of no hospital, on whom the model is measured")
    public: int = Field(ge=200, le=5000, description="people whose rows both teams hold")


class Boosting(Part):
    """How trees are grown in a round."""

    rounds: int = Field(ge=1, le=100, description="trees of each hospital")
    depth: int = Field(ge=1, le=12)
    learning_rate: float = Field(gt=0, le=1)


class Stage(Part):
    """What is played at one time: a round of a federation, or a candidate release. It has a number, from 1 on."""

    title: str
    membership: bool = False
    flag: str | None = None
    act: str | None = None


class Candidate(Stage):
    """A candidate release. Teams are given its title and the table, and are not told how it was `made`."""

    made: Literal["coarse", "fitted", "moved", "swapped"]
    membership: bool = True

    @property
    def leaks(self) -> bool:
        """Does it hold rows of single patients?"""
        return self.made in LEAKS


class Round(Stage):
    """One round as it is planned. `act` is what a malicious coordinator does, by the attack's name."""

    kind: Literal["gradient", "training"]
    batch: int = Field(ge=1, le=512)
    epochs: int = Field(default=1, ge=1, le=200)
    repeats: int = Field(
        default=1, ge=1, le=50, description="how often a training round is repeated before it is shown"
    )
    fresh: bool = Field(
        default=False, description="it begins with the first model, and not with that of the last round"
    )
    epsilon: float | None = Field(default=None, gt=0, description="what the defence must guarantee for each record")
    flag: str | None = Field(default=None, description="the hospital whose patient carries a flag in this round")


class TreeRound(Stage):
    """A round in which trees are boosted from the beginning. `defence` is what the hospitals' rules prescribe in it."""

    defence: str = "none"


class Points(Part):
    """What counts how much; printed before the start. What an exercise does not name counts nothing."""

    flag: int = Field(default=0, ge=0)
    reconstruction: int = Field(default=0, ge=0)
    membership: int = Field(default=0, ge=0)
    count: int = Field(default=0, ge=0, description="the patients in the leaves of a round are counted exactly")
    counted: int = Field(default=0, le=0, description="what blue loses by that")
    wrong_claim: int = Field(default=0, le=0)
    hint: int = Field(default=0, le=0)
    round_above_floor: int = Field(default=0, ge=0)
    patient_lost: int = Field(default=0, le=0)
    patient_protected: int = Field(default=0, ge=0)
    detection: int = Field(default=0, ge=0)
    false_alarm: int = Field(default=0, le=0)
    decision: int = Field(default=0, ge=0, description="a candidate is released and harmless, or held and leaks")
    wrong_release: int = Field(default=0, le=0, description="a candidate that leaks is released")
    accuracy: int = Field(default=0, ge=0, description="each point of accuracy above the floor")
    wrong_hold: int = Field(default=0, le=0, description="a harmless candidate is held")


class Limits(Part):
    """What keeps the scorer from being asked until it has told the truth."""

    claims: int = Field(ge=1, le=1000, description="claims of a team, of one kind and round")
    seconds_between: float = Field(ge=0, le=3600)
    membership_fpr: float = Field(default=0.05, gt=0, lt=0.5)
    least_par: float = Field(default=0, ge=0, le=1, description="par of a claim about leaves is never below it")
    claims_close: bool = Field(default=False, description="a round is claimed about until the next one is played")
    utility_floor: float = Field(default=0, ge=0, le=1)


class Exercise(Part):
    """What all exercises have. `subject` says which of the three kinds below one is."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{1,40}$")
    title: str
    minutes: int = Field(ge=1, le=1000)
    story: str
    data_class: Literal["synthetic"]
    points: Points
    limits: Limits
    hints: list[str] = []

    @property
    def stages(self) -> Sequence[Stage]:
        """All that is planned, in its order."""
        raise NotImplementedError

    @property
    def claims(self) -> frozenset[str]:
        """The kinds of claims that are judged in it."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """How many people's records are at stake for each team."""
        raise NotImplementedError

    @property
    def named(self) -> int:
        """How many of them are in the list of names."""
        raise NotImplementedError

    def planned(self, number: int) -> Stage:
        """The stage of this number, from 1 on; after the last one it is repeated."""
        return self.stages[min(number, len(self.stages)) - 1]


class FederatedExercise(Exercise):
    """Hospitals train a model together; red is the coordinator, blue protects the hospitals."""

    subject: Literal["federation"] = "federation"
    hospitals: list[str] = Field(min_length=2, max_length=8)
    patients: Patients
    model: Model
    rounds: list[Round] = Field(min_length=1, max_length=40)

    @model_validator(mode="after")
    def _whole(self) -> FederatedExercise:
        if len(set(self.hospitals)) < len(self.hospitals):
            raise ValueError("hospitals: a hospital stands there twice")
        for number, one in enumerate(self.rounds, 1):
            if one.flag is not None and one.flag not in self.hospitals:
                raise ValueError(f"rounds: {number}: flag: {perhaps(one.flag, self.hospitals)}")
        free = self.patients.each - self.patients.named
        if sum(r.batch for r in self.rounds if r.kind == "gradient") > free:
            raise ValueError("patients: each: without the named ones, fewer than the gradient rounds' batches together")
        return self

    @property
    def stages(self) -> Sequence[Round]:
        return self.rounds

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({"flag", "reconstruction", "membership", "detection"})

    @property
    def size(self) -> int:
        return len(self.hospitals) * self.patients.each

    @property
    def named(self) -> int:
        return len(self.hospitals) * self.patients.named

    def planned(self, number: int) -> Round:
        return self.rounds[min(number, len(self.rounds)) - 1]


class ReleaseExercise(Exercise):
    """A hospital wants to release a table; red attacks each candidate, blue decides which of them may go out."""

    subject: Literal["release"]
    people: People
    candidates: list[Candidate] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _whole(self) -> ReleaseExercise:
        if self.people.named > self.people.original:
            raise ValueError("people: named: more than there are in the original")
        return self

    @property
    def stages(self) -> Sequence[Candidate]:
        return self.candidates

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({"membership", "decision"})

    @property
    def size(self) -> int:
        return self.people.original

    @property
    def named(self) -> int:
        return self.people.named

    def planned(self, number: int) -> Candidate:
        return self.candidates[min(number, len(self.candidates)) - 1]


class TreeExercise(Exercise):
    """Hospitals boost trees together; red is the coordinator and counts their patients, blue defends the trees."""

    subject: Literal["trees"]
    hospitals: list[str] = Field(min_length=2, max_length=8)
    patients: Rows
    model: Boosting
    rounds: list[TreeRound] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _whole(self) -> TreeExercise:
        if len(set(self.hospitals)) < len(self.hospitals):
            raise ValueError("hospitals: a hospital stands there twice")
        return self

    @property
    def stages(self) -> Sequence[TreeRound]:
        return self.rounds

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({"count"})

    @property
    def size(self) -> int:
        return len(self.hospitals) * self.patients.each

    @property
    def named(self) -> int:
        return 0

    def planned(self, number: int) -> TreeRound:
        return self.rounds[min(number, len(self.rounds)) - 1]


Known: TypeAlias = FederatedExercise | ReleaseExercise | TreeExercise
SUBJECTS: dict[str, type[Known]] = {"federation": FederatedExercise, "release": ReleaseExercise, "trees": TreeExercise}


def federated(exercise: Exercise) -> FederatedExercise:
    """The exercise, if hospitals train a model in it. Raises `UsageError` if none do."""
    if not isinstance(exercise, FederatedExercise):
        raise UsageError(
            "TB-RANGE-045",
            f"The exercise {exercise.id} has no federation of networks.",
            "It is about released tables or boosted trees: no model is swapped, and no hospital is dropped.",
            "See the brief for what can be done.",
        )
    return exercise


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


def load(name: str) -> Known:
    """The exercise of this name or folder. Raises `UsageError` for an unknown one, or for a mistake in its file."""
    return parsed((folder(name) / FILE).read_text(encoding="utf-8"))


def parsed(text: str) -> Known:
    """The exercise in a file's text. Raises `UsageError` that names the entry that is wrong and, where it can, the one
    that was meant."""
    kind: type[Known] = FederatedExercise
    try:
        told: Any = settings.parse(text)
        kind = _kind(told)
        return kind.model_validate(told)
    except settings.SettingsError as error:
        where = f" Line {error.line} cannot be read." if error.line else ""
        raise _mistaken("It cannot be used.", f"{error}{where}") from None
    except ValidationError as error:
        # a misspelt entry is also missed under its true name
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        place = ".".join(str(p + 1 if isinstance(p, int) else p) for p in first["loc"]) or "the file"
        if first["type"] == "extra_forbidden":
            raise _mistaken(
                f"It has an entry {place!r} that no exercise has.",
                f"Did you mean one of these? {perhaps(str(first['loc'][-1]), _entries(kind, first['loc'][:-1]))}",
            ) from None
        raise _mistaken(f"The entry {place!r} is wrong.", f"{first['msg']}.") from None


def _kind(told: Any) -> type[Known]:
    """What the file says that the exercise is about; a federation if it says nothing."""
    subject = str(cast("dict[str, Any]", told).get("subject", "federation") if isinstance(told, dict) else "federation")
    if subject not in SUBJECTS:
        raise _mistaken("The entry 'subject' is wrong.", f"Did you mean one of these? {perhaps(subject, SUBJECTS)}")
    return SUBJECTS[subject]


def _entries(kind: type[Part], place: tuple[int | str, ...]) -> list[str]:
    """The entries that are known at a place of the file."""
    parts: dict[str, type[Part]] = {
        "patients": Rows if kind is TreeExercise else Patients,
        "people": People,
        "model": Boosting if kind is TreeExercise else Model,
        "rounds": TreeRound if kind is TreeExercise else Round,
        "candidates": Candidate,
        "points": Points,
        "limits": Limits,
    }
    at = next((str(p) for p in place if isinstance(p, str)), "")
    return list(parts.get(at, kind).model_fields)


def _mistaken(what: str, fix: str) -> UsageError:
    return UsageError("TB-RANGE-003", f"The file {FILE} has a mistake. {what}", "Nothing was started.", fix)
