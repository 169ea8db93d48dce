"""Values of people are found whatever way they are written, and harmless reports are not stopped."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from testbed.core.disclosure import People
from testbed.core.errors import DisclosureError
from testbed.findings import proof
from testbed.report import gate, html, store
from tests.report import spelled

EXAMPLE = Path(__file__).parents[2] / "docs" / "result.example.json"

COMMON = {"name": "Common Name", "code": "A01.1", "identity": "20200101-1111", "telephone": "011-111 11 11"}


def people(kind: str, canary: str) -> People:
    """Thirty people, one of whom has the canary; numbers as numbers and as texts, dates as dates and as texts."""
    rest = {"whole": "1", "decimal": "1.5", "date": "2020-01-01"} | COMMON
    values = [canary, *[rest[kind]] * 29]
    columns: dict[str, Any] = {"text": values}
    if kind in ("whole", "decimal"):
        columns = {"number": pd.to_numeric(pd.Series(values)), **columns}
    if kind == "date":
        columns = {"day": pd.to_datetime(pd.Series(values)), **columns}
    return People([pd.DataFrame({name: column}) for name, column in columns.items()])


def found(text: str, held: People) -> bool:
    try:
        gate.search({"report.html": f"<p>one {text} two</p>".encode()}, held, 10, [], set())
    except DisclosureError:
        return True
    return False


def missed(count: int, seed: int) -> list[tuple[str, str, str]]:
    rng = random.Random(seed)
    left: list[tuple[str, str, str]] = []
    for i in range(count):
        kind = list(spelled.KINDS)[i % len(spelled.KINDS)]
        value = spelled.canary(kind, rng)
        for frame in people(kind, value).tables:
            for how, spell in spelled.KINDS[kind].items():
                text = spell(value)
                if not found(text, People([frame])):
                    left.append((kind, how, f"{value} {text} {list(frame)}"))
    return left


@pytest.mark.parametrize("count", [7, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_persons_value_is_found_in_each_of_forty_spellings(count: int) -> None:
    assert all(len(spellings) >= 36 for spellings in spelled.KINDS.values())
    assert missed(count, seed=count) == []


WORDS_OF_NOTES = (
    *(
        "patient",
        "stable",
        "control",
        "report",
        "review",
        "membership",
        "white",
        "Linux",
        "pain",
        "fever",
        "discharged",
    ),
    *("follow", "up", "in", "two", "weeks", "limit", "people", "risk", "no", "known", "allergies", "since", "policy"),
)


def hospital_table(rng: np.random.Generator) -> pd.DataFrame:
    """A table as hospitals have it: numbers, codes, dates in three forms, postcodes, free text."""
    n = int(rng.integers(60, 2000))
    day = pd.Timestamp("2015-01-01") + pd.to_timedelta(rng.integers(0, 3600, n), "D")
    zips = rng.integers(10_000, 98_500, n)
    columns: dict[str, Any] = {
        "id": [f"{i:05d}" for i in rng.choice(100_000, n, replace=False)],
        "number": rng.choice(900_000, n, replace=False) + 100_000,
        "age": rng.integers(18, 97, n),
        "sex": rng.choice(["F", "M"], n),
        "dx": [
            f"{c}{a:02d}.{b}"
            for c, a, b in zip(rng.choice([*"IJKLM"], n), rng.integers(0, 99, n), rng.integers(0, 9, n), strict=True)
        ],
        "drug": rng.choice(["metformin", "insulin", "warfarin", "none"], n, p=[0.5, 0.3, 0.19, 0.01]),
        "admitted": day.strftime("%Y-%m-%d"),
        "seen": day.strftime("%d.%m.%Y"),
        "discharged": day + pd.to_timedelta(rng.integers(0, 60, n), "D"),
        "cost": rng.gamma(2, 9000, n).round(2),
        "crown": (rng.gamma(2, 90, n) * 100).round(-2).astype(int),
        "rate": rng.random(n).round(4),
        "crp": rng.gamma(1, 30, n).round(1),
        "zip": [f"{z // 100} {z % 100:02d}" for z in zips],
        "postcode": zips,
        "ward": rng.choice(["A1", "B2", "ICU", "medicine 3"], n),
        "note": [" ".join(rng.choice(WORDS_OF_NOTES, 4)) for _ in range(n)],
    }
    return pd.DataFrame(columns)


def reports() -> list[tuple[Any, dict[str, bytes]]]:
    """Harmless reports of real people: as if the examples' tables were."""
    from tests.report import examples

    made: list[tuple[Any, dict[str, bytes]]] = []
    for result in (store.load(EXAMPLE), examples.release(), examples.federation()):
        subject = result.subject.model_copy(update={"data_class": "real"})
        shown = result.disclosure.model_copy(update={"pictures": []})
        real = proof.sealed(
            result.model_copy(update={"subject": subject, "disclosure": shown}), command="testbed run x"
        )
        made.append((real, {"result.json": store.to_json(real).encode(), "report.html": html.render(real).encode()}))
    return made


@pytest.mark.parametrize("count", [1, pytest.param(200, marks=pytest.mark.slow)])
def test_no_harmless_report_is_stopped_by_a_hospitals_table(count: int) -> None:
    written = reports()
    stopped: list[str] = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        held = People([hospital_table(rng), hospital_table(rng)], "id")
        for result, artefacts in written:
            try:
                gate.check(artefacts, result, held)
            except DisclosureError as error:
                stopped.append(f"{seed}: {error.what}")
    assert stopped == []
