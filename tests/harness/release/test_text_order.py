"""Texts whose parts were moved are found, and fresh texts of many forms are not."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from testbed.data.tables.encode import Meta, encode
from testbed.data.tables.free_text import free_text
from testbed.findings import statistics
from testbed.harness.release import text_order
from testbed.harness.release.text_rule import COPY_P, SUSPECT_P, all_looks

SYLLABLES = ("ba", "ket", "lum", "nor", "psi", "tra", "vel", "zu", "gon", "hir")
WORDS = [a + b + c for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES]
FOREIGN = [a + "ä" + b + "ß" for a in SYLLABLES for b in SYLLABLES]
COMMON = 1 / np.arange(1, 1001) / np.sum(1 / np.arange(1, 1001))

Draw = Callable[[int, np.random.Generator], list[str]]


def referral(n: int, rng: np.random.Generator) -> list[str]:
    """A form with few words: each blank has some answers, and there are two numbers."""
    blanks = [WORDS[i : i + k] for i, k in ((0, 9), (20, 7), (40, 12), (60, 10), (80, 8), (100, 10), (120, 6))]
    some = [np.array(b)[rng.integers(0, len(b), n)] for b in blanks]
    days, doses = rng.integers(1, 60, n), rng.integers(1, 40, n)
    return [
        f"Referred for {a} {b} of the {c}; known {d}, {e}. Takes {f} {dose} mg, {g}. Review in {day} days."
        for a, b, c, d, e, f, g, day, dose in zip(*some, days, doses, strict=True)
    ]


def letters(n: int, rng: np.random.Generator) -> list[str]:
    """Long notes, words as frequent as in a language."""
    return [" ".join(rng.choice(WORDS, rng.integers(50, 120), p=COMMON)) for _ in range(n)]


def diagnoses(n: int, rng: np.random.Generator) -> list[str]:
    """Three to five words."""
    return [" ".join(rng.choice(WORDS[:300], rng.integers(3, 6))) for _ in range(n)]


def bilingual(n: int, rng: np.random.Generator) -> list[str]:
    """Notes in one of two languages, which share no word."""
    return [" ".join(rng.choice(WORDS[:200] if rng.random() < 0.7 else FOREIGN, 20)) for _ in range(n)]


def sentences(n: int, rng: np.random.Generator) -> list[str]:
    """Sentences that everybody uses, some with a number."""
    stock = [" ".join(WORDS[7 * i : 7 * i + 7]) for i in range(50)]
    return [
        ". ".join(s + (f" {rng.integers(1, 60)}" if rng.random() < 0.3 else "") for s in rng.choice(stock, k, False))
        for k in rng.integers(4, 9, n)
    ]


FORMS = (referral, letters, diagnoses, bilingual, sentences)


def moved_parts(text: str, rng: np.random.Generator, dropped: float = 0.0, replaced: float = 0.0) -> str:
    """Clauses and words in another order, in capitals, with other separators; some words left out or replaced."""
    words = [w for w in re.findall(r"\w+", text) if rng.random() >= dropped]
    words = [str(rng.choice(["likewise", "noted", "perhaps"])) if rng.random() < replaced else w for w in words]
    return " / ".join(rng.permutation(words)).upper()


def p_of(original: list[str], release: list[str], control: list[str]) -> tuple[float, str]:
    """The p-value of all looks together, and the look that is the most certain one."""
    tables = [pd.DataFrame({"age": np.arange(len(t)) % 70, "note": t}) for t in (original, release, control)]
    [text] = free_text(*tables, Meta(), encode(*tables))
    p, _, look = all_looks(text, len(original), len(control))
    return p, look


@pytest.mark.parametrize(
    ("form", "copied", "dropped", "replaced"),
    [
        (referral, 20, 0.0, 0.0),
        (referral, 30, 0.15, 0.1),
        (letters, 15, 0.2, 0.1),
        (bilingual, 15, 0.2, 0.1),
        (sentences, 25, 0.15, 0.1),
        (diagnoses, 60, 0.0, 0.0),
    ],
)
def test_texts_with_their_parts_moved_are_found(form: Draw, copied: int, dropped: float, replaced: float) -> None:
    rng = np.random.default_rng(5)
    original, release, control = (form(600, rng) for _ in range(3))
    release[:copied] = [moved_parts(t, rng, dropped, replaced) for t in original[:copied]]
    p, look = p_of(original, release, control)
    assert p < COPY_P
    assert look != "runs"


def slips(text: str, rng: np.random.Generator) -> str:
    """A letter left out, doubled or replaced in most words; umlauts and ß written over."""
    for one, other in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
        text = text.replace(one, other)
    words = text.split()
    for i, word in enumerate(words):
        at = int(rng.integers(0, len(word)))
        if rng.random() < 0.8 and word[at].isalpha():
            by = (word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:], word[:at] + "x" + word[at + 1 :])
            words[i] = by[int(rng.integers(0, 3))]
    return " ".join(words)


def without_accents(text: str, _: np.random.Generator) -> str:
    """As an old system writes them, in capitals."""
    return text.replace("ä", "a").replace("ß", "ss").upper()


def run_together(text: str, rng: np.random.Generator) -> str:
    """Blanks where words do not end."""
    letters_ = list(text.replace(" ", ""))
    return "".join(c + " " * (rng.random() < 0.2) for c in letters_)


@pytest.mark.parametrize("form", [referral, letters, bilingual, sentences])
@pytest.mark.parametrize("change", [slips, run_together])
def test_texts_in_another_spelling_are_found(form: Draw, change: Callable[[str, np.random.Generator], str]) -> None:
    rng = np.random.default_rng(5)
    original, release, control = (form(600, rng) for _ in range(3))
    release[:30] = [change(t, rng) for t in original[:30]]
    p, look = p_of(original, release, control)
    assert p < COPY_P
    assert look != "runs"


def test_umlauts_written_over_are_found() -> None:
    rng = np.random.default_rng(15)
    original, release, control = ([" ".join(rng.choice(FOREIGN, 20)) for _ in range(400)] for _ in range(3))
    for change in (slips, without_accents):
        changed = [change(t, rng) for t in original[:20]] + release[20:]
        assert p_of(original, changed, control)[0] < COPY_P


def test_clauses_in_another_order_are_found_and_so_are_reordered_lists() -> None:
    rng = np.random.default_rng(6)
    original, release, control = (referral(800, rng) for _ in range(3))
    for i in range(20):
        clauses = re.split(r"[;,.] ?", original[i].rstrip("."))
        release[i] = ", ".join(rng.permutation(clauses))
    assert p_of(original, release, control)[0] < COPY_P
    lists = [[", ".join(rng.choice(WORDS[:120], 8, False)) for _ in range(800)] for _ in range(3)]
    lists[1][:20] = ["_".join(rng.permutation(t.split(", "))) for t in lists[0][:20]]
    assert p_of(*lists)[0] < COPY_P


def test_copied_controls_are_not_copied_members() -> None:
    rng = np.random.default_rng(7)
    original, release, control = (bilingual(300, rng) for _ in range(3))
    release[:30] = [moved_parts(t, rng) for t in control[:30]]
    assert p_of(original, release, control)[0] > 0.5


def test_the_order_of_rows_changes_nothing() -> None:
    rng = np.random.default_rng(8)
    tables = [referral(300, rng) for _ in range(3)]
    tables[1][:12] = [moved_parts(t, rng, 0.1) for t in tables[0][:12]]
    shuffled = [[str(t) for t in rng.permutation(np.array(texts, dtype=object))] for texts in tables]
    assert p_of(*tables) == p_of(*shuffled)


def test_a_budget_of_products_keeps_rare_words(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    original, release, control = (letters(400, rng) for _ in range(3))
    release[:30] = [moved_parts(t, rng, 0.1) for t in original[:30]]
    monkeypatch.setattr(text_order, "PRODUCTS", 500_000)
    assert p_of(original, release, control)[0] < COPY_P


def test_the_p_value_of_first_people_is_that_of_drawn_labels() -> None:
    rng = np.random.default_rng(10)
    orders = [rng.permutation(60)[:25] < 35 for _ in range(4000)]
    p = np.array([statistics.first_by_chance(order, 5, 35, 25)[0] for order in orders])
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level / 4000)
    assert (p <= 0.2).mean() > 0.15  # it is not far below its level
    assert statistics.first_by_chance(np.ones(4, dtype=bool), 5, 35, 25) == (1.0, 0)
    # One size alone is the hypergeometric test: all of 5 people are members.
    exact = 35 * 34 * 33 * 32 * 31 / (60 * 59 * 58 * 57 * 56)
    assert statistics.first_by_chance(np.ones(5, dtype=bool), 5, 35, 25) == (pytest.approx(exact), 5)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_the_null_holds_for_fresh_texts(form: Draw) -> None:
    found: list[float] = []
    for seed in range(60):
        rng = np.random.default_rng([seed, 11])
        sizes = ((300, 300, 300), (400, 300, 200), (200, 600, 500))[seed % 3]
        found.append(p_of(*(form(n, rng) for n in sizes))[0])
    assert sum(p < 0.05 for p in found) <= 8  # binomial: at most 3 are expected, more than 8 in 1 of 250
    assert sum(p < SUSPECT_P for p in found) <= 3
    assert min(found) > COPY_P / 10
