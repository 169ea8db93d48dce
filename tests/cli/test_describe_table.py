"""describe-table says how a table is read, and names whatever is no table by an id, without a value."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.test_cli import invoke

SECRET = "Canarywood"


def table(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "HR [/min]": rng.normal(80, 10, n).round(1),
            "born": [f"{1930 + i}-01-02" for i in range(n)],
            "mail": [f"{SECRET}{i}@example.org" for i in range(n)],
            "sex": rng.choice(["F", "M"], n),
            "BP": [f"{a}/{b}" for a, b in zip(rng.integers(100, 180, n), rng.integers(50, 99, n), strict=True)],
            "unused": [None] * n,
        }
    )


def test_kinds_identifiers_and_empty_columns_are_printed_and_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(("Ward list\n" + table().to_csv(index=False, sep=";")).encode("cp1252"))
    assert invoke(monkeypatch, "describe-table", str(path)) == 0
    printed = capsys.readouterr().out
    lines = {line.split("  ")[0].strip(): line for line in printed.splitlines()}
    assert "number" in lines["HR [/min]"]
    assert "date" in lines["born"]
    assert "e-mail address" in lines["mail"]
    assert "left out" in lines["unused"]
    assert "1 line above" in printed
    assert SECRET not in printed
    assert invoke(monkeypatch, "describe-table", str(path), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [c["kind"] for c in told["columns"]] == [
        *("number", "date", "category", "category", "number", "number", "empty")
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b""),
        ("a.csv", b"\x89PNG\r\n\x1a\n" + bytes(500)),
        ("a.csv", os.urandom(5000)),
        ("a.parquet", b"PAR1" + SECRET.encode() * 50),
        ("a.xlsx", SECRET.encode()),
        ("a.sav", SECRET.encode() * 9),
        ("a.dta", SECRET.encode() * 9),
        ("a.sas7bdat", SECRET.encode() * 9),
        ("a.xpt", SECRET.encode() * 9),
        ("a.csv.gz", SECRET.encode() * 9),
        ("a.zip", SECRET.encode() * 9),
        ("a.png", b"x"),
        ("a", b"x"),
        ("folder", None),
        (os.devnull, None),
        ("absent.csv", None),
    ],
)
def test_anything_else_gets_an_id_and_three_sentences(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert invoke(monkeypatch, "describe-table", str(path)) in (2, 4)
    told = capsys.readouterr().err
    assert told.startswith("TB-DATA-")
    assert "why:" in told
    assert "fix:" in told
    assert SECRET not in told


def test_a_columns_name_that_looks_like_markup_is_printed_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Square brackets are markup to rich: a closing tag that was never opened once ended a run after all its work."""
    from testbed.cli import terminal
    from testbed.harness.release.evaluate import evaluate

    rng = np.random.default_rng(1)
    names = ["HR [/min]", "[bold]x[/bold]", ":smile:"]
    tables = [pd.DataFrame(rng.normal(size=(60, 3)).round(2), columns=names) for _ in range(3)]
    result = evaluate(*tables, secrets=[names[0]], links=[(names[:1], names[1:])], attacks=40).result
    for on_terminal in (False, True):
        monkeypatch.setattr("sys.stdout.isatty", lambda on=on_terminal: on)
        printed = terminal._table(result)  # pyright: ignore[reportPrivateUsage]
        assert names[0] in printed
    tables[0].to_csv(tmp_path / "t.csv", index=False)
    assert invoke(monkeypatch, "describe-table", str(tmp_path / "t.csv")) == 0
    assert all(name in capsys.readouterr().out for name in names[:1])


def test_dates_and_amounts_are_no_telephone_or_record_numbers_and_real_ones_still_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    day = pd.Series(pd.Timestamp("1931-05-01") + pd.to_timedelta(rng.integers(0, 30_000, 200), unit="D"))
    honest = {
        "last_contact": day.dt.strftime("%Y-%m-%d"),
        "fax": day.dt.strftime("%d.%m.%Y"),
        "mobile": day.dt.strftime("%m/%d/%Y"),
        "tel": day.dt.strftime("%Y-%m-%d %H:%M"),
        "case_no": day.dt.strftime("%Y%m%d"),
        "call_minutes": rng.integers(10**8, 10**9, 200),
        "contact": rng.integers(10**7, 10**8, 200),
        "cell": pd.array([*rng.integers(0, 10**8, 199), None], dtype="Int64"),
    }
    digits = rng.integers(1_000_000, 9_999_999, 200)
    leaks = {
        "contact_number": [f"070{d}" for d in digits],
        "phone": [f"+46 70 {str(d)[:3]} {str(d)[3:5]} {str(d)[5:]}" for d in digits],
        "mrn": rng.integers(10**6, 10**7, 200),
    }
    path = tmp_path / "t.csv"
    pd.DataFrame(honest | leaks).to_csv(path, index=False)
    assert invoke(monkeypatch, "describe-table", str(path), "--json") == 0
    told = {c["column"]: c["identifiers"] for c in json.loads(capsys.readouterr().out)["columns"]}
    assert {name for name, kinds in told.items() if kinds} == set(leaks)


def test_notes_on_one_table_speak_of_no_release_and_no_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(4)
    decade = 10 * rng.integers(2, 9, 200)
    columns = {
        "month": [f"{y}-{m:02d}" for y, m in zip(rng.integers(1990, 2020, 200), rng.integers(1, 13, 200), strict=True)],
        "quarter": [f"{y}Q{q}" for y, q in zip(rng.integers(1990, 2020, 200), rng.integers(1, 5, 200), strict=True)],
        "age": [f"{a}-{a + 9}" for a in decade],
        "hidden": ["*"] * 200,
        "n": rng.integers(0, 9, 200),
    }
    path = tmp_path / "t.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    assert invoke(monkeypatch, "describe-table", str(path)) == 0
    printed = capsys.readouterr().out
    assert "written by month" in printed
    assert "release" not in printed
    assert "control" not in printed
