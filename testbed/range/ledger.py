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
    if event.actor == "blue":
        add(event, "blue", points.detection if yes else points.false_alarm, reason)
        return
    if not yes:
        add(event, "red", points.wrong_claim, reason)
        return
    worth = {"flag": points.flag, "reconstruction": points.reconstruction, "membership": points.membership}
    add(event, "red", worth[str(facts["kind"])], reason)
    about = str(facts["about"])
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
        claims = [e for e in mine if e.event == "claim"]
        right = [e for e in claims if e.facts["answer"] == "yes"]
        kinds = {kind: sum(e.facts["kind"] == kind for e in right) for kind in ("flag", "reconstruction", "membership")}
        played = [e for e in mine if e.event == "round"]
        told.append(
            {
                "team": team,
                "red": {
                    "points": sum(e["points"] for e in ledger if e["side"] == "red"),
                    "flags": kinds["flag"],
                    "reconstructions": kinds["reconstruction"],
                    "memberships": kinds["membership"],
                    "wrong_claims": sum(e.actor == "red" for e in claims) - sum(kinds.values()),
                    "hints": sum(e.event == "hint" for e in mine),
                },
                "blue": {
                    "points": sum(e["points"] for e in ledger if e["side"] == "blue"),
                    "rounds": len(played),
                    "rounds_above_floor": sum(bool(e.facts["above_floor"]) for e in played),
                    "patients_lost": kinds["reconstruction"],
                    "detections": sum(e.actor == "blue" for e in right),
                    "false_alarms": sum(e.actor == "blue" and e.facts["answer"] == "no" for e in claims),
                },
                "ledger": ledger,
            }
        )
    return {"exercise": exercise.id, "teams": told}


def text(told: dict[str, Any]) -> str:
    """The score as it is written: the same bytes for the same events."""
    return json.dumps(told, indent=2, sort_keys=True, ensure_ascii=True) + "\n"
