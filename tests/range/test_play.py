"""An exercise from its start to its end, over real processes, with a real federation."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from testbed.core.errors import InputError, RunError, UsageError
from testbed.range import desk, instance, loot, play, processes, snapshots, state
from testbed.range.desk import Desk, NotJudgedError
from testbed.range.events import Fact
from testbed.range.exercise import federated
from testbed.range.instance import HOME, Instance
from testbed.range.loot import Where
from testbed.range.patients import FLAGGED, read_label
from testbed.range.population import population
from testbed.range.scorer import Caller, Scorer, rescored
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


def scorer_of(game: Instance, monkeypatch: pytest.MonkeyPatch) -> Scorer:
    """The scorer of an instance in this process, asked without a network."""
    for team in range(1, game.teams + 1):
        population(federated(game.exercise), team).truth.write(game.scorer / f"truth-{team}.npz")
    scorer = Scorer(game)

    def note(own: Desk, event: str, facts: Mapping[str, Fact], team: int | None = None) -> None:
        scorer.note(Caller(own.side, own.team), event, facts, own.team if team is None else team)

    monkeypatch.setattr(Desk, "note", note)
    monkeypatch.setattr(play, "_open", lambda _: None)
    return scorer


def test_an_exercise_from_up_to_down(home: Path, tmp_path: Path) -> None:
    source = written(tmp_path / "small", limits={"seconds_between": 0.0, "utility_floor": 0.0})
    game = play.up(str(source), "one", None, silent)
    assert scored(game)["blue"]["rounds"] == 0  # blue looks round before anybody is sent
    play.inject(game, "round", None, None, silent)
    running = processes.door(game)
    assert running is not None

    # Red looks at round 1: one of three pictures shows a label that begins with F.
    numbers, *pictures = loot.attack(game, 1, 1, "analytic_linear")
    assert len(pictures) == 3
    with np.load(numbers) as file:
        shown = {hospital: read_label(file[hospital][0]) for hospital in federated(game.exercise).hospitals}
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
    with pytest.raises(UsageError, match="TB-RANGE-017"):
        loot.claim(game, 1, "flag", flags[0], Where())
    with pytest.raises(UsageError, match="TB-RANGE-036"):
        play.up("one", None, 3, silent)
    again = play.up("one", None, None, silent)
    assert scored(again)["red"]["points"] == 57
    assert loot.claim(again, 1, "flag", flags[0], Where())
    assert scored(again)["red"]["flags"] == 1

    # Blue switches a guard; the coordinator changes the model; every hospital refuses, and red sees nothing.
    play.defend(again, 1, "none", ("repeated_rows",))
    play.inject(again, "swap-model", "imprint", 1, silent)
    told = json.loads((again.desk("blue", 1) / "rounds.jsonl").read_text("utf-8").splitlines()[-1])
    assert told["answered"] == 0
    assert set(told["alarms"]) == {f"repeated_rows at {h}" for h in federated(again.exercise).hospitals}
    assert "imprint" not in (again.desk("blue", 1) / "rounds.jsonl").read_text("utf-8")
    assert loot.claim(again, 1, "detection", "imprint", Where(2))
    with pytest.raises(UsageError, match="TB-RANGE-026"):
        loot.attack(again, 1, 2, "imprint")
    blue = scored(again)["blue"]
    assert (blue["detections"], blue["rounds_above_floor"]) == (1, 1)
    text = Desk(again, "white").score()
    assert rescored(again) == text

    # A reset gives other people and other secrets, and a snapshot gives the old ones back.
    kept = snapshots.snapshot(again)
    before, token = flags[0], again.token("red", 1)
    torn = tmp_path / "torn.tar"
    torn.write_bytes(kept.read_bytes()[: kept.stat().st_size // 2])
    for broken in (torn, source / "exercise.yaml"):
        with pytest.raises(UsageError, match="TB-RANGE-040"):
            snapshots.reset(again, silent, broken)
    assert Desk(again, "white").score() == text  # nothing was stopped
    fresh = snapshots.reset(again, silent)
    assert fresh.token("red", 1) != token
    assert scored(fresh)["red"]["points"] == 0
    assert (fresh.desk("red", 1) / "brief-red.md").is_file() == (game.desk("red", 1) / "brief-red.md").is_file()
    assert not loot.claim(fresh, 1, "flag", before, Where())
    old = snapshots.reset(fresh, silent, fresh.folder / "snapshots" / kept.name)
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
        (lambda: play.defend(game, 1, "topk:0.1+rounding:0.5", ()), "TB-DEFENCE-021.*rounding"),  # of tables
        (lambda: play.defend(game, 1, "temperature", ()), "TB-DEFENCE-021.*temperature"),  # of a released model
        (lambda: play.inject(game, "rounds", None, None, silent), "TB-RANGE-020.*round"),
        (lambda: play.inject(game, "drop", "harbor", None, silent), "TB-RANGE-021.*harbour"),
        (lambda: play.inject(game, "swap-model", "imprnt", None, silent), "TB-RANGE-022.*imprint"),
        (lambda: loot.claim(game, 1, "flags", "F", Where()), "TB-RANGE-027.*flag"),
        (lambda: loot.claim(game, 1, "detection", "imprnt", Where(1)), "TB-ATTACK-001.*imprint"),
        (lambda: loot.claim(game, 1, "detection", "imprint", Where()), "TB-RANGE-028"),
        (lambda: loot.claim(game, 2, "flag", "F", Where()), "TB-RANGE-004"),
        (lambda: loot.attack(game, 1, 7, "imprint"), "TB-RANGE-025"),
        (lambda: snapshots.reset(game, silent, Path("none.tar")), "TB-RANGE-023"),
    ):
        if "drop" in told or "TB-RANGE-021" in told:
            state.State({"1": 1}, 1, {"1": 0}).keep(game)
        with pytest.raises(UsageError, match=told):
            refused()
    assert not (game.desk("blue", 1) / "defence.json").exists()


def test_an_inject_that_cannot_be_meant_is_refused_before_any_team_plays(home: Path, tmp_path: Path) -> None:
    game = instance.create(home / "one", str(written(tmp_path / "small")), 2)
    state.State({"1": 1, "2": 2}, 1, {"1": 1, "2": 5}).keep(game)
    told: list[str] = []
    for what, value, error in (
        ("round", "3", "TB-RANGE-038"),
        ("hint", "foo", "TB-RANGE-038"),
        ("swap-model", None, "TB-RANGE-022.*imprint"),
        ("round", None, "TB-RANGE-039"),  # team 2 has played all five
        ("swap-model", "imprint", "TB-RANGE-039"),
    ):
        with pytest.raises(UsageError, match=error):
            play.inject(game, what, value, None, told.append)
    with pytest.raises(UsageError, match="TB-RANGE-017") as closed_:
        play.inject(game, "round", None, 1, told.append)
    assert closed_.value.fix.isprintable()
    assert told == []
    assert state.State.of(game).rounds == {"1": 1, "2": 5}


@pytest.mark.parametrize("content", [None, b"", b"two words\n", b"\xff\xfe", b"short"])
def test_a_token_file_that_holds_no_token_is_named(home: Path, tmp_path: Path, content: bytes | None) -> None:
    game = instance.create(home / "one", str(written(tmp_path / "small")), 1)
    path = game.desk("red", 1) / "token"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UsageError, match=r"TB-RANGE-032.*red-1"):
        game.token("red", 1)


def test_a_file_that_does_not_fit_its_claim_is_not_sent(home: Path, tmp_path: Path) -> None:
    game = instance.create(home / "one", str(written(tmp_path / "small")), 1)
    for name, content in (
        ("round-01.a.csv", "name,score\nx,1\n"),
        ("round-01.b.csv", "name,score\nx,1\nx,2\n"),
        ("round-01.c.npz", ""),
        ("round-01.d.npz", "PK\x03\x04 torn"),
    ):
        (tmp_path / name).write_text(content, encoding="utf-8")
    numbers = tmp_path / "round-01.e.npz"
    np.savez(numbers, round=np.array(1), forest=np.zeros((1, 2)))
    for kind, file, round_, error in (
        ("membership", "round-01.a.csv", 2, "TB-RANGE-041"),
        ("membership", "round-01.b.csv", None, "TB-RANGE-029.*once"),
        ("membership", "nothing.csv", 1, "TB-RANGE-042.*nothing.csv"),
        ("reconstruction", "nothing.npz", 1, "TB-RANGE-042.*nothing.npz"),
        ("reconstruction", "round-01.c.npz", None, "TB-RANGE-030"),
        ("reconstruction", "round-01.d.npz", None, "TB-RANGE-030"),
        ("reconstruction", numbers.name, 2, "TB-RANGE-041"),
    ):
        with pytest.raises((UsageError, InputError), match=error):
            loot.claim(game, 1, kind, str(tmp_path / file), Where(round_))


def test_a_hospital_is_dropped_for_the_teams_that_were_named_alone(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = instance.create(home / "one", str(written(tmp_path / "small")), 2)
    state.State({"1": 1, "2": 2}, 1, {"1": 0, "2": 0}).keep(game)
    scorer_of(game, monkeypatch)
    assert play.inject(game, "drop", "forest", 2, silent) == ["team 2: forest takes no part from the next round on"]
    assert state.State.of(game).dropped == {"2": ["forest"]}
    with pytest.raises(UsageError, match="TB-RANGE-021"):  # team 2 would be left with one hospital
        play.inject(game, "drop", "north", None, silent)
    assert state.State.of(game).dropped == {"2": ["forest"]}
    assert play.inject(game, "drop", "forest", None, silent)[1] == "team 2: forest takes no part already"
    assert state.State.of(game).dropped == {"1": ["forest"], "2": ["forest"]}


def test_an_instance_of_an_earlier_version_dropped_its_hospitals_for_all_teams(home: Path, tmp_path: Path) -> None:
    game = instance.create(home / "one", str(written(tmp_path / "small")), 2)
    told = {"seeds": {"1": 1, "2": 2}, "public_seed": 1, "rounds": {"1": 0, "2": 0}, "dropped": ["forest"]}
    (game.white / state.STATE).write_text(json.dumps(told), encoding="utf-8")
    assert state.State.of(game).dropped == {"1": ["forest"], "2": ["forest"]}


def test_a_first_model_that_is_not_clearly_above_the_floor_starts_no_exercise(home: Path, tmp_path: Path) -> None:
    source = written(tmp_path / "small", limits={"utility_floor": 0.97})
    with pytest.raises(RunError, match=r"TB-RANGE-037.*97%"):
        play.up(str(source), "one", 1, silent)
    assert list(home.iterdir()) == []


def test_a_brief_names_the_readers_own_folder_and_team(home: Path) -> None:
    game = instance.create(home / "a b" / "mine", "gradient-heist", 2)
    text = (game.desk("red", 2) / "brief-red.md").read_text("utf-8")
    assert f"'{game.desk('red', 2).resolve()}'/loot/" in text
    assert "testbed range attack mine analytic_linear --round 1 --team 2" in text
    assert "{" not in text
    assert "--team 1" in (game.desk("blue", 1) / "brief-blue.md").read_text("utf-8")


def test_a_number_that_now_belongs_to_another_process_is_not_stopped(home: Path, tmp_path: Path) -> None:
    game = instance.create(home / "one", str(written(tmp_path / "small")), 1)
    (game.folder / processes.SCORER.door).write_text(json.dumps({"port": 1, "pid": os.getpid()}), encoding="utf-8")
    assert processes.door(game) is None
    assert not processes.stop(game)  # this process goes on
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(UsageError, match="TB-RANGE-017"):
        desk.Desk(game, "red", 1).score()


def test_a_scorer_that_cannot_start_says_why(home: Path, tmp_path: Path) -> None:
    game = instance.create(home / "one", str(written(tmp_path / "small")), 1)
    with pytest.raises(RunError, match="TB-RANGE-015"):  # its truth is missing
        processes.start(game)
    assert processes.door(game) is None


def test_the_answer_to_a_refused_claim_has_the_scorers_own_id() -> None:
    error = NotJudgedError({"id": "TB-RANGE-010", "what": "Too soon.", "fix": "Wait."}, 3.0)
    assert str(error).endswith("Wait. Try again in 3 seconds.")
