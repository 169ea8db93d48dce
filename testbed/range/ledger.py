# pyright: strict
"""The score: a pure function of the exercise and the event log, so that anybody can compute it again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from testbed.range.events import Event
from testbed.range.exercise import Exercise, Points

Entry: TypeAlias = dict[str, Any]
"""One line of the ledger: the event that it follows from, whose points they are, how many, and why."""


def entries(exercise: Exercise, events: Iterable[Event], team: int) -> list[Entry]:
    """The ledger of one team, in the order of the events.

    A patient protected counts only in a round above the floor: a model that was destroyed protects nobody.
    """
    events = list(events)
    points, lost, ledger = exercise.points, set[str](), list[Entry]()
    useful = {e.round for e in events if e.event == "round" and e.team == team and e.facts["above_floor"]}

    def add(event: Event, side: str, worth: int, why: str) -> None:
        ledger.append({"seq": event.seq, "round": event.round, "side": side, "points": worth, "reason": why})

    for event in events:
        if event.team != team:
            continue
        facts = event.facts
        match event.event:
            case "round":
                if facts["above_floor"]:
                    add(event, "blue", points.round_above_floor, f"round {event.round} finished above the floor")
                if facts["above_floor"] and points.accuracy:
                    above = int(100 * (float(facts["utility"] or 0) - exercise.limits.utility_floor) + 1e-9)
                    add(event, "blue", above * points.accuracy, f"accuracy {above} points above the floor")
                if facts["kind"] == "gradient" and facts["sent"] and facts["above_floor"]:
                    sent = int(facts["sent"] or 0)
                    add(event, "blue", sent * points.patient_protected, f"{sent} patients entrusted in this round")
            case "hint":
                add(event, "red", points.hint, "a hint")
            case "claim":
                _claimed(event, points, (lost, useful), add)
            case _:
                pass
    return ledger


def _claimed(
    event: Event, points: Points, so_far: tuple[set[str], set[int]], add: Callable[[Event, str, int, str], None]
) -> None:
    """`so_far`: the patients who are lost already, and the rounds above the floor, in which each patient sent has
    counted for blue."""
    lost, useful = so_far
    facts, yes = event.facts, event.facts["answer"] == "yes"
    reason = str(facts["reason"])
    if facts["kind"] == "decision":
        wrong = points.wrong_release if facts["decision"] == "release" else points.wrong_hold
        add(event, "blue", points.decision if yes else wrong, reason)
        return
    if event.actor == "blue":
        add(event, "blue", points.detection if yes else points.false_alarm, reason)
        return
    if not yes:
        add(event, "red", points.wrong_claim, reason)
        return
    worth = {
        "flag": points.flag,
        "reconstruction": points.reconstruction,
        "membership": points.membership,
        "count": points.count,
    }
    add(event, "red", worth[str(facts["kind"])], reason)
    about = str(facts["about"])
    if facts["kind"] == "count":
        add(event, "blue", points.counted, "the patients of a round's leaves were counted")
    if facts["kind"] == "reconstruction" and about not in lost:
        lost.add(about)
        entrusted = points.patient_protected if event.round in useful else 0
        add(event, "blue", points.patient_lost - entrusted, "a patient entrusted was reconstructed")


def score(exercise: Exercise, events: Iterable[Event], teams: Iterable[int]) -> dict[str, Any]:
    """The score of all teams: points of each side and what they were given for."""
    events = list(events)
    told: list[dict[str, Any]] = []
    for team in teams:
        ledger = entries(exercise, events, team)
        mine = [e for e in events if e.team == team]
        told.append(
            {
                "team": team,
                "red": {"points": _total(ledger, "red"), **_red(exercise, mine)},
                "blue": {"points": _total(ledger, "blue"), **_blue(exercise, mine)},
                "ledger": ledger,
            }
        )
    return {"exercise": exercise.id, "teams": told, "ranking": ranking(exercise, events, teams)}


def ranking(exercise: Exercise, events: list[Event], teams: Iterable[int]) -> list[dict[str, Any]]:
    """The teams of each closed round, best first: red by the best true-positive rate claimed, blue by accuracy.

    A round that may still be claimed about is left out: its rates would tell red what the scorer must not.
    """
    if not exercise.limits.claims_close:
        return []
    teams, ranked = list(teams), list[dict[str, Any]]()
    played = [e for e in events if e.event == "round"]
    last = min(max((e.round for e in played if e.team == team), default=0) for team in teams)
    for number, stage in enumerate(exercise.stages[: max(0, last - 1)], 1):
        here = [e for e in events if e.round == number]
        rates = {
            team: max(
                (float(e.facts.get("tpr") or 0) for e in here if e.team == team and e.event == "claim"), default=0.0
            )
            for team in teams
        }
        useful = {e.team: float(e.facts.get("utility") or 0) for e in here if e.event == "round"}
        ranked.append(
            {
                "round": number,
                "title": stage.title,
                "red": [[team, rates[team]] for team in sorted(teams, key=lambda t: -rates[t])],
                "blue": [[team, useful[team]] for team in sorted(teams, key=lambda t: -useful[t])],
            }
        )
    return ranked


def _total(ledger: Iterable[Entry], side: str) -> int:
    return sum(e["points"] for e in ledger if e["side"] == side)


def _right(events: Iterable[Event], kind: str) -> int:
    return sum(e.event == "claim" and e.facts["kind"] == kind and e.facts["answer"] == "yes" for e in events)


def _wrong(events: Iterable[Event], kind: str) -> int:
    return sum(e.event == "claim" and e.facts["kind"] == kind and e.facts["answer"] == "no" for e in events)


def _red(exercise: Exercise, mine: list[Event]) -> dict[str, int]:
    """What red was given points for."""
    kinds = [kind for kind in ("flag", "reconstruction", "membership", "count") if kind in exercise.claims]
    return {
        **{f"{kind}s": _right(mine, kind) for kind in kinds},
        "wrong_claims": sum(_wrong(mine, kind) for kind in kinds),
        "hints": sum(e.event == "hint" for e in mine),
    }


def _blue(exercise: Exercise, mine: list[Event]) -> dict[str, int]:
    """What blue was given points for."""
    if "decision" in exercise.claims:
        return {"right_decisions": _right(mine, "decision"), "wrong_decisions": _wrong(mine, "decision")}
    played = [e for e in mine if e.event == "round"]
    told = {"rounds": len(played), "rounds_above_floor": sum(bool(e.facts["above_floor"]) for e in played)}
    if "count" in exercise.claims:
        return {**told, "rounds_counted": _right(mine, "count")}
    return {
        **told,
        "patients_lost": _right(mine, "reconstruction"),
        "detections": _right(mine, "detection"),
        "false_alarms": _wrong(mine, "detection"),
    }


def text(told: dict[str, Any]) -> str:
    """The score as it is written: the same bytes for the same events."""
    return json.dumps(told, indent=2, sort_keys=True, ensure_ascii=True) + "\n"
