"""Exercises in tiers: the promised epsilon is kept, a tier closes, teams are ranked, and the briefs say what counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testbed.range import exercise as exercises
from testbed.range import field, hospitals, ledger, play, processes
from testbed.range import instance as instances
from testbed.range.events import Event, Fact
from testbed.range.population import population, public
from testbed.range.scorer import Refused
from testbed.subjects.federation import transcript
from tests.range.small import OTHER_RED, RED, body, played, written
from tests.range.test_solution import above_par_of

EXERCISE = exercises.federated(exercises.load("three-tiers"))
TIERS = [
    {"title": "strong", "kind": "training", "batch": 30, "membership": True, "fresh": True, "epsilon": 10},
    {"title": "none", "kind": "training", "batch": 30, "membership": True, "fresh": True},
]


def silent(_: str) -> None:
    """Progress that nobody reads."""


@pytest.mark.parametrize(
    ("chosen", "used"),
    [
        ("none", "dpsgd:10"),
        ("dpsgd:10,clip=0.1", "dpsgd:10,clip=0.1"),
        ("dpsgd:3", "dpsgd:3"),
        ("dpsgd:11", "dpsgd:10"),
        ("dpsgd:10,delta=0.001", "dpsgd:10"),
        ("topk:0.1", "dpsgd:10"),
        ("dpsgd:10+topk:0.1", "dpsgd:10+topk:0.1"),
        ("central_dp:0.1", "dpsgd:10"),
    ],
)
def test_a_defence_that_does_not_keep_the_promise_is_replaced(chosen: str, used: str) -> None:
    strong, _, free = EXERCISE.rounds
    assert field.promised(EXERCISE, strong, chosen) == used
    assert field.promised(EXERCISE, free, chosen) == chosen


def event(round_: int, team: int, **facts: Fact) -> Event:
    kind = "claim" if "kind" in facts else "round"
    told = {"above_floor": True, "kind": "training"} if kind == "round" else {"digest": "d", "reason": "r", "about": ""}
    return Event(1, 0.0, team, round_, "white" if kind == "round" else "red", kind, told | facts)


def test_teams_are_ranked_in_closed_tiers_alone() -> None:
    claim: dict[str, Any] = {"kind": "membership", "answer": "no"}
    events = [
        event(1, 1, utility=0.7),
        event(1, 2, utility=0.8),
        event(1, 1, tpr=0.10, **claim),
        event(1, 1, tpr=0.30, **claim),
        event(1, 2, tpr=0.20, **claim),
        event(2, 1, utility=0.7),
    ]
    assert ledger.ranking(EXERCISE, events, [1, 2]) == []  # team 2 may still claim
    events += [event(2, 2, utility=0.7), event(2, 1, tpr=0.9, **claim)]
    assert ledger.ranking(EXERCISE, events, [1, 2]) == [
        {"round": 1, "title": "strong privacy", "red": [[1, 0.3], [2, 0.2]], "blue": [[2, 0.8], [1, 0.7]]}
    ]
    board = play.scoreboard(ledger.score(EXERCISE, events, [1, 2]))
    assert "round 1, strong privacy: red by true-positive rate: team 1 (30 %), team 2 (20 %)" in board
    assert ledger.ranking(exercises.load("gradient-heist"), events, [1, 2]) == []


def test_each_point_of_accuracy_above_the_floor_counts() -> None:
    def blue(**facts: Fact) -> int:
        return ledger.score(EXERCISE, [event(1, 1, **facts)], [1])["teams"][0]["blue"]["points"]

    assert blue(utility=0.85) == 5 + 25
    assert blue(utility=0.6) == 5
    assert blue(utility=0.59, above_floor=False) == 0


def test_the_next_round_closes_a_tier_for_its_own_team_alone(tmp_path: Path) -> None:
    game = played(tmp_path, rounds=TIERS, limits={"seconds_between": 0.0, "claims_close": True})
    scorer = game.scorer()
    for team in (1, 2):
        game.play(scorer, team, 1, par=0.05)
    game.play(scorer, 1, 2, par=0.05)

    def claim(team: int, round_: int) -> bytes:
        truth = game.people[team].truth
        return body(
            kind="membership",
            round=round_,
            scores=dict(zip(truth.names, truth.used.astype(float).tolist(), strict=True)),
        )

    with pytest.raises(Refused) as refused:
        scorer.claim(RED, claim(1, 1))
    assert refused.value.id == "TB-RANGE-052"
    assert scorer.claim(RED, claim(1, 2)) == "yes"
    assert scorer.claim(OTHER_RED, claim(2, 1)) == "yes"


def test_each_tier_counts_once_and_every_tier_counts(tmp_path: Path) -> None:
    game = played(tmp_path, rounds=TIERS, limits={"seconds_between": 0.0})
    scorer, truth = game.scorer(), game.people[1].truth
    for round_ in (1, 2):
        game.play(scorer, 1, round_, par=0.05)
        for scale in (1.0, 2.0):
            scores = dict(zip(truth.names, (scale * truth.used).tolist(), strict=True))
            said = scorer.claim(RED, body(kind="membership", round=round_, scores=scores))
            assert said == ("yes" if scale == 1.0 else "no")
    assert [e.facts["reason"] for e in scorer.log.events if e.event == "claim"][1::2] == ["already credited"] * 2


def test_every_fresh_round_begins_with_the_first_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(instances.HOME, str(tmp_path / "range"))
    game = play.up(str(written(tmp_path / "small", rounds=TIERS, limits={"utility_floor": 0.0})), "tiers", 1, silent)
    try:
        for _ in TIERS:
            play.inject(game, "round", None, None, silent)
    finally:
        processes.stop(game)
    first = field.read_model(game.white / hospitals.FIRST)
    for number in (1, 2):
        seen = transcript.read(game.desk("red", 1) / f"round-{number:02d}.transcript")
        sent = seen.exchanges[0].sent
        assert sent is not None
        assert all(np.array_equal(first[k], sent[k]) for k in first)
    assert not all(np.array_equal(first[k], v) for k, v in field.read_model(game.white / "model-1.npz").items())


def test_the_briefs_tell_the_points_that_count() -> None:
    red, blue = ((exercises.folder("three-tiers") / f"brief-{side}.md").read_text("utf-8") for side in ("red", "blue"))
    assert f"| {EXERCISE.points.membership:+} | {EXERCISE.points.wrong_claim} |" in red
    assert f"{EXERCISE.limits.claims} claims" in red
    points = EXERCISE.points
    for worth in (points.round_above_floor, points.accuracy, points.detection, points.false_alarm):
        assert f"| {worth:+} |" in blue
    assert f"accuracy of {EXERCISE.limits.utility_floor:g}" in blue
    assert [r.epsilon for r in EXERCISE.rounds] == [10, 200, None]


@pytest.mark.slow
def test_without_privacy_the_documented_attack_passes_par_and_the_model_stays_useful() -> None:
    found: list[bool] = []
    for seed in range(200, 208):
        sample, people = public(EXERCISE, seed + 1000), population(EXERCISE, seed)
        model = field.warmed(EXERCISE, sample, seed + 1000)
        at_work = {"seed": seed, "public": sample, "dropped": []}
        done = field.play(EXERCISE, 3, people, model, field.Switches(), at_work)
        assert done.facts["above_floor"]
        found.append(above_par_of("update_product", done, people, sample))
    assert sum(found) >= 6


@pytest.mark.slow
def test_under_strong_privacy_a_small_clipping_norm_keeps_the_model_useful() -> None:
    sample, people = public(EXERCISE, 1001), population(EXERCISE, 1)
    model = field.warmed(EXERCISE, sample, 1001)
    at_work = {"seed": 1, "public": sample, "dropped": []}
    small, usual = (
        field.play(EXERCISE, 1, people, model, field.Switches(text), at_work).facts for text in SOLUTION_AND_DEFAULT
    )
    assert float(small["utility"] or 0) > float(usual["utility"] or 0) + 0.1
    assert small["above_floor"]


SOLUTION_AND_DEFAULT = ("dpsgd:10,clip=0.1", "none")
