"""The ledger: a pure function of exercise and events, worked out by hand."""

from __future__ import annotations

from testbed.range import exercise as exercises
from testbed.range import ledger
from testbed.range.events import Event, Fact

EXERCISE = exercises.load("gradient-heist")


def event(seq: int, name: str, actor: str = "white", team: int = 1, round_: int = 1, **facts: Fact) -> Event:
    return Event(seq, float(seq), team, round_, actor, name, facts)


def claim(seq: int, kind: str, answer: str, about: str = "", actor: str = "red", team: int = 1) -> Event:
    return event(seq, "claim", actor, team, kind=kind, answer=answer, about=about, reason="r", digest="d")


def points(*events: Event, side: str, team: int = 1) -> int:
    return ledger.score(EXERCISE, events, [1, 2])["teams"][team - 1][side]["points"]


def test_a_round_gives_blue_its_points_and_a_lost_patient_takes_more_than_it_gave() -> None:
    round_ = event(1, "round", kind="gradient", sent=3, above_floor=True)
    assert points(round_, side="blue") == 5 + 3
    lost = claim(2, "reconstruction", "yes", "person-1")
    assert points(round_, lost, side="blue") == 5 + 3 - 1 - 10
    assert points(round_, lost, side="red") == 10
    destroyed = event(1, "round", kind="gradient", sent=24, above_floor=False)
    assert points(destroyed, side="blue") == 0  # a model that is destroyed protects nobody
    assert points(destroyed, lost, side="blue") == -10
    below = event(1, "round", kind="training", sent=0, above_floor=False)
    assert points(below, side="blue") == 0


def test_wrong_claims_and_hints_cost() -> None:
    assert points(claim(1, "flag", "no"), claim(2, "membership", "no"), event(3, "hint"), side="red") == -3 - 3 - 10
    assert points(claim(1, "detection", "no", actor="blue"), side="blue") == -5


def test_teams_and_refusals_do_not_touch_each_other() -> None:
    events = (claim(1, "flag", "yes", team=2), event(2, "refused", "red", why="malformed", more_before=99))
    assert points(*events, side="red") == 0
    assert points(*events, side="red", team=2) == 50
    assert points(*events, side="blue", team=2) == 0


def test_the_same_events_give_the_same_bytes() -> None:
    events = [event(1, "round", kind="gradient", sent=3, above_floor=True), claim(2, "flag", "yes")]
    texts = {ledger.text(ledger.score(EXERCISE, list(events), [1])) for _ in range(3)}
    assert len(texts) == 1
