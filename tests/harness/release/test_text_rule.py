"""Free text that was copied with small changes is found, and texts made of the same phrases are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from testbed.data.tables.encode import Meta, encode
from testbed.data.tables.free_text import free_text
from testbed.findings import statistics
from testbed.harness.release.evaluate import evaluate
from testbed.harness.release.text_rule import COPY_P, least_probable, own_runs

PHRASES = [
    "patient admitted with chest pain", "no known drug allergies", "started on beta blockers and statins",
    "to be reviewed in clinic in six weeks", "discharged home in good condition", "blood pressure well controlled",
    "family informed about the plan", "wound healing well without signs of infection", "reports poor sleep and fatigue",
    "physiotherapy twice a week", "echo shows a normal ejection fraction", "was seen by the diabetes nurse today",
]  # fmt: skip
WORDS = [
    f"{a}{b}" for a in ("kar", "lo", "men", "tis", "vor", "pel") for b in ("da", "nik", "sur", "eto", "lin", "gra")
]


def notes(n: int, rng: np.random.Generator, free: bool) -> list[str]:
    """Notes of 18 words without a form, or of phrases that everybody writes, with a number of days."""
    if free:
        return [" ".join(rng.choice(WORDS, 18)) for _ in range(n)]
    return [". ".join([*rng.choice(PHRASES, 4, replace=False), f"day {rng.integers(1, 30)}"]) for _ in range(n)]


def table(n: int, seed: int, free: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"age": rng.integers(18, 90, n), "sex": rng.choice(["F", "M"], n), "note": notes(n, rng, free)})


def one_word_changed(texts: pd.Series, rng: np.random.Generator) -> list[str]:  # type: ignore[type-arg]
    changed: list[str] = []
    for text in texts:
        words = str(text).split()
        words[int(rng.integers(len(words)))] = "changed"
        changed.append(" ".join(words) + "!")
    return changed


def p_of(original: pd.DataFrame, release: pd.DataFrame, control: pd.DataFrame) -> float:
    [text] = free_text(original, release, control, Meta(), encode(original, release, control))
    return least_probable(own_runs(text, len(original), len(control)), True)[0]


@pytest.mark.parametrize("free", [True, False])
def test_the_null_holds_for_fresh_texts_of_any_form(free: bool) -> None:
    p = [p_of(*(table(120, 3 * seed + i, free) for i in range(3))) for seed in range(100)]
    assert sum(v < 0.05 for v in p) <= 10  # binomial: at most 5 are expected, more than 10 in 1 of 100
    assert sum(v < 0.01 for v in p) <= 4
    assert min(p) > COPY_P / 10


@pytest.mark.parametrize(("share", "free"), [(0.05, True), (0.2, True), (1.0, True), (0.6, False)])
def test_notes_with_one_word_changed_are_found(share: float, free: bool) -> None:
    original, release, control = (table(400, seed, free) for seed in (1, 2, 3))
    copied = int(share * 400)
    release.loc[: copied - 1, "note"] = one_word_changed(original["note"][:copied], np.random.default_rng(0))
    assert p_of(original, release, control) < COPY_P


def test_runs_are_counted_by_person_as_a_slow_definition_counts_them() -> None:
    original, release, control = (table(30, seed, False) for seed in (4, 5, 6))
    release.loc[:9, "note"] = one_word_changed(original["note"][:10], np.random.default_rng(0))
    [text] = free_text(original, release, control, Meta(), encode(original, release, control))

    def runs(note: str) -> set[tuple[str, ...]]:
        words = note.replace(".", "").replace("!", "").split()
        return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}

    released = set[tuple[str, ...]]().union(*map(runs, release["note"]))
    people = [runs(n) for n in [*original["note"], *control["note"]]]
    expected = [len({r for r in own & released if sum(r in other for other in people) == 1}) for own in people]
    order = sorted(range(30), key=str)  # people are numbered in the order of their names
    members, controls = own_runs(text, 30, 30)[5]
    assert members.tolist() == [expected[i] for i in order]
    assert controls.tolist() == [expected[30 + i] for i in order]


def test_a_release_of_changed_notes_fails_and_fresh_notes_do_not() -> None:
    original, release, control = (table(300, seed) for seed in (1, 2, 3))
    for copied, verdict in ((60, "fail"), (0, "pass")):
        made = release.copy()
        made.loc[: copied - 1, "note"] = one_word_changed(original["note"][:copied], np.random.default_rng(0))
        result = evaluate(original, made, control, attacks=50).result
        [finding] = [f for f in result.findings if f.attack.name == "copied_word_sequences"]
        assert finding.verdict == verdict
        if copied:
            assert finding.measure.value == pytest.approx(0.2, abs=0.01)  # type: ignore[union-attr]
    assert statistics.labels_by_chance(0, 0, 5, 5) == 1
