# pyright: strict
"""What each side is shown of an exercise: a pure function of the exercise and the event log.

Red and blue see their own team alone, and nothing that would answer a claim before it is made: what the coordinator
did, whether a candidate release leaks, and the reasons of judgements stay with the instructor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.range import ledger
from testbed.range.events import Event, Fact
from testbed.range.exercise import Exercise
from testbed.range.instance import Side

OF_ROUND: Mapping[Side, tuple[str, ...]] = {
    "red": ("title", "par"),
    "blue": ("title", "answered", "utility", "above_floor", "defence", "guards", "alarms"),
}
"""The facts of a round that each side is shown. Par is published: it is the rate that a claim must exceed."""
OF_CLAIM = ("kind", "answer", "technique", "decision")
"""The facts of its own claims that a side is shown."""
MOST_EVENTS = 500
"""Events that the instructor's page shows at most: the last ones."""


def view(exercise: Exercise, events: list[Event], teams: list[int], side: Side, team: int) -> dict[str, Any]:
    """What this side of a team is shown; for `white`, which has no team, everything but the truth."""
    told = ledger.score(exercise, events, teams)
    common: dict[str, Any] = {"title": exercise.title, "story": exercise.story.strip(), "stages": len(exercise.stages)}
    common |= {"side": side, "team": team, "minutes": exercise.minutes}
    if side == "white":
        return common | {
            "teams": told["teams"],
            "ranking": told["ranking"],
            "events": [e.line() for e in events[-MOST_EVENTS:]],
            "omitted": max(0, len(events) - MOST_EVENTS),
            "injects": [e.line() for e in events if e.event in ("inject", "hint")],
        }
    mine = [e for e in events if e.team == team]
    rounds = [{"round": e.round} | _facts(e, OF_ROUND[side]) for e in mine if e.event == "round"]
    claims = [{"round": e.round} | _facts(e, OF_CLAIM) for e in mine if e.event == "claim" and e.actor == side]
    (score,) = [one[side] for one in told["teams"] if one["team"] == team]
    limits = exercise.limits
    return common | {
        "rounds": rounds,
        "claims": claims,
        "score": score,
        "ranking": [{"round": one["round"], "title": one["title"], "places": one[side]} for one in told["ranking"]],
        "hints": [e.facts["number"] for e in mine if e.event == "hint"] if side == "red" else [],
        "switches": _switches(mine) if side == "blue" else None,
        "judged": sorted(exercise.claims),
        "limits": {"claims": limits.claims, "seconds_between": limits.seconds_between, "floor": limits.utility_floor},
    }


def public(told: dict[str, Any]) -> dict[str, Any]:
    """A score without the ledgers, whose reasons would tell the other side what was judged and why."""
    return told | {"teams": [{k: v for k, v in one.items() if k != "ledger"} for one in told["teams"]]}


def _facts(event: Event, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: event.facts.get(name) for name in names}


def _switches(mine: list[Event]) -> dict[str, Any]:
    """What blue has switched on for the next round."""
    last = [e.facts for e in mine if e.event == "defend"][-1:] or [dict[str, Fact]()]
    guards = str(last[0].get("guards") or "").split(",")
    return {"defence": str(last[0].get("defence") or "none"), "guards": [g for g in guards if g]}
