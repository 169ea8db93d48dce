"""Faults of machines and attacks on the range itself: the exercise goes on, the score is intact, the log has it."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from testbed.cli.range_ import range_app
from testbed.core.errors import RunError, TestbedError
from testbed.range import events, instance, loot, scorer, state
from testbed.range.events import HEAD, LOG
from testbed.range.instance import HOME
from testbed.range.scorer import Refused, Scorer, rescored
from tests.range.small import BLUE, OTHER_RED, RED, Clock, Played, body, played
from tests.range.test_scorer import Client


@pytest.fixture
def game(tmp_path: Path) -> Played:
    return played(tmp_path, limits={"seconds_between": 0.0, "claims": 20})


class KilledError(BaseException):
    """The process ends here, as by SIGKILL: nothing after it happens."""


def killed(*_: Any, **__: Any) -> Any:
    raise KilledError


DEATHS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the claim is kept": lambda m: m.setattr(Path, "touch", killed),
    "while the claim is kept": lambda m: m.setattr(Path, "write_text", killed),
    "before the line is written": lambda m: m.setattr(events, "_link", killed),
    "before the line is on disk": lambda m: m.setattr(events.os, "fsync", killed),
    "before the head follows": lambda m: m.setattr(Path, "replace", killed),
    "before the answer": lambda m: m.setattr(Scorer, "_remember", killed),
}


@pytest.mark.parametrize("moment", list(DEATHS))
def test_a_scorer_killed_in_the_middle_of_a_claim_judges_it_once(
    game: Played, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = game.scorer()
    game.play(first, 1, 1)
    first.claim(RED, body(kind="flag", code="FAAAAA"))
    claim = game.picture(1, 1, "north")
    with monkeypatch.context() as patched:
        DEATHS[moment](patched)
        with pytest.raises(KilledError):
            first.claim(RED, claim)
    again = game.scorer()
    assert again.claim(RED, claim) == "yes"
    assert again.claim(RED, claim) == "yes"  # and what was lost on the way is sent once more
    told = json.loads(again.score())["teams"][0]
    assert (told["red"]["points"], told["red"]["reconstructions"]) == (10 - 3, 1)
    assert [e.event for e in again.log.events].count("claim") == 2
    assert rescored(game.instance) == again.score()


@pytest.mark.parametrize("jump", [-86_400.0, -3.0, 0.0, 86_400.0])
def test_a_clock_that_jumps_moves_no_event_and_no_point(game: Played, jump: float) -> None:
    day, ticks = Clock(), Clock()
    first = Scorer(game.instance, day, ticks)
    game.play(first, 1, 1)
    first.claim(RED, body(kind="flag", code=game.people[1].truth.flags[1]))
    before = first.score()
    day.now += jump
    again = Scorer(game.instance, day, Clock())  # the machine was started again, and its clock is another one
    assert again.score() == before == rescored(game.instance)
    assert again.claim(RED, game.picture(1, 1, "north")) == "yes"
    game.play(again, 1, 2)
    assert [e.seq for e in game.scorer().log.events] == list(range(1, 5))
    assert rescored(game.instance) == again.score()


def test_a_flood_of_one_team_holds_up_no_other_and_is_in_the_log(tmp_path: Path) -> None:
    game = played(tmp_path, limits={"seconds_between": 2.0, "claims": 20})
    made = game.scorer()
    game.play(made, 1, 1)
    game.play(made, 2, 1)
    flags = game.people[2].truth.flags
    for number in range(5000):
        with pytest.raises(Refused):
            made.claim(RED, b"{" if number % 2 else body(kind="flag", code=5))
        with pytest.raises(Refused):
            made.caller(f"guessed-{number}")
    assert made.claim(OTHER_RED, body(kind="flag", code=flags[1])) == "yes"
    assert [e.facts["why"] for e in made.log.events if e.event == "refused"] == ["malformed", "token", "too soon"]
    assert len(made._quiet) < 10  # pyright: ignore[reportPrivateUsage] - what is remembered of a flood does not grow
    assert json.loads(made.score())["teams"][1]["red"]["points"] == 50
    assert rescored(game.instance) == made.score()


def test_a_claim_that_another_team_listened_to_is_worth_nothing_to_it(game: Played) -> None:
    made = game.scorer()
    game.play(made, 1, 1)
    game.play(made, 2, 1)
    heard = [game.picture(1, 1, "north"), body(kind="flag", code=game.people[1].truth.flags[1])]
    for claim in heard:
        assert made.claim(RED, claim) == "yes"
        assert made.claim(OTHER_RED, claim) == "no"
        with pytest.raises(Refused):
            made.claim(BLUE, claim)
    teams = json.loads(made.score())["teams"]
    assert [one["red"]["points"] for one in teams] == [60, -6]
    assert rescored(game.instance) == made.score()


FULL_AT: dict[str, tuple[Any, str]] = {
    "the claim": (Path, "touch"),
    "the log": (events.os, "fsync"),
    "the head": (Path, "replace"),
}


@pytest.mark.parametrize("place", list(FULL_AT))
def test_a_full_disk_under_the_scorer_answers_nothing_and_loses_nothing(
    game: Played, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = game.scorer()
    game.play(made, 1, 1)
    before, client = made.score(), Client(made)
    token = {"authorization": f"Bearer {game.instance.token('red', 1)}"}
    with monkeypatch.context() as patched:
        patched.setattr(*FULL_AT[place], refuse)
        for number in range(3):
            answer = client.post("/claim", content=game.picture(1, 1, "north", 0), headers=token)
            assert (answer.status_code, answer.json()["id"]) == (503, "TB-RANGE-066")
            assert client.post("/claim", content=body(kind="flag", code=f"FAAA{number}"), headers=token).is_error
    assert made.score() == before == game.scorer().score()  # whether it goes on or is started again
    assert made.claim(RED, game.picture(1, 1, "north")) == "yes"
    assert game.scorer().claim(RED, game.picture(1, 1, "north")) == "yes"
    assert [e.event for e in game.scorer().log.events].count("claim") == 1
    assert rescored(game.instance) == game.scorer().score()


def refuse(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from pathlib import Path
from testbed.core.errors import TestbedError
from testbed.range import loot
import numpy as np
target = Path(sys.argv[1])
try:
    if sys.argv[2] == "scores":
        loot._scores(target / "round-01.a.csv", [f"person {i}" for i in range(500)], [0.5] * 500)
    else:
        loot._pictures(target / "round-01.a", 1, {"north": np.random.default_rng(0).random((8, 1, 28, 28))})
except TestbedError as error:
    print(error.id)
"""


