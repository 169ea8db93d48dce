"""Digests of inputs: of rows, not of files; and keyed, so that nobody can try tables out."""

from __future__ import annotations

import stat
from pathlib import Path

import pandas as pd
import pytest

from testbed.core.errors import UsageError
from testbed.data import fingerprints
from testbed.data.fingerprints import Key, of_file, of_table
from testbed.data.tables.files import read_file

TABLE = pd.DataFrame(
    {
        "id": ["p1", "p2", "p3", "p3"],
        "code": ["007", "7", None, "7"],
        "age": [41, 52, 63, 63],
        "crp": [1.5, None, 3.0, 3.0],
        "day": pd.to_datetime(["2020-01-31", None, "1999-12-01", "1999-12-01"]),
        "well": [True, False, True, True],
    }
)


def test_neither_the_order_of_rows_nor_that_of_columns_changes_a_digest() -> None:
    shuffled = TABLE.sample(frac=1, random_state=3)[TABLE.columns[::-1]]
    assert of_table(shuffled) == of_table(TABLE)


@pytest.mark.parametrize(
    "changed",
    [
        TABLE.assign(age=[41, 52, 63, 64]),
        TABLE.assign(code=["7", "7", None, "7"]),
        TABLE.rename(columns={"age": "years"}),
        TABLE.drop(columns="well"),
        TABLE.iloc[:3],  # a row that stands twice counts twice
        pd.concat([TABLE, TABLE.iloc[3:]]),
        TABLE.assign(age=TABLE["age"].to_numpy()[[1, 0, 2, 3]]),  # the same cells in other rows
    ],
)
def test_another_table_has_another_digest(changed: pd.DataFrame) -> None:
    assert of_table(changed) != of_table(TABLE)


def test_cells_cannot_run_into_each_other() -> None:
    assert of_table(pd.DataFrame({"a": ["x"], "b": ["yz"]})) != of_table(pd.DataFrame({"a": ["xy"], "b": ["z"]}))


def test_the_format_of_a_file_changes_no_digest(tmp_path: Path) -> None:
    table = TABLE.assign(code=["A1", "B2", None, "C3"])
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    table.to_parquet(tmp_path / "t.parquet")
    digests = {of_table(read_file(tmp_path / name, "original", None)) for name in ("t.csv", "t.tsv", "t.parquet")}
    assert digests == {of_table(table)}


def test_numbers_dates_and_empty_cells_have_one_spelling() -> None:
    one = pd.DataFrame({"n": [1, 20], "d": ["2020-01-31", "2020-02-01 10:30:00"], "e": ["", "x"]})
    other = pd.DataFrame(
        {"n": ["1.0", "2e1"], "d": [pd.Timestamp("2020-01-31"), pd.Timestamp("2020-02-01T10:30")], "e": [None, "x"]}
    )
    assert of_table(one) == of_table(other)


def test_a_cell_of_any_type_has_a_digest() -> None:
    odd = pd.DataFrame({"a": [[1, 2], {"b": 1}, None, 2**80]})
    assert of_table(odd) == of_table(odd.iloc[::-1])


def test_without_the_key_a_digest_cannot_be_computed() -> None:
    one, other = Key(b"1" * 32, "one"), Key(b"2" * 32, "other")
    assert len({of_table(TABLE), of_table(TABLE, one), of_table(TABLE, other)}) == 3
    assert of_table(TABLE, one) == of_table(TABLE, Key(b"1" * 32, "one"))
    assert "1" * 32 not in repr(one)


def test_a_file_is_digested_by_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "m.bin"
    file.write_bytes(b"a" * 3_000_000)
    whole = of_file(file)
    file.write_bytes(b"a" * 2_999_999)
    assert of_file(file) != whole
    assert of_file(file, Key(b"1" * 32, "k")) != of_file(file)


def test_the_sites_key_is_made_once_and_others_cannot_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(fingerprints.KEY_FILE, raising=False)
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "cache"))
    key = fingerprints.site_key()
    assert key == fingerprints.site_key()
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["site.key"]
    assert stat.S_IMODE((tmp_path / "cache" / "site.key").stat().st_mode) == 0o600
    assert len(key.secret) == 32
    assert key.name != key.secret.hex()[:16]


def test_where_no_key_can_be_kept_one_is_made_for_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(fingerprints.KEY_FILE, raising=False)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TESTBED_CACHE", str(tmp_path / "file"))
    one, other = fingerprints.site_key(), fingerprints.site_key()
    assert one.name == other.name == fingerprints.NOT_KEPT
    assert one.secret != other.secret


@pytest.mark.parametrize("content", [None, b"", b"short"])
def test_a_named_key_that_is_missing_or_short_is_refused(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "site.key"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv(fingerprints.KEY_FILE, str(file))
    with pytest.raises(UsageError, match="TB-PROOF-001") as refused:
        fingerprints.site_key()
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%m/%d/%Y", "%d %b %Y", "%Y/%m/%d", "%d-%m-%Y", "%Y%m%d"])
def test_the_form_of_a_column_of_dates_changes_no_digest(form: str) -> None:
    days = pd.Series(pd.date_range("2019-12-20", periods=40, freq="11D"))
    one = pd.DataFrame({"day": days, "n": range(40)})
    told = of_table(one.assign(day=days.dt.strftime(form)))
    assert told == of_table(one) == of_table(one.assign(day=days.dt.strftime("%Y-%m-%d")))
    if form == "%Y%m%d":
        compact = days.dt.strftime(form).astype(int)
        assert told == of_table(one.assign(day=compact))
        gaps = days.where(days.index != 3)
        assert of_table(one.assign(day=gaps)) == of_table(one.assign(day=compact.where(days.index != 3)))
    other = days.where(days.index != 7, days + pd.Timedelta(1, "D"))
    assert told != of_table(one.assign(day=other.dt.strftime(form)))


def test_dates_that_may_be_read_in_two_ways_stay_texts() -> None:
    one, other = (pd.DataFrame({"day": [day, "01/01/2020"]}) for day in ("02/03/2020", "03/02/2020"))
    assert of_table(one) != of_table(other)
