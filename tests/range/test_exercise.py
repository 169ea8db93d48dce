"""Exercises: those that ship can be played, and a mistake in one's own is refused with what was meant."""

from __future__ import annotations

import pytest

from testbed.core import catalogue
from testbed.core.errors import UsageError
from testbed.range import exercise as exercises
from testbed.range.play import check_act

TEXT = (exercises.folder("gradient-heist") / exercises.FILE).read_text("utf-8")


@pytest.mark.parametrize("name", exercises.shipped())
def test_a_shipped_exercise_is_whole(name: str) -> None:
    made = exercises.load(name)
    assert made.id == name
    assert made.data_class == "synthetic"
    for act in {r.act for r in made.stages if r.act is not None}:
        check_act(act)
    for brief in exercises.BRIEFS:
        text = (exercises.folder(name) / brief).read_text("utf-8")
        if brief != "instructor.md":
            assert "generated" in text
            told = (
                made.points.wrong_claim if brief == "brief-red.md" else made.points.patient_lost or made.points.counted
            )
            assert str(abs(told or 0)) in text


def test_the_briefs_tell_the_points_that_count() -> None:
    made = exercises.load("gradient-heist")
    red, blue = (
        (exercises.folder("gradient-heist") / f"brief-{side}.md").read_text("utf-8") for side in ("red", "blue")
    )
    for worth in (made.points.flag, made.points.reconstruction, made.points.membership, made.points.wrong_claim):
        assert f"| {worth:+} |" in red
    for worth in (
        made.points.round_above_floor,
        made.points.patient_protected,
        made.points.patient_lost,
        made.points.detection,
        made.points.false_alarm,
    ):
        assert f"| {worth:+} |" in blue
    assert f"{made.limits.utility_floor:g}" in blue
    assert f"{made.limits.claims} claims" in red


def test_the_briefs_of_the_open_release_tell_the_points_that_count() -> None:
    made = exercises.load("open-release")
    red, blue = ((exercises.folder("open-release") / f"brief-{side}.md").read_text("utf-8") for side in ("red", "blue"))
    assert f"| {made.points.membership:+} | {made.points.wrong_claim} |" in red
    assert f"{made.limits.claims} claims" in red
    assert f"{100 * made.limits.membership_fpr:g} % false positives" in red
    for worth in (made.points.decision, made.points.wrong_release, made.points.wrong_hold):
        assert f"| {worth:+} |" in blue


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("candidates:", "candidats:"), "'candidats'.*candidates"),
        (("made: moved", "made: removed"), r"candidates\.3\.made"),
        (("original: 400", "originals: 400"), r"'people\.originals'.*original"),
        (("named: 250", "named: 450"), "named"),
    ],
)
def test_a_typo_in_an_exercise_about_releases_is_refused(change: tuple[str, str], told: str) -> None:
    text = (exercises.folder("open-release") / exercises.FILE).read_text("utf-8")
    assert change[0] in text
    with pytest.raises(UsageError, match=f"(?s)TB-RANGE-003.*{told}"):
        exercises.parsed(text.replace(*change, 1))


def test_the_attacks_of_the_instructors_page_exist() -> None:
    text = (exercises.folder("gradient-heist") / "instructor.md").read_text("utf-8")
    for name in ("analytic_linear", "cocktail_party", "imprint", "update_product"):
        assert f"`{name}`" in text
        catalogue.known("attack", name)
    for name in ("repeated_rows", "weight_law"):
        assert f"`{name}`" in text
        catalogue.known("guard", name)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("hospitals:", "hospitls:"), "'hospitls'.*hospitals"),
        (("decoys: 999", "decoyes: 999"), r"'patients\.decoyes'.*decoys"),
        (("learning_rate: 0.05", "learnin_rate: 0.05"), "learning_rate"),
        (("batch: 1, flag: harbour", "batsh: 1, flag: harbour"), r"'rounds\.1\.batsh'.*batch"),
        (("flag: harbour", "flag: harbor"), "harbour"),
        (("batch: 1, flag: harbour", "batch: none, flag: harbour"), r"rounds\.1\.batch"),
        (("each: 101", "each: 90"), "named"),
        (("minutes: 90", "minutes: [90"), "cannot be used"),
        (("data_class: synthetic", "data_class: real"), "data_class"),
        (("wrong_claim: -3", "wrong_claim: 3"), "wrong_claim"),
        (("minutes: 90", "subject: relaese"), r"'subject'.*release"),
    ],
)
def test_an_instructors_typo_is_refused_with_what_was_meant(change: tuple[str, str], told: str) -> None:
    assert change[0] in TEXT
    with pytest.raises(UsageError, match=f"(?s)TB-RANGE-003.*{told}"):
        exercises.parsed(TEXT.replace(*change, 1))


def test_an_unknown_exercise_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(UsageError, match=r"TB-RANGE-002.*Perhaps: gradient-heist"):
        exercises.load("gradient-hiest")


def test_after_the_last_round_it_is_repeated() -> None:
    made = exercises.load("gradient-heist")
    assert made.planned(1) is made.stages[0]
    assert made.planned(99) is made.stages[-1]