@pytest.mark.parametrize("kind", ["scores", "pictures"])
def test_a_full_disk_in_loot_is_told_and_leaves_no_half_file(tmp_path: Path, kind: str) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path), kind], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "TB-RANGE-065"
    assert list(tmp_path.iterdir()) == []


def test_an_attack_that_finds_the_disk_full_can_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "round-01.a.csv"
    target.write_text("name,score\nold,1\n", encoding="utf-8")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", refuse)
        with pytest.raises(RunError, match="TB-RANGE-065"):
            loot._scores(target, ["x"], [0.5])  # pyright: ignore[reportPrivateUsage]
    assert target.read_text("utf-8") == "name,score\nold,1\n"  # what was there stays
    loot._scores(target, ["x"], [0.5])  # pyright: ignore[reportPrivateUsage]
    assert target.read_text("utf-8").splitlines() == ["name,score", "x,0.5"]


TYPOS: dict[str, tuple[list[str], str]] = {
    "up": (["up", "gradient-hiest"], "TB-RANGE-002.*gradient-heist"),
    "up, runtime": (["up", "gradient-heist", "--runtime", "proceses"], "TB-RANGE-024.*processes"),
    "status": (["status", "onne"], "TB-RANGE-005.*one"),
    "score": (["score", "onne"], "TB-RANGE-005.*one"),
    "rescore": (["rescore", "onne"], "TB-RANGE-005.*one"),
    "attack": (["attack", "one", "analytic_liner", "--round", "1"], "TB-ATTACK-001.*analytic_linear"),
    "claim": (["claim", "one", "flagg", "FAAAAA"], "TB-RANGE-027.*flag"),
    "claim, team": (["claim", "one", "flag", "FAAAAA", "--team", "7"], "TB-RANGE-004.*1 to 2"),
    "claim, file": (["claim", "one", "membership", "nothing.csv", "--round", "1"], "TB-RANGE-042"),
    "defend": (["defend", "one", "topkk:0.1"], "TB-DEFENCE-001.*topk"),
    "defend, guard": (["defend", "one", "none", "--guards", "repeated_row"], "TB-GUARD-001.*repeated_rows"),
    "inject": (["inject", "one", "rund"], "TB-RANGE-020.*round"),
    "inject, hospital": (["inject", "one", "drop", "harbor"], "TB-RANGE-021.*harbour"),
    "inject, attack": (["inject", "one", "swap-model", "imprnt"], "TB-RANGE-022.*imprint"),
    "inject, team": (["inject", "one", "hint", "--team", "3"], "TB-RANGE-004"),
    "snapshot": (["snapshot", "onne"], "TB-RANGE-005.*one"),
    "reset": (["reset", "one", "--to", "snapshots/9.tar"], "TB-RANGE-023"),
    "reset, name": (["reset", "onne"], "TB-RANGE-005.*one"),
    "down": (["down", "onne", "--remove"], "TB-RANGE-005.*one"),
    "export": (["export", "one", "--to", "ctdf"], "TB-RANGE-051.*ctfd"),
    "compose": (["compose", "gradient-hiest"], "TB-RANGE-002.*gradient-heist"),
    "report": (["report", "onne"], "TB-RANGE-005.*one"),
}


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """A game that the typos of this file leave as it is."""
    made = played(tmp_path_factory.mktemp("typos"))
    made.instance.folder.rename(made.instance.folder.with_name("one"))
    one = instance.find_at(made.instance.folder.with_name("one"))
    state.State({"1": 1, "2": 2}, 1, {"1": 0, "2": 0}).keep(one)
    return Played(one, made.people)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("command", list(TYPOS))
