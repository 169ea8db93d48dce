"""People whose whole row was moved are found by what stays within the row; fresh people are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from testbed.core import Release
from testbed.data.tables.encode import Meta, encode
from testbed.findings.schema import Finding
from testbed.harness.release.evaluate import evaluate
from testbed.harness.release.looks import near_copied
from testbed.harness.release.setting import Setting
from testbed.harness.release.within_rows import looks

DAYS = ("born", "diagnosed", "operated", "seen")


def registry(people: int, seed: int) -> pd.DataFrame:
    """Four dates a person."""
    rng = np.random.default_rng(seed)
    born = pd.Timestamp("1950-01-01") + pd.to_timedelta(rng.integers(0, 14000, people), unit="D")
    made = {"sex": rng.choice(["f", "m"], people), "stage": rng.choice(list("1234"), people), "born": born}
    when = born
    for name, least, most in (("diagnosed", 9000, 20000), ("operated", 5, 200), ("seen", 100, 2500)):
        when = when + pd.to_timedelta(rng.integers(least, most, people), unit="D")
        made[name] = when
    return pd.DataFrame(made)


def visits(people: int, seed: int) -> pd.DataFrame:
    """Five visits a person, a date each."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), 5)
    gaps = rng.integers(5, 400, (people, 5)).cumsum(1).ravel()
    start = np.repeat(rng.integers(0, 3000, people), 5)
    return pd.DataFrame(
        {
            "person": [f"{seed}-{i}" for i in who],
            "day": pd.Timestamp("2010-01-01") + pd.to_timedelta(start + gaps, unit="D"),
            "hb": rng.normal(13, 1.5, len(who)).round(1),
            "place": rng.choice(["ward", "home", "clinic"], len(who)),
        }
    )


def costs(people: int, seed: int) -> pd.DataFrame:
    """Twelve months' costs a person."""
    rng = np.random.default_rng(seed)
    level = rng.normal(6, 0.7, (people, 1))
    months = np.exp(level + rng.normal(0, 0.5, (people, 12))).round(2)
    made = pd.DataFrame(months, columns=[f"cost_{i:02d}" for i in range(12)])
    return made.assign(age=rng.integers(20, 95, people))


def dates_moved(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    by = pd.to_timedelta(rng.integers(-1800, 1800, len(rows)), unit="D")
    return rows.assign(**{name: rows[name] + by for name in DAYS})


def visits_moved(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    number = pd.factorize(rows["person"])[0]
    by = pd.to_timedelta(rng.integers(-900, 900, len(rows))[number], unit="D")
    noise = rng.normal(0, 0.4, len(rows))
    return rows.assign(day=rows["day"] + by, hb=(rows["hb"] + noise).round(1), person="new" + rows["person"])


def scaled(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    months = [c for c in rows if c.startswith("cost")]
    factor = np.exp(rng.uniform(-0.9, 0.9, len(rows)))
    return rows.assign(**{c: (rows[c] * factor).round(2) for c in months}, age=rng.integers(20, 95, len(rows)))


def raised(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """A constant of each person's own; some numbers become negative."""
    months = [c for c in rows if c.startswith("cost")]
    return rows.assign(**{c: rows[c] + by for by in [rng.normal(0, 900, len(rows))] for c in months})


Table, Move = Callable[[int, int], pd.DataFrame], Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]
KINDS: dict[str, tuple[Table, Move, int]] = {
    "dates": (registry, dates_moved, 500),
    "visits": (visits, visits_moved, 250),
    "a factor": (costs, scaled, 500),
    "a constant": (costs, raised, 500),
}


def judged(kind: str, share: float, seed: int = 0) -> Finding:
    make, move, people = KINDS[kind]
    original, control, fresh = (make(people, 10 * seed + i) for i in range(3))
    each = len(original) // people
    count = round(share * people) * each
    moved = move(original.head(count), np.random.default_rng(seed))
    release = pd.concat([moved, fresh.iloc[count:]], ignore_index=True)
    frames = encode(original, release, control, Meta("person" if kind == "visits" else None))
    return near_copied(Setting(frames.original, frames.control, Release(frames.synthetic), None, 0, lambda _: None))


@pytest.mark.parametrize("kind", KINDS)
def test_people_whose_rows_were_moved_are_found(kind: str) -> None:
    found = judged(kind, 0.1)
    assert "near_copies" in found.validity.flags
    assert "which stay if" in found.plain


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_people_are_not(kind: str) -> None:
    assert judged(kind, 0.0).validity.flags == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_fresh_people_are_rejected_as_often_as_the_level_says(kind: str) -> None:
    """Two looks at .001 each: in 200 draws at most three are rejected, but for one case in 700."""
    found = [judged(kind, 0.0, seed).validity.flags for seed in range(1, 201)]
    assert sum("near_copies" in flags for flags in found) <= 3


def test_a_registry_whose_dates_were_moved_fails() -> None:
    original, control, fresh = (registry(600, i) for i in range(3))
    moved = dates_moved(original.head(60), np.random.default_rng(0))
    release = pd.concat([moved, fresh.iloc[60:]], ignore_index=True)
    result = evaluate(original, release, control, data_class="synthetic", attacks=100).result
    assert result.decision.verdict == "fail"


def test_tables_without_such_columns_are_looked_at_once() -> None:
    people = [registry(50, i)[["sex", "stage", "born"]] for i in range(3)]
    frames = encode(people[0], people[2], people[1])
    assert looks(Setting(frames.original, frames.control, Release(frames.synthetic), None, 0, lambda _: None)) == {}
