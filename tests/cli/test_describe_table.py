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
