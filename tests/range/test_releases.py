"""Exercises about released tables: people, candidates, red's looks at them, and blue's decisions."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from testbed.cli import app
from testbed.core.errors import Exit, InputError, UsageError
from testbed.range import after_action, loot, play, processes, releases
from testbed.range import exercise as exercises
from testbed.range import instance as instances
from testbed.range.desk import Desk
from testbed.range.exercise import LEAKS, ReleaseExercise
from testbed.range.instance import Instance
from testbed.range.loot import Where
from testbed.range.records import DATES, SERIES
from testbed.range.scorer import rescored
from testbed.range.truth import true_positives


def load(name: str = "open-release") -> ReleaseExercise:
    made = exercises.load(name)
    assert isinstance(made, ReleaseExercise)
    return made


EXERCISE = load()
SEEDS = range(5)


def found(seed: int, number: int, *columns: str) -> tuple[bool, bool]:
    """Does the density ratio pass par on a candidate, by these columns or all; and does the second look?"""
    people, sample = releases.crowd(EXERCISE, seed), releases.public(EXERCISE, seed + 1000)
    made = releases.candidate(EXERCISE, number, people, seed)
    par = releases.par(EXERCISE, people, sample, made)
    look = second_look()
    apart = np.abs(look(people.asked)[:, None] - look(made)[None]).sum(2).min(1)
    scored = releases.scores("density_ratio", people.asked, sample, made, columns)
    first, second = (true_positives(s, people.used, EXERCISE.limits.membership_fpr).low > par for s in (scored, -apart))
    return first, second


def second_look() -> Any:
    with exercises.resources.as_file(exercises.folder("open-release") / "second_look.py") as path:
        return runpy.run_path(str(path))["within_rows"]


def numbered(recipe: str) -> int:
    return 1 + [c.made for c in EXERCISE.candidates].index(recipe)  # pyright: ignore[reportArgumentType]


def test_nobody_is_surely_above_par_on_a_harmless_candidate() -> None:
    for recipe in {c.made for c in EXERCISE.candidates} - LEAKS:
        above = [found(seed, numbered(recipe))[0] for seed in SEEDS]
        assert not any(above)


def test_a_half_done_swap_shows_in_the_columns_that_stayed_together() -> None:
    for seed in SEEDS:
        assert found(seed, numbered("swapped"), *DATES, *SERIES)[0]


def test_moved_rows_show_at_the_second_look_alone() -> None:
    for seed in SEEDS:
        assert found(seed, numbered("moved")) == (False, True)


def test_the_truth_says_who_of_the_named_is_in_the_original() -> None:
    people = releases.crowd(EXERCISE, 3)
    rows = set(map(tuple, people.original.astype(str).to_numpy().tolist()))
    inside = [tuple(row[1:]) in rows for row in people.asked.astype(str).to_numpy().tolist()]
    assert inside == people.used.tolist()
    assert sum(inside) == EXERCISE.people.named
    held = set(map(tuple, people.control.astype(str).to_numpy().tolist()))
    assert not rows & held


def small(folder: Path, **changed: Any) -> Path:
    """The folder of an exercise like the shipped one, with fewer people, and with these entries changed."""
    told: dict[str, Any] = yaml.safe_load((exercises.folder("open-release") / exercises.FILE).read_text("utf-8"))
    told["people"] |= {"original": 60, "control": 60, "named": 50, "outsiders": 200, "public": 200}
    told["limits"] |= {"seconds_between": 0.0}
    for name, value in changed.items():
        told[name] = told[name] | value if isinstance(value, dict) else value
    folder.mkdir(parents=True)
    (folder / exercises.FILE).write_text(yaml.safe_dump(told), encoding="utf-8")
    return folder


def report(desk: Path, number: int, out: Path, data_class: str = "synthetic") -> Path:
    """A report as the command writes it, with one attack alone, which is quick."""
    files = {"original": releases.ORIGINAL, "control": releases.CONTROL, "synthetic": releases.file_name(number)}
    options = [text for role, file in files.items() for text in (f"--{role}", str(desk / file))]
    more = ["--attack", "nearest_release_row", "--data-class", data_class, "--out", str(out)]
    found = CliRunner().invoke(app, ["evaluate", *options, *more])
    assert found.exit_code == Exit.REVIEW, found.output
    return out


def silent(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    """A small exercise that was started, with two candidates handed out."""
    monkeypatch.setenv(instances.HOME, str(tmp_path / "range"))
    made = play.up(str(small(tmp_path / "small")), "open", None, silent)
    for _ in range(2):
        play.inject(made, "round", None, None, silent)
    yield made
    processes.stop(made)


def team(game: Instance) -> dict[str, Any]:
    return json.loads(Desk(game, "white").score())["teams"][0]


def test_blue_decides_with_a_report_on_its_own_tables(game: Instance, tmp_path: Path) -> None:
    desk = game.desk("blue", 1)
    first, second = (report(desk, number, tmp_path / f"report-{number}") for number in (1, 2))

    def decide(what: str, number: int, on: Path | None) -> bool:
        return loot.claim(game, 1, "decision", what, Where(number, report=on))

    # What cannot be judged is refused and costs nothing.
    told = json.loads((first / "share" / "result.json").read_text("utf-8"))
    for name, wrong, why in (
        ("altered.json", told | {"decision": told["decision"] | {"verdict": "pass"}}, "altered"),
        ("other.json", {"verdict": "pass"}, "no result.json"),
    ):
        (tmp_path / name).write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(UsageError, match=f"(?s)TB-RANGE-035.*{why}"):
            decide("release", 1, tmp_path / name)
    with pytest.raises(UsageError, match=r"(?s)TB-RANGE-035.*another synthetic table"):
        decide("release", 1, second)
    with pytest.raises(UsageError, match=r"(?s)TB-RANGE-035.*--data-class synthetic"):
        decide("release", 1, report(desk, 1, tmp_path / "real", "real"))
    with pytest.raises(UsageError, match=r"TB-RANGE-048.*release"):
        decide("relaese", 1, first)
    with pytest.raises(UsageError, match="TB-RANGE-049"):
        decide("release", 1, None)
    with pytest.raises(InputError, match="TB-RANGE-042"):
        decide("release", 1, tmp_path / "nothing.json")
    with pytest.raises(UsageError, match="TB-RANGE-034"):
        decide("release", 3, first)
    assert team(game)["blue"]["points"] == 0

    # Candidate 1 is harmless, candidate 2 is not.
    assert decide("release", 1, first)
    assert decide("release", 1, first)  # the same decision again is the same decision
    with pytest.raises(UsageError, match="TB-RANGE-044"):
        decide("hold", 1, first)
    assert not decide("release", 2, second / "share" / "result.json")
    play.inject(game, "round", None, None, silent)
    assert decide("hold", 3, report(desk, 3, tmp_path / "report-3"))
    told = team(game)
    assert told["blue"] == {"points": 25 - 50 + 25, "right_decisions": 2, "wrong_decisions": 1}
    assert [e["reason"] for e in told["ledger"]] == [
        "released, and it is harmless; its report says review",
        "released, and it leaks; its report says review",
        "held, and it leaks; its report says review",
    ]
    text = Desk(game, "white").score()
    assert rescored(game) == text

    # The report of the exercise says what was decided, and holds no row.
    out = after_action.write(game, tmp_path / "after")
    page = (out / "share" / "report.html").read_text("utf-8")
    for words in ("Candidate by candidate", "is harmless", "leaks", "released", "no claim"):
        assert words in page
    assert not [name for name in pd.read_csv(game.desk("red", 1) / releases.NAMES)["name"] if name in page]


def test_red_scores_names_by_the_columns_that_it_chooses(game: Instance) -> None:
    desk = game.desk("red", 1)
    with pytest.raises(UsageError, match=r"TB-RANGE-047.*systolic"):
        loot.attack(game, 1, 2, "density_ratio", ["systolc"])
    for unfit in ("singling_out_univariate", "update_product", "shadow_ratio"):
        with pytest.raises(UsageError, match="TB-RANGE-026"):
            loot.attack(game, 1, 2, unfit)
    with pytest.raises(UsageError, match="TB-RANGE-025"):
        loot.attack(game, 1, 3, "density_ratio")
    (file,) = loot.attack(game, 1, 2, "nearest_release_row", [*DATES, *SERIES])
    assert file == desk / "loot" / "round-02.nearest_release_row.csv"
    assert loot.claim(game, 1, "membership", str(file), Where())
    assert team(game)["red"] == {"points": 60, "memberships": 1, "wrong_claims": 0, "hints": 0}
    with pytest.raises(UsageError, match="TB-RANGE-043"):
        loot.claim(game, 1, "flag", "FAAAAA", Where())


def test_what_needs_a_federation_is_refused(game: Instance) -> None:
    for refused in (
        lambda: play.defend(game, 1, "none", ()),
        lambda: play.inject(game, "drop", "north", None, silent),
        lambda: play.inject(game, "swap-model", "imprint", None, silent),
    ):
        with pytest.raises(UsageError, match="TB-RANGE-045"):
            refused()
    assert not (game.desk("blue", 1) / "defence.json").exists()


def test_no_desk_holds_what_another_side_must_not_know(game: Instance) -> None:
    red, blue = ({p.name for p in game.desk(side, 1).iterdir()} for side in ("red", "blue"))
    shared = {"token", "release-01.csv", "release-02.csv"}
    assert red == shared | {"names.csv", "public.csv"}
    assert blue == shared | {"original.csv", "control.csv"}
    assert "name" not in pd.read_csv(game.desk("blue", 1) / releases.ORIGINAL).columns
    assert "made" not in (game.desk("red", 1) / "release-01.csv").read_text("utf-8")


@pytest.mark.slow
def test_the_documented_solutions_win_the_shipped_exercise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(instances.HOME, str(tmp_path / "range"))
    made = play.up("open-release", "open", None, silent)
    try:
        for _ in EXERCISE.candidates:
            play.inject(made, "round", None, None, silent)
        red, blue = made.desk("red", 1), made.desk("blue", 1)
        (swapped,) = loot.attack(made, 1, 2, "nearest_release_row", [*DATES, *SERIES])
        script = made.white / instances.SOURCE / "second_look.py"
        subprocess.run([sys.executable, str(script), str(red), "3"], check=True, capture_output=True)
        for file in (swapped, red / "loot" / "round-03.second_look.csv"):
            time.sleep(EXERCISE.limits.seconds_between)
            assert loot.claim(made, 1, "membership", str(file), Where())
        verdicts: list[str] = []
        for number, what in enumerate(("release", "hold", "hold", "release"), 1):
            files = {"original": "original.csv", "control": "control.csv", "synthetic": releases.file_name(number)}
            options = [text for role, file in files.items() for text in (f"--{role}", str(blue / file))]
            out = tmp_path / f"report-{number}"
            CliRunner().invoke(app, ["evaluate", *options, "--data-class", "synthetic", "--out", str(out)])
            told = json.loads((out / "share" / "result.json").read_text("utf-8"))
            verdicts.append(told["decision"]["verdict"])
            assert loot.claim(made, 1, "decision", what, Where(number, report=out))
        assert verdicts[1:3] == ["fail", "fail"]
        assert "fail" not in (verdicts[0], verdicts[3])
        assert (team(made)["red"]["points"], team(made)["blue"]["points"]) == (120, 100)
    finally:
        processes.stop(made)
