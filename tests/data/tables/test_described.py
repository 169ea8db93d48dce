"""What a column was taken for, and when that is in doubt."""

from __future__ import annotations

import datetime
import uuid

import numpy as np
import pandas as pd
import pytest

from testbed.data.tables.described import looks_like_quantities
from testbed.data.tables.encode import Meta, encode
from testbed.harness.release.evaluate import evaluate

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(78, 14, 300)
DAYS = [datetime.date(1930, 1, 1) + datetime.timedelta(int(d)) for d in RNG.integers(0, 27000, 300)]
LETTERS = list("ABCDEFGHIJKLMNOPRST")

QUANTITIES = {
    "grouped": [f"{50 * x:,.2f}".replace(",", " ").replace(".", ",") for x in NUMBERS],
    "comma and unit": [f"{x:.1f} kg".replace(".", ",") for x in NUMBERS],
    "no blank": [f"{x:.1f}kg" for x in NUMBERS],
    "UCUM": [f"{x:.1f} mL/min/1.73m2" for x in NUMBERS],
    "pressure": [f"{int(1.6 * x)}/{int(x)}" for x in NUMBERS],
    "currency": [f"EUR {x:.2f}" for x in NUMBERS],
    "flagged": [f"{x:.1f} H" if x > 80 else f"{x:.1f}*" for x in NUMBERS],
    "weeks": [f"{d:%G-W%V}" for d in DAYS],
    "crowns": [f"kr{int(1000 * x)}" for x in NUMBERS],
    "month first": [f"{d:%b%y}".upper() for d in DAYS],
    "words": [f"{d:%a, %d %b %Y}" for d in DAYS],
    "durations": [f"PT{int(x / 5)}H{int(x) % 60}M" for x in NUMBERS],
    "place": [f"{55 + x / 1000:.5f}, {13 + x / 900:.5f}" for x in NUMBERS],
}
UNREAD = [f"{int(x)}-{int(997 * x) % 1000}" for x in NUMBERS]
OTHERS = {
    "ICD-10": [f"{RNG.choice(LETTERS)}{RNG.integers(0, 99):02d}.{RNG.integers(0, 9)}" for _ in range(300)],
    "ATC": [f"{RNG.choice(LETTERS)}{RNG.integers(1, 16):02d}AB{RNG.integers(1, 60):02d}" for _ in range(300)],
    "numbered wards": [f"W{i}" for i in RNG.integers(0, 90, 600)],
    "numbered answers": [f"item {i}" for i in RNG.integers(0, 90, 600)],
    "identifiers": [str(uuid.UUID(bytes=RNG.bytes(16))) for _ in range(300)],
    "notes": [f"Seen on day {int(x)} with pressure {int(x)} and sent home in good state" for x in NUMBERS],
    "words": [f"ward {RNG.choice(list('abc'))}" for _ in range(300)],
    "few": [f"{d} mg" for d in RNG.choice([5, 10, 20, 50], 300)],
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_quantities_in_unread_spellings_are_in_doubt(name: str) -> None:
    assert looks_like_quantities(QUANTITIES[name], 600)


@pytest.mark.parametrize("name", OTHERS)
def test_codes_and_texts_are_categories_without_doubt(name: str) -> None:
    assert not looks_like_quantities(OTHERS[name], 600)


def test_kind_unit_and_gaps_are_told() -> None:
    frame = pd.DataFrame(
        {
            "hb": [f"{x:.0f} g/L" if i % 4 else None for i, x in enumerate(NUMBERS)],
            "birth": [d.isoformat() for d in DAYS],
            "sex": RNG.choice(["F", "M"], 300),
            "pressure": QUANTITIES["pressure"],
            "given": UNREAD,
            "structure": [{"value": round(x, 1), "unit": "mg"} for x in NUMBERS],
        }
    )
    told = encode(frame, frame, frame).described
    assert [d.name for d in told[3:5]] == ["pressure (1)", "pressure (2)"]
    assert [d.kind for d in told] == ["number", "date", "category", "number", "number", "category", "number"]
    assert [d.unit for d in told] == ["g/L", "", "", "", "", "", "mg"]
    assert [d.gaps for d in told] == [0.25, 0, 0, 0, 0, 0, 0]
    assert [d.doubtful for d in told] == [False, False, False, False, False, True, False]
    declared = encode(frame, frame, frame, Meta(None, {"given": "categorical"})).described[5]
    assert declared.declared
    assert not declared.doubtful


def test_no_pass_survives_a_column_in_doubt() -> None:
    rng = np.random.default_rng(1)
    tables = [
        pd.DataFrame({"x": rng.normal(size=300).round(2), "sex": rng.choice(["F", "M"], 300), "given": UNREAD})
        for _ in range(3)
    ]
    for table in tables:
        table["given"] = rng.permutation(table["given"])
    result = evaluate(*tables, attacks=60, data_class="public").result
    assert result.decision.verdict != "pass"
    assert all("kind_in_doubt" in f.validity.flags for f in result.findings if f.primary)
    assert [c.doubtful for c in result.subject.table] == [False, False, True]