def test_an_instructors_typo_changes_nothing_and_gets_the_word_that_was_meant(
    standing: Played, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = standing.instance.folder
    monkeypatch.setenv(HOME, str(folder.parent))
    before = everything(folder)
    arguments, told = TYPOS[command]
    done = CliRunner().invoke(range_app, arguments)
    assert isinstance(done.exception, TestbedError), done.output
    with pytest.raises(type(done.exception), match=told):
        raise done.exception
    assert everything(folder) == before


def test_every_command_has_its_typo() -> None:
    named = {c.name for c in range_app.registered_commands}
    assert named == {command.partition(",")[0] for command in TYPOS}


def test_a_log_that_was_cut_off_at_any_byte_of_its_last_line_is_read(game: Played) -> None:
    made = game.scorer()
    game.play(made, 1, 1)
    before = made.score()
    head = (game.instance.scorer / HEAD).read_bytes()
    whole = (game.instance.scorer / LOG).read_bytes()
    made.claim(RED, body(kind="flag", code="FAAAAA"))
    line = (game.instance.scorer / LOG).read_bytes()[len(whole) :]
    for length in range(1, len(line), 29):
        (game.instance.scorer / LOG).write_bytes(whole + line[:length])
        (game.instance.scorer / HEAD).write_bytes(head)
        assert game.scorer().score() == before
    assert (game.instance.scorer / LOG).stat().st_size > len(whole)  # it says that it was started again
    assert all(e.event != "claim" for e in game.scorer().log.events)
    assert scorer.rescored(game.instance) == before
