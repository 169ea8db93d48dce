"""The exercise about boosted trees: its solutions win, the trivial attack does not, and slips cost nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from testbed.core.errors import InputError, TestbedError, UsageError
from testbed.range import after_action, exports, loot, play, processes, trees
from testbed.range import exercise as exercises
from testbed.range import instance as instances
from testbed.range.desk import Desk, NotJudgedError
from testbed.range.exercise import TreeExercise, TreeRound
from testbed.range.instance import Instance
from testbed.range.loot import Where
from testbed.range.scorer import rescored
from testbed.range.state import State
from testbed.subjects.federation import transcript


def silent(_: str) -> None:
    """Progress that nobody reads."""


def shipped() -> TreeExercise:
    made = exercises.load("trees")
    assert isinstance(made, TreeExercise)
    return made


EXERCISE = shipped()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped exercise without a time between two claims."""
    told: dict[str, Any] = yaml.safe_load((exercises.folder("trees") / exercises.FILE).read_text("utf-8"))
    told["limits"]["seconds_between"] = 0.0
    folder = tmp_path_factory.mktemp("trees") / "source"
    folder.mkdir()
    (folder / exercises.FILE).write_text(yaml.safe_dump(told), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def game(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One start with a team for each test."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(instances.HOME, str(tmp_path_factory.mktemp("range") / "range"))
        made = play.up(str(source), "trees", 4, silent)
        yield made
        processes.stop(made)


def team(game: Instance, number: int) -> dict[str, Any]:
    return json.loads(Desk(game, "white").score())["teams"][number - 1]


def solved(game: Instance, team: int, number: int) -> bool:
    """Red's documented solution of a round: the attack, and a claim of the file that it writes."""
    (file,) = loot.attack(game, team, number, "tree_leaves")
    return loot.claim(game, team, "count", str(file), Where())


def test_the_documented_solutions_win_every_round_and_the_trivial_attack_none(game: Instance, tmp_path: Path) -> None:
    red, blue = game.desk("red", 1), game.desk("blue", 1)
    for number in range(1, len(EXERCISE.rounds) + 1):
        play.inject(game, "round", None, 1, silent)
        listed = (red / f"round-{number:02d}.leaves.csv").read_text("utf-8").splitlines()[1:]
        with np.load(red / trees.PUBLIC) as file:
            sample = trees.Cohort(file["x"], file["y"], np.arange(len(file["y"])).astype(str))
        seen = transcript.read(red / f"round-{number:02d}.transcript")
        guessed = trees.trivial(seen, sample, EXERCISE.patients.each, EXERCISE.hospitals)
        assert len(guessed) == len(listed)
        assert not loot.claim(game, 1, "count", str(table(tmp_path, number, guessed)), Where())
        assert solved(game, 1, number)
    told = team(game, 1)
    assert told["red"] == {"points": 3 * (40 - 5), "counts": 3, "wrong_claims": 3, "hints": 0}
    utilities = [json.loads(line)["utility"] for line in (blue / "rounds.jsonl").read_text("utf-8").splitlines()]
    assert told["blue"]["points"] == sum(5 + int(100 * (u - 0.6) + 1e-9) - 20 for u in utilities)
    assert (told["blue"]["rounds_above_floor"], told["blue"]["rounds_counted"]) == (3, 3)
    assert rescored(game) == Desk(game, "white").score()

    out = after_action.write(game, tmp_path / "after")
    page = (out / "share" / "report.html").read_text("utf-8")
    assert "knows the exact numbers of patients and diagnoses in 100 % of the leaves" in page
    for form in exports.FORMATS:  # the flag of a round is a table of numbers, which the scorer alone can judge
        assert all(path.is_file() for path in exports.write(game, form, 1, tmp_path / form))
    texts = [yaml.safe_load(p.read_text("utf-8")) for p in sorted((tmp_path / "ctfd").rglob("challenge.yml"))]
    assert [(one["value"], one["flags"]) for one in texts] == [(40, [])] * 3
    assert "detection TECHNIQUE" not in (tmp_path / "cacao" / "playbook.json").read_text("utf-8")


def table(folder: Path, number: int, said: dict[str, tuple[int, int]]) -> Path:
    path = folder / f"round-{number:02d}.guess.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("leaf", "well", "ill"), *((leaf, a, b) for leaf, (a, b) in said.items())])
    return path


def test_blue_hides_the_numbers_and_keeps_the_model(game: Instance) -> None:
    play.defend(game, 2, "bare_trees+leaf_noise:0.1", ())
    for number in range(1, len(EXERCISE.rounds) + 1):
        play.inject(game, "round", None, 2, silent)
        assert not solved(game, 2, number)
    blue = team(game, 2)["blue"]
    assert (blue["rounds_above_floor"], blue["rounds_counted"]) == (3, 0)
    assert blue["points"] >= 3 * 5


def test_slips_are_refused_and_cost_nothing(game: Instance, tmp_path: Path) -> None:
    for refused, error in (
        (lambda: play.defend(game, 3, "topk:0.1", ()), "TB-DEFENCE-021.*topk"),
        (lambda: play.defend(game, 3, "none", ("repeated_rows",)), "TB-RANGE-068"),
        (lambda: play.inject(game, "drop", "north", 3, silent), "TB-RANGE-045"),
        (lambda: play.inject(game, "swap-model", "imprint", 3, silent), "TB-RANGE-045"),
        (lambda: play.inject(game, "round", None, 3, silent, "deployment"), "TB-RANGE-045"),
        (lambda: loot.attack(game, 3, 1, "tree_leaves"), "TB-RANGE-025"),
    ):
        with pytest.raises(UsageError, match=error):
            refused()
    play.inject(game, "round", None, 3, silent)
    (file,) = loot.attack(game, 3, 1, "tree_leaves")
    lines = file.read_text("utf-8").splitlines()
    for name, content, kind, error in (
        ("round-01.short.csv", lines[:-1], NotJudgedError, "TB-RANGE-035.*1 leaves are missing"),
        ("round-01.other.csv", [*lines, "moon-01,1,2"], NotJudgedError, "TB-RANGE-035.*1 are of no leaf"),
        ("round-01.twice.csv", [*lines, lines[1]], InputError, "TB-RANGE-069"),
        ("round-01.words.csv", [*lines[:-1], "north-00,a,b"], InputError, "TB-RANGE-069"),
        ("round-02.early.csv", lines, NotJudgedError, "TB-RANGE-034"),
    ):
        (tmp_path / name).write_text("\n".join(content) + "\n", encoding="utf-8")
        with pytest.raises(kind, match=f"(?s){error}"):
            loot.claim(game, 3, "count", str(tmp_path / name), Where())
    for unfit in ("analytic_linear", "update_product", "passed_on_leaves", "tree_thresholds"):
        with pytest.raises(TestbedError, match="TB-RANGE-026"):
            loot.attack(game, 3, 1, unfit)
    with pytest.raises(NotJudgedError, match="TB-RANGE-043"):
        loot.claim(game, 3, "flag", "FAAAAA", Where())
    assert team(game, 3)["red"]["points"] == 0
    assert loot.claim(game, 3, "count", str(file), Where())


@pytest.mark.parametrize(
    ("rules", "own", "used"),
    [
        ("none", "none", "none"),
        ("bare_trees", "none", "bare_trees"),
        ("none", "large_leaves:5", "large_leaves:5"),
        ("leaf_noise:0.01", "bare_trees", "leaf_noise:0.01+bare_trees"),
        ("leaf_noise:0.01", "leaf_noise:0.1+bare_trees", "leaf_noise:0.1+bare_trees"),
    ],
)
def test_what_blue_switches_on_is_added_to_the_rules_and_replaces_the_same_defence(
    rules: str, own: str, used: str
) -> None:
    assert trees.prescribed(TreeRound(title="a round", defence=rules), own) == used


def test_no_desk_holds_what_another_side_must_not_know(game: Instance) -> None:
    play.defend(game, 4, "leaf_noise:0.05", ())
    play.inject(game, "round", None, 4, silent)
    red = game.desk("red", 4)
    assert {p.name for p in red.iterdir()} == {
        *("token", "public.npz", "rounds.json", "round-01.leaves.csv", "round-01.transcript")
    }
    assert "leaf_noise" not in (red / "rounds.json").read_text("utf-8")
    seen = transcript.read(red / "round-01.transcript")
    people = trees.crowd(EXERCISE, State.of(game).seeds["4"]).hospitals["north"].x
    sent = [v.tobytes() for e in seen.exchanges for v in (e.returned or {}).values()]
    assert not [row for row in people[:20] if any(row.tobytes() in one for one in sent)]
    assert {p.name for p in game.desk("blue", 4).iterdir()} == {"token", "public.npz", "defence.json", "rounds.jsonl"}


def test_a_leaf_is_told_in_the_columns_own_units() -> None:
    box = np.tile(np.array([-np.inf, np.inf], np.float32), (len(trees.RANGES), 1))
    assert trees.worded(box) == "everybody"
    box[0] = (0.5, np.inf)  # half of 18 to 98 years
    box[1] = (0.25, 0.5)  # of 70 to 230
    assert trees.worded(box) == "58 <= age and 110 <= systolic < 150"


def test_the_briefs_tell_the_points_that_count() -> None:
    red, blue, white = ((exercises.folder("trees") / name).read_text("utf-8") for name in exercises.BRIEFS)
    points, limits = EXERCISE.points, EXERCISE.limits
    assert f"| {points.count:+} | {points.wrong_claim} |" in red
    assert f"{limits.claims} claims" in red
    assert f"never below {100 * limits.least_par:g} %" in red
    for worth in (points.round_above_floor, points.accuracy, points.counted):
        assert f"| {worth:+} |" in blue
    assert f"AUC of {limits.utility_floor:g}" in blue
    for planned in EXERCISE.rounds[1:]:
        assert f"`{planned.defence}`" in blue
        assert f"(`{planned.defence}`)" in white
    assert f"{EXERCISE.minutes} minutes" in white


@pytest.mark.slow
def test_the_figures_of_the_instructors_page_hold_on_fresh_starts() -> None:
    for seed in range(101, 107):
        people = trees.crowd(EXERCISE, seed)
        parts = list(people.hospitals.values())
        for number, planned in enumerate(EXERCISE.rounds, 1):
            seen = trees.federation(EXERCISE, planned.defence, seed + number).run(parts)
            truth = trees.counted(seen, parts, EXERCISE.hospitals)
            sample = trees.public(EXERCISE, seed + 1000)
            par = trees.exact(trees.trivial(seen, sample, EXERCISE.patients.each, EXERCISE.hospitals), truth)
            assert par.value < EXERCISE.limits.least_par
            assert len(truth) >= 30
