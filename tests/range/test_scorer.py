"""The scorer: yes to what is true, no to all else, and a score that survives whatever happens to it."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from testbed.core.errors import InputError
from testbed.range.claims import LARGEST, parsed
from testbed.range.door import application
from testbed.range.events import LOG
from testbed.range.instance import OF_DESK, write_secret
from testbed.range.scorer import Refused, Scorer, rescored
from tests.range.small import BLUE, OTHER_RED, RED, Clock, Played, body, played


@pytest.fixture
def game(tmp_path: Path) -> Played:
    return played(tmp_path, limits={"seconds_between": 0.0, "claims": 20})


class Client:
    """Asks the app of a scorer, without a network."""

    def __init__(self, scorer: Scorer) -> None:
        self.app = application(scorer)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self._asked("GET", path, more))

    def post(self, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self._asked("POST", path, more))

    async def _asked(self, method: str, path: str, more: dict[str, Any]) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://scorer") as client:
            return await client.request(method, path, **more)


def team(scorer: Scorer, number: int = 1) -> dict[str, Any]:
    return json.loads(scorer.score())["teams"][number - 1]


def last(scorer: Scorer) -> dict[str, Any]:
    return dict(scorer.log.events[-1].facts)


def test_a_game_gives_the_score_that_was_worked_out_by_hand(game: Played) -> None:
    scorer = game.scorer()
    game.play(scorer, 1, 1)
    flag = game.people[1].truth.flags[1]
    assert scorer.claim(RED, body(kind="flag", code=flag)) == "yes"
    assert scorer.claim(RED, game.picture(1, 1, "north")) == "yes"
    assert scorer.claim(RED, body(kind="flag", code="FAAAAA")) == "no"
    game.play(scorer, 1, 2)
    game.play(scorer, 1, 3, act="imprint", above_floor=False)
    assert scorer.claim(BLUE, body(kind="detection", round=2, technique="imprint")) == "no"
    assert scorer.claim(BLUE, body(kind="detection", round=3, technique="imprint")) == "yes"
    # Red: 50 + 10 - 3. Blue: 5 + 3, then -10 and its point, 5 + 24, nothing below the floor, -5, 20.
    assert team(scorer)["red"]["points"] == 57
    assert team(scorer)["blue"]["points"] == 8 - 11 + 29 - 5 + 20
    assert team(scorer)["blue"]["rounds_above_floor"] == 2
    assert team(scorer, 2)["red"]["points"] == 0
    assert rescored(game.instance) == scorer.score()


def test_a_flag_counts_once_in_its_own_round_and_for_its_own_team(game: Played) -> None:
    scorer, flags = game.scorer(), game.people[1].truth.flags
    game.play(scorer, 1, 1)
    game.play(scorer, 2, 1)
    assert scorer.claim(RED, body(kind="flag", code=flags[3])) == "no"
    assert last(scorer)["reason"] == "the flag of a round that was not played yet"
    assert scorer.claim(OTHER_RED, body(kind="flag", code=flags[1])) == "no"
    assert last(scorer)["reason"] == "the flag of another team"
    assert scorer.claim(RED, body(kind="flag", code=flags[1])) == "yes"
    events = len(scorer.log.events)
    assert (
        scorer.claim(RED, body(kind="flag", code=f" {flags[1].lower()}")) == "yes"
    )  # the same claim, not a second one
    assert "claim" not in {e.event for e in scorer.log.events[events:]}


def test_a_repeated_claim_gets_the_same_answer_and_changes_nothing(game: Played) -> None:
    scorer = game.scorer()
    game.play(scorer, 1, 1)
    for claim in (game.picture(1, 1, "north"), body(kind="flag", code="FAAAAA")):
        first = scorer.claim(RED, claim)
        before = scorer.score()
        assert scorer.claim(RED, claim) == first
        assert scorer.score() == before
    assert [e.event for e in scorer.log.events].count("claim") == 2


def test_only_the_right_patients_picture_wins_a_line_up(game: Played) -> None:
    scorer, rng = game.scorer(), np.random.default_rng(0)
    game.play(scorer, 1, 1)
    game.play(scorer, 1, 2)
    true = game.behind(1, 1, "north").x[0]

    def claimed(record: Any, hospital: str = "north", round_: int = 1) -> str:
        told = body(kind="reconstruction", round=round_, hospital=hospital, record=np.ravel(record).tolist())
        return scorer.claim(RED, told)

    assert claimed(game.people[1].truth.decoys.x[0]) == "no"
    assert claimed(np.mean(game.people[1].outsiders.x, axis=0)) == "no"
    assert claimed(true, hospital="forest") == "no"
    assert claimed(true, round_=2) == "no"
    assert claimed(0.3 * true + 0.2 + rng.normal(0, 0.05, true.shape)) == "yes"  # shrunken, brighter and noisy
    assert claimed(true) == "no"
    assert last(scorer)["reason"] == "already credited"


def test_a_picture_that_red_was_given_is_no_reconstruction(game: Played) -> None:
    scorer = game.scorer()
    game.play(scorer, 1, 1)
    named = game.people[1].asked.take([int(np.flatnonzero(game.people[1].truth.used)[0])])
    path = game.instance.scorer / "round-1-001.json"
    path.write_text(json.dumps({"north": named.persons.tolist()}), encoding="utf-8")
    told = body(kind="reconstruction", round=1, hospital="north", record=named.x[0].ravel().tolist())
    assert scorer.claim(RED, told) == "no"


def test_membership_counts_only_surely_above_par(game: Played) -> None:
    scorer, truth, rng = game.scorer(), game.people[1].truth, np.random.default_rng(1)
    game.play(scorer, 1, 4, par=0.2)

    def claimed(scores: Any, names: Any = truth.names) -> str:
        told = dict(zip(names, np.asarray(scores, float).tolist(), strict=False))
        return scorer.claim(RED, body(kind="membership", round=4, scores=told))

    noise = rng.normal(size=len(truth.names))
    assert claimed(np.zeros(len(truth.names))) == "no"
    assert claimed(noise) == "no"
    assert claimed(-10.0 * truth.used + noise) == "no"
    assert claimed(10.0 * truth.used + noise) == "yes"
    assert last(scorer)["tpr"] == 1.0


def test_a_slip_costs_nothing(game: Played) -> None:
    scorer, truth = game.scorer(), game.people[1].truth
    game.play(scorer, 1, 1)
    game.play(scorer, 1, 4, par=0.2)
    before = scorer.score()
    size = int(np.prod(truth.patients.x.shape[1:]))
    picture: dict[str, Any] = {"kind": "reconstruction", "round": 1, "hospital": "north", "record": [0.0] * size}
    scores = dict.fromkeys(truth.names, 0.0)
    membership: dict[str, Any] = {"kind": "membership", "round": 4, "scores": scores}
    for caller, slip, id_ in (
        (RED, picture | {"round": 2}, "TB-RANGE-034"),
        (RED, picture | {"record": [0.0] * 9}, "TB-RANGE-035"),
        (RED, picture | {"hospital": "nroth"}, "TB-RANGE-035"),
        (RED, membership | {"round": 1}, "TB-RANGE-035"),
        (RED, membership | {"scores": {**scores, "nobody": 0.0}}, "TB-RANGE-035"),
        (RED, membership | {"scores": dict(list(scores.items())[1:])}, "TB-RANGE-035"),
        (BLUE, {"kind": "detection", "round": 9, "technique": "imprint"}, "TB-RANGE-034"),
    ):
        with pytest.raises(Refused) as refused:
            scorer.claim(caller, body(**slip))
        assert refused.value.id == id_
    assert scorer.score() == before
    assert "claim" not in {e.event for e in scorer.log.events}


def test_a_token_of_another_desk_is_refused_and_charged_to_nobody(game: Played) -> None:
    scorer = game.scorer()
    game.play(scorer, 2, 1)
    other, before = game.instance.token("red", 2), scorer.score()
    answer = Client(scorer).post(
        "/claim",
        json={"kind": "flag", "code": "FAAAAA"},
        headers={"authorization": f"Bearer {other}", OF_DESK: "red-1"},
    )
    assert (answer.status_code, answer.json()["id"]) == (403, "TB-RANGE-033")
    assert scorer.score() == before


def test_red_reports_no_detection_and_blue_claims_no_flag(game: Played) -> None:
    scorer = game.scorer()
    for caller, claim in (
        (RED, body(kind="detection", round=1, technique="imprint")),
        (BLUE, body(kind="flag", code="F")),
    ):
        with pytest.raises(Refused) as refused:
            scorer.claim(caller, claim)
        assert refused.value.status == 403
    with pytest.raises(Refused) as refused:
        scorer.note(RED, "round", {"round": 9}, 1)
    assert refused.value.id == "TB-RANGE-011"
    with pytest.raises(Refused):
        scorer.note(BLUE, "defend", {}, 2)
    assert "claim" not in {e.event for e in scorer.log.events}


def test_a_scorer_that_is_killed_and_started_again_has_the_same_score(game: Played) -> None:
    scorer = game.scorer()
    game.play(scorer, 1, 1)
    scorer.claim(RED, body(kind="flag", code=game.people[1].truth.flags[1]))
    before = scorer.score()
    # Killed between keeping a claim and logging it, and in the middle of a line.
    (game.instance.scorer / "claims" / "0000.json").write_text("{", encoding="utf-8")
    with (game.instance.scorer / LOG).open("ab") as file:
        file.write(b'{"seq": 3')
    again = game.scorer()
    assert again.score() == before == rescored(game.instance)
    assert again.log.events[-1].event == "recovered"
    # The claim that got no answer is sent again, and so is one that was answered already.
    assert again.claim(RED, game.picture(1, 1, "north")) == "yes"
    assert again.claim(RED, body(kind="flag", code=game.people[1].truth.flags[1])) == "yes"
    assert again.score() != before
    assert [e.event for e in again.log.events].count("claim") == 2


def test_claims_come_one_by_one_and_end(tmp_path: Path) -> None:
    game = played(tmp_path, limits={"seconds_between": 2.0, "claims": 3})
    scorer, clock = game.scorer(), game.clock
    game.play(scorer, 1, 1)
    for number in range(3):
        assert scorer.claim(RED, body(kind="flag", code=f"FAAAA{number}")) == "no"
        with pytest.raises(Refused) as refused:
            scorer.claim(RED, body(kind="flag", code="FBBBBB"))
        assert (refused.value.status, refused.value.wait_s) == (429, 2.0)
        clock.now += 2.0
    with pytest.raises(Refused) as refused:
        scorer.claim(RED, body(kind="flag", code="FCCCCC"))
    assert refused.value.id == "TB-RANGE-009"
    clock.now += 2.0
    assert scorer.claim(OTHER_RED, body(kind="flag", code="FCCCCC")) == "no"  # another team is not held up
    with pytest.raises(Refused) as refused:  # and after a restart the claims are still spent
        game.scorer().claim(RED, body(kind="flag", code="FCCCCC"))
    assert refused.value.id == "TB-RANGE-009"


def test_a_flood_fills_no_log_and_costs_no_points(tmp_path: Path) -> None:
    game = played(tmp_path, limits={"seconds_between": 2.0})
    scorer = game.scorer()
    for _ in range(2000):
        with pytest.raises(Refused):
            scorer.claim(RED, b"{")
    assert len(scorer.log.events) == 2  # the first malformed claim, and the first that came too soon
    game.clock.now += 60
    with pytest.raises(Refused):
        scorer.claim(RED, b"{")
    assert [e.facts["more_before"] for e in scorer.log.events] == [0, 0, 0]
    with pytest.raises(Refused):
        scorer.claim(RED, b"{")
    assert scorer.log.events[-1].facts == {"why": "too soon", "more_before": 1998}
    assert team(scorer)["red"]["points"] == 0


def malformed(rng: random.Random) -> bytes:
    """A message that is no claim: bytes, JSON of a wrong form, or a true form with a wrong value."""
    values: list[Any] = [None, True, -1, 0, 1e308, "", "x" * 50, [], {}, [[1]], {"a": None}, "NaN", 10**30]
    forms: list[dict[str, Any]] = [
        {"kind": "flag", "code": rng.choice([v for v in values if not (isinstance(v, str) and 1 <= len(v) <= 40)])},
        {"kind": rng.choice(values), "code": "FAAAAA"},
        {"kind": "flag", "code": "FAAAAA", "points": 100},
        {"kind": "reconstruction", "round": rng.choice(values[:3]), "hospital": "north", "record": [0.5]},
        {"kind": "reconstruction", "round": 1, "hospital": "north", "record": rng.choice(values)},
        {"kind": "membership", "round": 1, "scores": {"a": rng.choice([None, "much", []])}},
        {"kind": "detection", "round": 1, "technique": rng.choice(["", "a b", "<script>", "x" * 99])},
    ]
    match rng.randrange(4):
        case 0:
            return rng.randbytes(rng.randrange(40))
        case 1:
            return json.dumps(rng.choice(values)).encode()
        case 2:
            return (b"[" * rng.randrange(1, 5000)) + b'{"kind": "flag", "code": NaN}'
        case _:
            return json.dumps(rng.choice(forms)).encode()


def test_ten_thousand_malformed_claims_change_nothing(game: Played) -> None:
    scorer = game.scorer()
    game.play(scorer, 1, 1)
    before, events = scorer.score(), len(scorer.log.events)
    rng = random.Random(3)
    client = Client(scorer)
    token = {"authorization": f"Bearer {game.instance.token('red', 1)}"}
    for number in range(10_000):
        claim = malformed(rng)
        assert isinstance(parsed(claim), str), claim[:200]
        if number < 300:  # the same through the door
            answer = client.post("/claim", content=claim, headers=token)
            assert answer.status_code == 422
            assert answer.json()["id"] == "TB-RANGE-007"
        else:
            with pytest.raises(Refused):
                scorer.claim(RED, claim)
    assert scorer.score() == before
    assert len(scorer.log.events) == events + 1
    assert scorer.claim(RED, game.picture(1, 1, "north")) == "yes"


def test_an_error_never_repeats_what_was_sent(game: Played) -> None:
    client = Client(game.scorer())
    token = {"authorization": f"Bearer {game.instance.token('red', 1)}"}
    for claim in ({"kind": "flag", "code": 17071_9}, {"kind": "170719"}, {"kind": "flag", "code": "F", "z": "170719"}):
        text = client.post("/claim", json=claim, headers=token).text
        assert "170719" not in text


def test_the_door_knows_its_callers_and_turns_away_the_others(game: Played) -> None:
    scorer = game.scorer()
    game.play(scorer, 1, 1)
    client = Client(scorer)
    flag = {"kind": "flag", "code": game.people[1].truth.flags[1]}

    def status(token: str, **more: Any) -> int:
        return client.post("/claim", json=flag, headers={"authorization": token}, **more).status_code

    red, other = (game.instance.token("red", t) for t in (1, 2))
    assert [status(t) for t in ("", "Bearer", f"Basic {red}", "Bearer guessed", f"Bearer {red}x")] == [401] * 5
    assert client.post("/claim", json=flag).status_code == 401
    # Another team's token speaks for that team, for which this flag is wrong.
    assert client.post("/claim", json=flag, headers={"authorization": f"Bearer {other}"}).json() == {"answer": "no"}
    assert client.post("/claim", json=flag, headers={"authorization": f"Bearer {red}"}).json() == {"answer": "yes"}
    white = game.instance.token("white")
    assert client.get("/score", headers={"authorization": f"Bearer {white}"}).text == scorer.score()
    told = client.get("/score", headers={"authorization": f"Bearer {red}"}).json()
    assert told["teams"][0]["red"]["points"] == team(scorer)["red"]["points"]
    assert "ledger" not in told["teams"][0]  # its reasons are for the debriefing
    assert client.get("/who", headers={"authorization": f"Bearer {other}"}).json() == {"side": "red", "team": 2}
    assert client.get("/view").status_code == client.get("/who").status_code == 401
    assert client.get("/score").status_code == 401
    large = b"x" * (LARGEST + 1)
    assert client.post("/claim", content=large, headers={"authorization": f"Bearer {red}"}).status_code == 413
    assert client.get("/claim").status_code == 405
    assert client.get("/scorer/truth-1.npz").status_code == 404
    assert "truth" not in client.get("/health").text


def test_no_file_outside_a_desk_lets_anybody_in(game: Played) -> None:
    secrets = [game.instance.token(side, team) for side, team in game.instance.sides()]
    assert len(set(secrets)) == len(secrets)
    for path in (p for p in game.instance.folder.rglob("*") if p.is_file() and p.name != "token"):
        assert not [s for s in secrets if s.encode() in path.read_bytes()], path
    for path in game.instance.folder.rglob("token"):
        assert path.stat().st_mode & 0o777 == 0o600
    for path in [game.instance.folder, game.instance.scorer, game.instance.white, game.instance.desk("red", 1)]:
        assert path.stat().st_mode & 0o777 == 0o700


def test_a_claim_that_was_changed_after_it_was_judged_is_noticed(game: Played) -> None:
    scorer = game.scorer()
    game.play(scorer, 1, 1)
    scorer.claim(RED, body(kind="flag", code="FAAAAA"))
    kept = next((game.instance.scorer / "claims").glob("*.json"))
    write_secret(kept, body(kind="flag", code=game.people[1].truth.flags[1]).decode())
    with pytest.raises(InputError, match="TB-RANGE-012"):
        rescored(game.instance)
    kept.unlink()
    with pytest.raises(InputError, match="TB-RANGE-012"):
        rescored(game.instance)


def test_the_log_holds_no_payload(game: Played) -> None:
    scorer = game.scorer()
    game.play(scorer, 1, 1)
    scorer.claim(RED, game.picture(1, 1, "north"))
    scorer.claim(RED, body(kind="flag", code=game.people[1].truth.flags[1]))
    text = scorer.log.path.read_text("utf-8")
    assert game.people[1].truth.flags[1] not in text
    assert max(map(len, text.splitlines())) < 2000


def test_an_interrupted_command_that_reports_its_round_again_adds_nothing(game: Played) -> None:
    scorer = game.scorer()
    game.play(scorer, 1, 1)
    before = scorer.score()
    game.play(scorer, 1, 1)
    assert scorer.score() == before


def test_a_clock_that_moves_back_holds_nobody_up_for_ever(tmp_path: Path) -> None:
    game = played(tmp_path, limits={"seconds_between": 2.0})
    day, ticks = Clock(), Clock()
    scorer = Scorer(game.instance, day, ticks)
    scorer.claim(RED, body(kind="flag", code="FAAAAA"))
    day.now -= 86_400.0
    ticks.now += 2.0
    assert scorer.claim(RED, body(kind="flag", code="FAAAAC")) == "no"
