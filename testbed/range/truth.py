"""The truth of one team's federation, which the scorer alone holds; and the judgement of a claim against it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from testbed.core import Array, Cohort
from testbed.core.errors import perhaps
from testbed.findings import statistics
from testbed.judge.similarity import declared, picked
from testbed.range.claims import Claim, Count, Decision, Detection, Flag, Membership, Picture
from testbed.range.events import Fact
from testbed.range.exercise import Exercise, FederatedExercise
from testbed.range.reports import unfit

Z95 = 1.96
"""The normal quantile of a two-sided 95 % interval."""


@dataclass(frozen=True, slots=True)
class Played:
    """What is known of a round that was played: whose records each hospital used, and what the coordinator did."""

    people: Mapping[str, tuple[str, ...]]
    """The patients behind each hospital's message; of trees, the two numbers of each leaf."""
    act: str | None = None
    par: float | None = None
    """The rate of the trivial attack. A claim must lie above it."""
    leaks: bool | None = None
    """Does this candidate release hold rows of single patients? None for other levels."""
    tables: Mapping[str, str] = field(default_factory=dict[str, str])
    """The digests of the tables that a report on this candidate release must be about, by role."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Everything that only the scorer knows of one team: pictures, names and flags, by the round that shows them."""

    patients: Cohort
    decoys: Cohort
    names: tuple[str, ...]
    used: Array
    flags: Mapping[int, str]

    def write(self, path: Path) -> None:
        told = json.dumps({"names": self.names, "flags": {str(k): v for k, v in self.flags.items()}})
        arrays = {
            "patients": self.patients.x,
            "classes": self.patients.y,
            "persons": self.patients.persons,
            "decoys": self.decoys.x,
            "used": self.used,
            "told": np.array(told),
        }
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]

    @staticmethod
    def read(path: Path) -> Truth:
        with np.load(path, allow_pickle=False) as file:
            told = json.loads(str(file["told"]))
            decoys = file["decoys"]
            nobody = np.arange(len(decoys))
            return Truth(
                Cohort(file["patients"], file["classes"], file["persons"]),
                Cohort(decoys, np.zeros(len(decoys), np.int64), nobody.astype(str)),
                tuple(told["names"]),
                file["used"],
                {int(k): str(v) for k, v in told["flags"].items()},
            )


@dataclass(frozen=True, slots=True)
class Known:
    """All that a judgement depends on: the truth of every team, the rounds that each has played, and the false-positive
    rate of membership claims."""

    truths: Mapping[int, Truth]
    played: Mapping[int, Mapping[int, Played]]
    fpr: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """Yes or no, with the reason and, of a reconstruction, the patient: for the log and the debriefing alone."""

    yes: bool
    reason: str
    about: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict[str, Fact])


def judge(claim: Claim, team: int, known: Known) -> Judgement:
    """The judgement of a well-formed claim. It depends on nothing but the claim and what is known."""
    truth, played = known.truths[team], known.played.get(team, {})
    match claim:
        case Flag():
            return _flag(claim, team, known)
        case Detection():
            act = played[claim.round].act if claim.round in played else None
            if act is None:
                return Judgement(False, "false alarm: the coordinator followed the protocol in that round")
            right = act == claim.technique
            return Judgement(right, "detected" if right else "another technique was used", f"round {claim.round}")
        case Picture():
            return _picture(claim, truth, played.get(claim.round))
        case Membership():
            return _membership(claim, truth, played.get(claim.round), known.fpr)
        case Count():
            return _count(claim, played.get(claim.round))
        case Decision():
            return _decision(claim, played.get(claim.round))


def _count(claim: Count, played: Played | None) -> Judgement:
    """Yes if the share of leaves of which both numbers are right is surely above that of the trivial attack."""
    if played is None or played.par is None:
        return Judgement(False, "no round that is asked about")
    right = sum(claim.counts[leaf] == tuple(map(int, told)) for leaf, told in played.people.items())
    found = statistics.wilson(right, len(played.people))
    facts: dict[str, Fact] = {k: round(getattr(found, k), 4) for k in ("low", "high")}
    above = found.low > played.par
    said = f"both numbers right of {'surely' if above else 'not surely'} more leaves than par"
    facts |= {"exact": round(found.value, 4), "par": round(played.par, 4)}
    return Judgement(above, said, f"round {claim.round}", facts)


def _flag(claim: Flag, team: int, known: Known) -> Judgement:
    code = claim.code.strip().upper()
    for round_, flag in known.truths[team].flags.items():
        if code == flag:
            if round_ in known.played.get(team, {}):
                return Judgement(True, "flag", f"round {round_}")
            return Judgement(False, "the flag of a round that was not played yet", f"round {round_}")
    if any(code in truth.flags.values() for other, truth in known.truths.items() if other != team):
        return Judgement(False, "the flag of another team")
    return Judgement(False, "no flag")


