"""An exercise from its start to its end, over real processes, with a real federation."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from testbed.core.errors import RunError, UsageError
from testbed.range import desk, instance, loot, play, processes
from testbed.range.desk import Desk, NotJudgedError
from testbed.range.instance import HOME, Instance
from testbed.range.loot import Where
from testbed.range.patients import FLAGGED, read_label
from testbed.range.scorer import rescored
from tests.range.small import written


def silent(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(HOME, str(tmp_path / "range"))
    yield tmp_path / "range"
    for name in instance.names():
        processes.stop(instance.find(name))


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def closed(port: int) -> bool:
    import socket

    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) != 0


def scored(game: Instance) -> dict[str, dict[str, int]]:
    return json.loads(Desk(game, "white").score())["teams"][0]


def test_an_exercise_from_up_to_down(home: Path, tmp_path: Path) -> None:
    source = written(tmp_path / "small", limits={"seconds_between": 0.0, "utility_floor": 0.0})
    game = play.up(str(source), "one", 1, silent)
    running = processes.door(game)
    assert running is not None

    # Red looks at round 1: one of three pictures shows a label that begins with F.
    numbers, *pictures = loot.attack(game, 1, 1, "analytic_linear")
    assert len(pictures) == 3
    with np.load(numbers) as file:
        shown = {hospital: read_label(file[hospital][0]) for hospital in game.exercise.hospitals}
    flags = [label for label in shown.values() if label.startswith(FLAGGED)]
    assert flags == [shown["harbour"]]
    assert not loot.claim(game, 1, "flag", shown["north"], Where())
    assert loot.claim(game, 1, "flag", flags[0], Where())
    assert loot.claim(game, 1, "reconstruction", str(numbers), Where(hospital="forest"))
    assert scored(game)["red"]["points"] == 57

    # The scorer is killed; the score is intact, and a claim on the way is sent again.
    os.kill(running.pid, signal.SIGKILL)
    while not gone(running.pid) and processes.door(game) is not None:
        time.sleep(0.02)
    with pytest.raises(RunError, match="TB-RANGE-017"):
        loot.claim(game, 1, "flag", flags[0], Where())
    again = play.up("one", None, 1, silent)
    assert scored(again)["red"]["points"] == 57
    assert loot.claim(again, 1, "flag", flags[0], Where())
    assert scored(again)["red"]["flags"] == 1

    # Blue switches a guard; the coordinator changes the model; every hospital refuses, and red sees nothing.
    play.defend(again, 1, "none", ("repeated_rows",))
    play.inject(again, "swap-model", "imprint", 1, silent)
    told = json.loads((again.desk("blue", 1) / "rounds.jsonl").read_text("utf-8").splitlines()[-1])
    assert told["answered"] == 0
    assert set(told["alarms"]) == {f"repeated_rows at {h}" for h in again.exercise.hospitals}
    assert "imprint" not in (again.desk("blue", 1) / "rounds.jsonl").read_text("utf-8")
    assert loot.claim(again, 1, "detection", "imprint", Where(2))
    with pytest.raises(UsageError, match="TB-RANGE-026"):
        loot.attack(again, 1, 2, "imprint")
    blue = scored(again)["blue"]
    assert (blue["detections"], blue["rounds_above_floor"]) == (1, 1)
    text = Desk(again, "white").score()
    assert rescored(again) == text

    # A reset gives other people and other secrets, and a snapshot gives the old ones back.
    kept = play.snapshot(again)
    before, token = flags[0], again.token("red", 1)
    fresh = play.reset(again, silent)
    assert fresh.token("red", 1) != token
    assert scored(fresh)["red"]["points"] == 0
    assert (fresh.desk("red", 1) / "brief-red.md").is_file() == (game.desk("red", 1) / "brief-red.md").is_file()
    assert not loot.claim(fresh, 1, "flag", before, Where())
    old = play.reset(fresh, silent, fresh.folder / "snapshots" / kept.name)
    assert Desk(old, "white").score() == text
    assert old.token("red", 1) == token

    # Nothing is left running, and nothing lies outside the folder.
    running = processes.door(old)
    assert running is not None
    assert play.down(old)
    assert gone(running.pid)
    assert closed(running.port)
    assert rescored(old) == text
    assert sorted(p.name for p in home.iterdir()) == ["one"]
    assert not play.down(old, remove=True)
    assert list(home.iterdir()) == []


def test_what_cannot_be_is_refused_before_anything_starts(home: Path, tmp_path: Path) -> None:
    source = str(written(tmp_path / "small"))
    for refused, error in (
        (lambda: play.up("gradient-hiest", None, 1, silent), "TB-RANGE-002"),
        (lambda: play.up(source, "../out", 1, silent), "TB-RANGE-018"),
        (lambda: play.up(source, "a name", 1, silent), "TB-RANGE-018"),
        (lambda: instance.find("nothing"), "TB-RANGE-005"),
        (lambda: instance.find("../small"), "TB-RANGE-005"),
    ):
        with pytest.raises(UsageError, match=error):
            refused()
    home.mkdir()
    (home / "mine").mkdir()
    with pytest.raises(UsageError, match="TB-RANGE-019"):
        play.up(source, "mine", 1, silent)
    assert [p.name for p in home.iterdir()] == ["mine"]


def test_a_misspelt_word_of_a_player_is_answered_with_the_one_that_was_meant(home: Path, tmp_path: Path) -> None:
    game = instance.create(home / "one", str(written(tmp_path / "small")), 1)
    for refused, told in (
        (lambda: play.defend(game, 1, "topkk:0.1", ()), "TB-DEFENCE-001.*topk"),
        (lambda: play.defend(game, 1, "none", ("repeated_row",)), "TB-GUARD-001.*repeated_rows"),
        (lambda: play.inject(game, "rounds", None, None, silent), "TB-RANGE-020.*round"),
        (lambda: play.inject(game, "drop", "harbor", None, silent), "TB-RANGE-021.*harbour"),
        (lambda: play.inject(game, "swap-model", "imprnt", None, silent), "TB-RANGE-022.*imprint"),
        (lambda: loot.claim(game, 1, "flags", "F", Where()), "TB-RANGE-027.*flag"),
        (lambda: loot.claim(game, 1, "detection", "imprnt", Where(1)), "TB-ATTACK-001.*imprint"),
        (lambda: loot.claim(game, 1, "detection", "imprint", Where()), "TB-RANGE-028"),
        (lambda: loot.claim(game, 2, "flag", "F", Where()), "TB-RANGE-004"),
        (lambda: loot.attack(game, 1, 7, "imprint"), "TB-RANGE-025"),
        (lambda: play.reset(game, silent, Path("none.tar")), "TB-RANGE-023"),
    ):
        if "drop" in told or "TB-RANGE-021" in told:
            play.State({"1": 1}, 1, {"1": 0}).keep(game)
        with pytest.raises(UsageError, match=told):
            refused()
    assert not (game.desk("blue", 1) / "defence.json").exists()


def test_a_number_that_now_belongs_to_another_process_is_not_stopped(home: Path, tmp_path: Path) -> None:
    game = instance.create(home / "one", str(written(tmp_path / "small")), 1)
    (game.folder / processes.DOOR).write_text(json.dumps({"port": 1, "pid": os.getpid()}), encoding="utf-8")
    assert processes.door(game) is None
    assert not processes.stop(game)  # this process goes on
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(RunError, match="TB-RANGE-017"):
        desk.Desk(game, "red", 1).score()


def test_a_scorer_that_cannot_start_says_why(home: Path, tmp_path: Path) -> None:
    game = instance.create(home / "one", str(written(tmp_path / "small")), 1)
    with pytest.raises(RunError, match="TB-RANGE-015"):  # its truth is missing
        processes.start(game)
    assert processes.door(game) is None


def test_the_answer_to_a_refused_claim_has_the_scorers_own_id() -> None:
    error = NotJudgedError({"id": "TB-RANGE-010", "what": "Too soon.", "fix": "Wait."}, 3.0)
    assert str(error).endswith("Wait. Try again in 3 seconds.")
