"""Bad input gets an id, a reason and a remedy, and never a value of the file."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from testbed.core.errors import InputError, TestbedError
from testbed.data.tables.encode import Meta, encode
from testbed.data.tables.files import read_file

SECRET = "Canarywood"
GOOD = pd.DataFrame({"age": [30, 41, 57, 62], "ward": ["A", "B", "A", SECRET]})


def changed(change: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    return change(GOOD.copy())


@pytest.mark.parametrize(
    ("synthetic", "id"),
    [
        (changed(lambda f: f.drop(columns="age")), "TB-DATA-043"),
        (changed(lambda f: f.assign(extra=1)), "TB-DATA-044"),
        (changed(lambda f: f.assign(**dict.fromkeys(f.columns, np.nan))), "TB-DATA-045"),
        (changed(lambda f: f.assign(age=["x", "y", "z", SECRET])), "TB-DATA-046"),
        (changed(lambda f: f.assign(age=[1.0, 2.0, np.inf, 3.0])), "TB-DATA-049"),
        (changed(lambda f: f.assign(ward=["ward 9", "ward 9", "ward 9", "ward 9"])), "TB-DATA-051"),
    ],
)
def test_tables_that_cannot_be_compared_are_refused_in_words(synthetic: pd.DataFrame, id: str) -> None:
    with pytest.raises(TestbedError) as caught:
        encode(GOOD, synthetic, GOOD)
    error = caught.value
    assert error.id == id
    assert error.exit_code == 4
    assert error.what
    assert error.why
    assert error.fix
    assert SECRET not in str(error)


def test_a_renamed_column_is_suggested_and_a_record_in_place_of_a_header_is_not() -> None:
    original = pd.DataFrame({n: [1, 2, 3, 4] for n in ("lat", "icd10", "age", "sex", "ward", "weight")})

    def fix(table: pd.DataFrame) -> str:
        with pytest.raises(TestbedError, match="TB-DATA-043") as caught:
            encode(original, table, None)
        return caught.value.fix

    told = fix(original.rename(columns={"lat": "Latitude", "icd10": "ICD-10", "weight": "wieght"}))
    assert told.startswith("Did you mean that Latitude is lat, ICD-10 is icd10, wieght is weight?")
    assert "Did you mean" not in fix(original.drop(columns="lat").assign(postcode=1))
    # Most names differ: only names of the same letters are believed to be names.
    assert "Did you mean that LAT is lat" in fix(original.rename(columns=str.upper))
    assert "Did you mean" not in fix(original.set_axis(["lati", "icd1", "aged", "sexy", "wards", "weigh"], axis=1))


@pytest.mark.parametrize(
    ("name", "content", "id", "code"),
    [
        ("a.csv", b"", "TB-DATA-034", 4),
        ("a.csv", b"age,ward\n", "TB-DATA-034", 4),
        ("a.csv", b"age,ward\n1,A\n", "TB-DATA-035", 4),
        ("a.csv", b"age,age\n1,2\n3,4\n", "TB-DATA-036", 4),
        ("a.csv", "age,ward\n1,åäöåäöåäö\n2,b\n".encode() + b"3,\xe5\n", "TB-DATA-032", 4),
        ("a.csv", b"age,ward\n1,2,3,4\n5,6,7,8,9\n", "TB-DATA-033", 4),
        ("a.parquet", b"PAR1 cut off", "TB-DATA-033", 4),
        ("a.docx", b"x", "TB-DATA-031", 2),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, id: str, code: int) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TestbedError) as caught:
        read_file(path, "original")
    assert (caught.value.id, int(caught.value.exit_code)) == (id, code)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match="TB-DATA-030"):
        read_file(tmp_path / "none.csv", "original")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_byte_order_marks_are_understood(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b"\xef\xbb\xbf" + separator.join(["age", "ward"]).encode() + b"\n" + f"1{separator}A\n2{separator}B\n".encode()
    )
    assert read_file(path, "original").columns.tolist() == ["age", "ward"]


def test_parquet_and_csv_say_the_same(tmp_path: Path) -> None:
    GOOD.to_csv(tmp_path / "a.csv", index=False)
    GOOD.to_parquet(tmp_path / "a.parquet", index=False)
    pd.testing.assert_frame_equal(read_file(tmp_path / "a.csv", "o"), read_file(tmp_path / "a.parquet", "o"))


def test_categories_of_the_release_come_first_and_others_keep_apart() -> None:
    original = pd.DataFrame({"w": ["a", "b", "zz", None], "n": [1, 2, 3, 4]})
    synthetic = pd.DataFrame({"w": ["b", "a", "b", "c"], "n": [1, 2, 3, 4]})
    frames = encode(original, synthetic)
    assert frames.synthetic.columns[0].levels == ("a", "b", "c")
    assert frames.synthetic.values[0].tolist() == [1, 0, 1, 2]
    assert frames.original.values[0].tolist() == [0, 1, 3, -1]


def test_dates_become_days() -> None:
    rows = pd.DataFrame({"born": ["1970-01-02", "1970-01-01T12:00", None], "n": [1, 2, 3]})
    frames = encode(rows, rows)
    assert frames.original.columns[0].date
    assert frames.original.values[0][:2].tolist() == [1.0, 0.5]
    assert np.isnan(frames.original.values[0][2])


def test_the_meta_file_decides_kinds_and_misspelt_names_are_refused() -> None:
    rows = pd.DataFrame({"code": [1, 2, 3, 4], "n": [1, 2, 3, 4]})
    assert encode(rows, rows, None, Meta(None, {"code": "categorical"})).original.columns[0].kind == "categorical"
    assert len(encode(rows, rows, None, Meta(None, {"code": "drop"})).original.columns) == 1
    for kinds in ({"cod": "numeric"}, {"code": "number"}):
        with pytest.raises(TestbedError, match="TB-DATA-04"):
            encode(rows, rows, None, Meta(None, kinds))


def test_the_person_column_is_no_attribute() -> None:
    rows = pd.DataFrame({"id": [1, 1, 2, 3], "n": [1, 2, 3, 4]})
    frames = encode(rows, rows.drop(columns="id"), rows.assign(id=[7, 7, 8, 9]), Meta("id"))
    assert [c.name for c in frames.original.columns] == ["n"]
    assert frames.original.persons.tolist() == ["1", "1", "2", "3"]
    with pytest.raises(TestbedError, match="TB-DATA-053"):
        encode(rows, rows, rows.drop(columns="id"), Meta("id"))


def test_decimal_commas_are_numbers_and_ambiguous_ones_are_refused(tmp_path: Path) -> None:
    # Read as categories they would hide near copies.
    path = tmp_path / "a.csv"
    path.write_text("lab;n\n1,5;2\n-0,25;3\n;4\n7;5\n")
    frame = read_file(path, "original")
    assert frame["lab"].tolist()[:2] == [1.5, -0.25]
    assert np.isnan(frame["lab"][2])
    path.write_text('lab,n\n"1,250",2\n"3,500",3\n')
    with pytest.raises(TestbedError, match="TB-DATA-055"):
        read_file(path, "original")


def test_rows_longer_than_the_header_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("age,lab\n48,0,m\n50,1,f\n")
    with pytest.raises(TestbedError, match="TB-DATA-054"):
        read_file(path, "original")


def test_a_record_in_place_of_the_header_is_not_quoted(tmp_path: Path) -> None:
    for name, first in (("o", SECRET + "1234"), ("s", "Somebodyelse99")):
        (tmp_path / f"{name}.csv").write_text(f"{first},48.1,7\n" + f"{first}x,50.2,8\n" * 3)
    frames = [read_file(tmp_path / f"{name}.csv", "original") for name in "os"]
    with pytest.raises(TestbedError, match="header") as caught:
        encode(frames[0], frames[1])
    assert SECRET not in str(caught.value)
    assert "48.1" not in str(caught.value)


def test_persons_are_read_as_text_and_mixed_spellings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,x\n0001,2\n0002,3\n")
    assert read_file(path, "original", "id")["id"].tolist() == ["0001", "0002"]
    numbers, texts = pd.DataFrame({"id": [1, 2], "x": [1, 2]}), pd.DataFrame({"id": ["0003", "A4"], "x": [1, 2]})
    with pytest.raises(TestbedError, match="TB-DATA-056"):
        encode(numbers, numbers, texts, Meta("id"))


def test_a_csv_that_is_too_large_is_refused_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)  # sparse: no byte of it is written
    with pytest.raises(TestbedError, match=r"TB-DATA-057: The original file is 10\.0 GiB"):
        read_file(path, "original")


@pytest.mark.parametrize("code", ["4e8185742103", "8e2569614270f3d8b9e7038efac9f116", "1e99999999999"])
@pytest.mark.parametrize("first", [True, False])
def test_codes_that_read_like_huge_exponents_are_text(code: str, first: bool, tmp_path: Path) -> None:
    """pandas 2 ends the process on some of them (its issue 63650); one md5 in 2,600 is such a code."""
    rows = [code, "a1b2", "77c0", "12ab"] if first else ["a1b2", "77c0", "12ab", code]
    (tmp_path / "a.csv").write_text("pseudonym,only\n" + "".join(f"{r},{code}\n" for r in rows))
    frame = read_file(tmp_path / "a.csv", "original")
    column, only = encode(frame, frame).original.columns
    assert (column.kind, only.kind) == ("categorical", "categorical")
    assert set(column.levels) == set(rows)


def test_text_holds_numbers_to_the_last_bit(tmp_path: Path) -> None:
    numbers = pd.DataFrame({"x": np.random.default_rng(0).normal(size=2000)})
    numbers.to_csv(tmp_path / "a.csv", index=False)
    assert read_file(tmp_path / "a.csv", "original")["x"].tolist() == numbers["x"].tolist()


MOMENT = pd.Timestamp("2024-03-01 18:00:00")
DAY = (MOMENT - pd.Timestamp(0)) / pd.Timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        (["2024-03-01T18:00:00Z"], DAY),
        (["2024-03-01 19:00:00+01:00"], DAY),
        (["2024-03-01 18:00:00.123456789"], DAY),
        (["1.3.2024", "13.1.2020"], DAY // 1),
        (["01/03/2024 18:00", "31/12/2020 00:30"], DAY),
        (["03/01/2024", "12/31/2020"], DAY // 1),
        (["2024/03/01", "2020/12/31"], DAY // 1),
        (["2024-03-01", "0999-01-01"], DAY // 1),
    ],
)
def test_dates_in_all_usual_forms_become_days(text: list[str], day: float) -> None:
    frame = pd.DataFrame({"seen": [*text, *text], "x": range(2 * len(text))})
    made = encode(frame, frame)
    assert made.original.columns[0].date
    assert made.original.values[0][0] == pytest.approx(day, abs=1e-4)


def test_days_and_months_are_told_apart_by_all_tables() -> None:
    clear, unclear = (pd.DataFrame({"seen": [text, "02/02/2024"]}) for text in ("03/13/2024", "03/01/2024"))
    made = encode(unclear, clear)
    assert made.original.values[0][0] == pytest.approx(DAY // 1)


def test_no_end_is_a_gap_and_other_far_dates_are_dates() -> None:
    open_end = pd.DataFrame({"until": ["2024-03-01", "9999-12-31", "2500-01-01"]})
    days = encode(open_end, open_end).original.values[0]
    assert days[0] == DAY // 1
    assert np.isnan(days[1])
    assert days[2] > 365 * 500
    never = pd.DataFrame({"until": ["9999-12-31"] * 3})
    assert not np.isnan(encode(never, never).original.values[0]).any()


def test_times_of_day_are_hours_in_text_and_parquet(tmp_path: Path) -> None:
    times = pd.DataFrame({"given": [datetime.time(6, 30), datetime.time(18, 0, 36)]})
    times.to_parquet(tmp_path / "a.parquet")
    times.to_csv(tmp_path / "a.csv", index=False)
    made = encode(read_file(tmp_path / "a.parquet", "original"), read_file(tmp_path / "a.csv", "synthetic"))
    for table in (made.original, made.synthetic):
        assert table.values[0] == pytest.approx([6.5, 18.01])


def test_whole_numbers_too_large_for_floats_keep_apart() -> None:
    large = pd.DataFrame({"id": [2**60, 2**60 + 1, 2**60 + 2], "x": [1, 2, 3]})
    small = large.assign(id=[2**60, 5, 6])
    made = encode(large, small)
    assert len(set(made.original.values[0].tolist())) == 3
    assert made.original.values[0][0] == made.synthetic.values[0][0]
    assert made.original.columns[0].kind == "categorical"


def test_a_file_without_a_header_is_refused_before_its_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{SECRET},M,Stroke,smoker\nB,M,Angina,never\nC,F,Stroke,smoker\n")
    with pytest.raises(TestbedError, match="TB-DATA-037") as caught:
        read_file(tmp_path / "a.csv", "original")
    assert SECRET not in str(caught.value)
    (tmp_path / "b.csv").write_text(f"{SECRET},M,{SECRET}\n1,2,3\n")
    with pytest.raises(TestbedError, match="number 1 and number 3") as caught:
        read_file(tmp_path / "b.csv", "original")
    assert SECRET not in str(caught.value)


def test_lists_in_parquet_are_text(tmp_path: Path) -> None:
    pd.DataFrame({"codes": [["1", "2"]] * 4, "x": range(4)}).to_parquet(tmp_path / "a.parquet")
    frame = read_file(tmp_path / "a.parquet", "original")
    assert encode(frame, frame).original.columns[0].kind == "categorical"


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_far_moments_in_parquet_are_dates(unit: str, tmp_path: Path) -> None:
    moments = np.array(["2024-03-01T18:00", "9999-12-31T00:00", "0999-01-01T00:00"], f"datetime64[{unit}]")
    pd.DataFrame({"until": moments}).to_parquet(tmp_path / "a.parquet")
    frame = read_file(tmp_path / "a.parquet", "original")
    days = encode(frame, frame).original.values[0]
    assert days[0] == pytest.approx(DAY)
    assert np.isnan(days[1])
    assert days[2] < -300_000


def test_long_codes_stay_apart_beside_gaps_and_as_text(tmp_path: Path) -> None:
    codes = [str(2**60 + i) for i in range(5)]
    (tmp_path / "a.csv").write_text("id,x\n" + "".join(f"{c},{i}\n" for i, c in enumerate([*codes, ""])))
    gaps = read_file(tmp_path / "a.csv", "original")
    numbers = pd.DataFrame({"id": pd.array([*map(int, codes), None], "Int64"), "x": range(6)})
    for frame in (gaps, numbers, numbers.assign(id=[*codes, None])):
        made = encode(frame, frame).original
        assert made.columns[0].kind == "categorical"
        assert set(made.columns[0].levels) == set(codes)
        assert made.values[0][5] == -1
    mixed = encode(gaps, numbers)
    assert mixed.original.values[0].tolist() == mixed.synthetic.values[0].tolist()


def test_clocks_and_spans_are_numbers_in_any_dtype() -> None:
    import pyarrow as pa

    clock = pd.DataFrame({"at": ["06:30", "18:00:36"]})
    for frame in (clock, clock.astype("string"), clock.astype(pd.ArrowDtype(pa.string()))):
        assert encode(clock, frame).synthetic.values[0] == pytest.approx([6.5, 18.01])
    span = pd.DataFrame({"stay": pd.to_timedelta([1, 36], "h")})
    arrow = span.astype(pd.ArrowDtype(pa.duration("s")))
    assert encode(span, arrow).synthetic.values[0] == pytest.approx([1 / 24, 1.5])


def test_a_column_of_complex_numbers_is_a_category_also_where_one_table_has_none() -> None:
    numbers = pd.DataFrame({"x": np.arange(40.0), "z": np.arange(40) % 5 + 1j})
    empty = numbers.assign(z=np.full(40, np.nan + 0j))
    frames = encode(numbers, numbers, empty)
    assert next(c.kind for c in frames.original.columns if c.name == "z") == "categorical"
    assert frames.control is not None
    assert (frames.control.values[1] == -1).all()


def test_a_header_of_a_hundred_thousand_columns_is_refused_at_once() -> None:
    wide = pd.DataFrame(np.zeros((3, 100_000)))
    with pytest.raises(InputError, match="TB-DATA-090"):
        encode(wide, wide)