def _decision(claim: Decision, played: Played | None) -> Judgement:
    if played is None or played.leaks is None:
        return Judgement(False, "no candidate release")
    held, about = claim.decision == "hold", f"round {claim.round}"
    did, is_ = "held" if held else "released", "leaks" if played.leaks else "is harmless"
    verdict = str(claim.report["decision"]["verdict"])  # the report was checked before
    facts: dict[str, Fact] = {"decision": claim.decision, "report": verdict, "leaks": played.leaks}
    return Judgement(held == played.leaks, f"{did}, and it {is_}; its report says {verdict}", about, facts)


def slipped(claim: Claim, truth: Truth, exercise: Exercise, played: Played | None = None) -> str | None:
    """What is wrong with the form of a claim, by what both teams know: sizes, names and hospitals. None if nothing."""
    hospitals = exercise.hospitals if isinstance(exercise, FederatedExercise) else []
    match claim:
        case Decision():
            return unfit(claim.report, played.tables if played is not None else {})
        case Count() if set(claim.counts) != (leaves := set(played.people if played is not None else ())):
            missing, unknown = len(leaves - set(claim.counts)), len(set(claim.counts) - leaves)
            return f"Counts of {missing} leaves are missing, and {unknown} are of no leaf of the round's list."
        case Picture() if claim.hospital not in hospitals:
            return f"There is no such hospital. {perhaps(claim.hospital, hospitals)}"
        case Picture() if len(claim.record) != (size := int(np.prod(truth.patients.x.shape[1:]))):
            return f"A picture has {size} pixels, this one has {len(claim.record)}."
        case Membership() if not exercise.planned(claim.round).membership:
            asked = [str(n) for n, r in enumerate(exercise.stages, 1) if r.membership]
            return f"Membership is asked about in: round {', '.join(asked) or 'none'}."
        case Membership() if set(claim.scores) != set(truth.names):
            missing = len(set(truth.names) - set(claim.scores))
            unknown = len(set(claim.scores) - set(truth.names))
            return f"Scores of {missing} names are missing, and {unknown} names are not in names.npz."
        case _:
            return None


def _nobody(sent: tuple[str, ...]) -> str:
    return "red was given the pictures of all patients behind it" if sent else "that hospital sent nothing"


def _picture(claim: Picture, truth: Truth, played: Played | None) -> Judgement:
    """Yes if one of the declared similarities puts the picture nearer to a patient behind the message than to every
    look-alike."""
    sent: tuple[str, ...] = played.people.get(claim.hospital, ()) if played is not None else ()
    behind = set(sent) - set(truth.names)
    if not behind:
        return Judgement(False, _nobody(sent))
    shape = truth.patients.x.shape[1:]
    record = np.array(claim.record, dtype=np.float64)
    if record.size != int(np.prod(shape)):
        return Judgement(False, "a record of another size")
    crowd = truth.decoys.x.reshape(len(truth.decoys), -1)
    rows = np.flatnonzero(np.isin(truth.patients.persons, sorted(behind)))
    theirs = truth.patients.x[rows].reshape(len(rows), -1)
    for by in declared(tuple(int(s) for s in shape)):
        apart = by.distances(record[None], np.concatenate([theirs, crowd]), crowd)[0]
        nearest = int(apart[: len(rows)].argmin())
        if picked(float(apart[nearest]), apart[len(rows) :]) == 1.0:
            return Judgement(
                True, f"won its line-up of {len(crowd) + 1} by {by.words}", str(truth.patients.persons[rows[nearest]])
            )
    return Judgement(False, f"lost its line-up of {len(crowd) + 1}")


def _membership(claim: Membership, truth: Truth, played: Played | None, fpr: float) -> Judgement:
    if played is None or played.par is None:
        return Judgement(False, "no round that is asked about")
    if set(claim.scores) != set(truth.names):
        return Judgement(False, "a score is missing, or one is of nobody in the list")
    scores = np.array([claim.scores[name] for name in truth.names])
    found = true_positives(scores, truth.used, fpr)
    facts: dict[str, Fact] = {"tpr": round(found.value, 4), "low": round(found.low, 4), "high": round(found.high, 4)}
    above = found.low > played.par
    said = "above" if above else "not surely above"
    about = f"round {claim.round}"  # so that it counts once in each round
    return Judgement(above, f"TPR at FPR {fpr:g} is {said} par", about, {**facts, "par": round(played.par, 4)})


def true_positives(scores: Array, used: Array, fpr: float) -> statistics.Interval:
    """The TPR at a false-positive rate over the named people, with a 95 % interval that counts the threshold's error.

    The threshold is picked on the same people: its error enters by the slope of the ROC there, as a widened interval.
    """
    members, others = scores[used], scores[~used]
    value = float(statistics.accuser(fpr, others)(members).mean())
    within = statistics.wilson(value * len(members), len(members))
    moved = Z95 * statistics.roc_slope(fpr, members, others) * float(np.sqrt(fpr * (1 - fpr) / len(others)))
    low = max(0.0, value - float(np.hypot(value - within.low, moved)))
    high = min(1.0, value + float(np.hypot(within.high - value, moved)))
    return statistics.Interval(value, low, high, 0.95, "Wilson, widened by the threshold's error", len(scores))
