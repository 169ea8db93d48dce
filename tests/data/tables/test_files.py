"""Files as hospitals write them: one table in every form that is read, and words for those that are not."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from testbed.core.errors import TestbedError
from testbed.data.tables import columnar, files
from testbed.data.tables.files import read_file, read_text

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "id": range(1, 61),
        "name": RNG.choice(["Müller", "Åsa", "Élodie", "Meier"], 60),
        "hb": RNG.normal(132, 15, 60).round(1),
        "sex": RNG.choice(["F", "M"], 60),
    }
)


def text_of(separator: str = ",", decimal: str = ".") -> str:
    return TABLE.to_csv(index=False, sep=separator, decimal=decimal)


def read(path: Path, content: bytes | str, **options: Any) -> tuple[pd.DataFrame, list[str]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    said: list[str] = []
    return read_file(path, "original", say=said.append, **options), said


def same(frame: pd.DataFrame) -> bool:
    pd.testing.assert_frame_equal(frame.reset_index(drop=True), TABLE, check_dtype=False)
    return True


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_every_encoding_and_separator_gives_the_same_table(tmp_path: Path, encoding: str, separator: str) -> None:
    frame, said = read(tmp_path / "a.csv", text_of(separator).encode(encoding))
    assert same(frame)
    assert bool(said) == (encoding in ("cp1252", "utf-16-le", "utf-16-be"))
    cells, found = read_text(tmp_path / "a.csv")
    assert (found, cells["name"].tolist()) == (separator, TABLE["name"].tolist())


def test_a_declared_encoding_is_obeyed(tmp_path: Path) -> None:
    text = "id,name\n1,Łukasz\n2,Żak\n"
    assert read(tmp_path / "a.csv", text.encode("cp1250"), encoding="cp1250")[0]["name"].tolist() == ["Łukasz", "Żak"]
    with pytest.raises(TestbedError, match="TB-DATA-032"):
        read(tmp_path / "a.csv", text.encode("cp1250"), encoding="no such code")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_packed_text_is_read(tmp_path: Path, pack: Any) -> None:
    ending = {gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz"}[pack]
    assert same(read(tmp_path / f"a.csv.{ending}", pack(text_of(";", ",").encode("cp1252")))[0])


def test_zstd_and_a_zip_of_one_file_are_read_and_a_zip_of_two_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa

    assert same(read(tmp_path / "a.csv.zst", bytes(pa.Codec("zstd").compress(text_of().encode(), asbytes=True)))[0])
    for names in (["t.csv"], ["t.csv", "u.csv"]):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name in names:
                archive.writestr(name, text_of())
        if len(names) == 1:
            assert same(read_file(tmp_path / "a.zip", "original"))
            continue
        with pytest.raises(TestbedError, match="TB-DATA-078"):
            read_file(tmp_path / "a.zip", "original")


@pytest.mark.parametrize(
    "above",
    ["# exported by LIMS\n", "\n\n", "Ward list 2024\n\n", "Report date;2024-01-01\n\n", "Ward list;;;\n;;;\n"],
)
@pytest.mark.parametrize("below", ["", "Total;60 rows;;\n", "Source: LIMS\n", "\n* preliminary\nTotal;;7901,3;\n"])
def test_lines_above_and_below_the_table_are_left_out_and_said(tmp_path: Path, above: str, below: str) -> None:
    frame, said = read(tmp_path / "a.csv", above + text_of(";", ",") + below)
    assert same(frame)
    assert any("above" in s for s in said) == bool(above.strip())
    assert any("below" in s for s in said) == bool(below)
    assert len(read_text(tmp_path / "a.csv")[0]) == 60


@pytest.mark.parametrize(
    ("second", "names"),
    [
        (";;g/L;", ["id", "name", "hb", "sex"]),
        ("-;-;[g/l];-", ["id", "name", "hb", "sex"]),
        ("Record number;Family name;Haemoglobin (g/l);Sex at birth", ["id", "name", "hb", "sex"]),
    ],
)
def test_a_second_line_of_units_or_labels_is_no_record(tmp_path: Path, second: str, names: list[str]) -> None:
    first, _, rest = text_of(";").partition("\n")
    frame, said = read(tmp_path / "a.csv", f"{first}\n{second}\n{rest}")
    assert same(frame)
    assert frame.columns.tolist() == names
    assert len(said) == 1
    labels, _ = read(tmp_path / "b.csv", f"Record number;Family name;Haemoglobin (g/l);Sex at birth\n{first}\n{rest}")
    assert labels.columns.tolist() == names


@pytest.mark.parametrize(
    "first", ["1;Meier;not done;F", "1;Meier;;F", "1;total;130,1;F", "missing;Meier;missing;M", "NA;NA;NA;F"]
)
def test_records_with_words_and_gaps_stay_records(tmp_path: Path, first: str) -> None:
    head, _, rest = text_of(";", ",").partition("\n")
    for text in (f"{head}\n{first}\n{rest}", f"{head}\n{rest}{first}\n"):
        frame, said = read(tmp_path / "a.csv", text)
        assert len(frame) == 61
        assert not said


def test_quoted_fields_may_hold_line_breaks_and_separators(tmp_path: Path) -> None:
    notes = [f'came in;\nthen "left",\n\nafter {i} days' for i in range(30)]
    table = pd.DataFrame({"id": range(30), "note": notes})
    table.to_csv(tmp_path / "a.csv", index=False)
    assert read_file(tmp_path / "a.csv", "original")["note"].tolist() == notes


@pytest.mark.parametrize(
    ("content", "id"),
    [
        (b"Ward list\n1,2,3\n4,5,6\n7,8,9\n", "TB-DATA-079"),
        (b"a~b~c\n1~2~3\n4~5~6\n", "TB-DATA-084"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "TB-DATA-032"),
        (b"PK\x03\x04" + bytes(200), "TB-DATA-032"),
        (bytes(range(256)) * 20, "TB-DATA-032"),
        (("å,b\n" * 50).encode() + b"\xe5,1\n", "TB-DATA-032"),
    ],
)
def test_what_is_no_table_is_refused_with_an_id(tmp_path: Path, content: bytes, id: str) -> None:
    with pytest.raises(TestbedError) as caught:
        read(tmp_path / "a.csv", content)
    assert caught.value.id == id


def test_folders_devices_and_misspelt_paths_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(text_of())
    for path, wanted in ((tmp_path, "TB-DATA-074"), (Path(os.devnull), "TB-DATA-076")):
        with pytest.raises(TestbedError, match=wanted):
            read_file(path, "original")
    with pytest.raises(TestbedError, match=r"Perhaps: people\.csv"):
        read_file(tmp_path / "poeple.csv", "original")


def test_a_folder_of_parts_is_one_table(tmp_path: Path) -> None:
    for name in ("spark.parquet", "export"):
        folder = tmp_path / name
        folder.mkdir()
        for i in (0, 1):
            TABLE.iloc[30 * i : 30 * i + 30].to_parquet(folder / f"part-0000{i}-ab12-c000.snappy.parquet", index=False)
        (folder / "_SUCCESS").touch()
        assert same(read_file(folder, "original"))
    texts = tmp_path / "texts"
    texts.mkdir()
    for i in (0, 1):
        TABLE.iloc[30 * i : 30 * i + 30].to_csv(texts / f"part-0000{i}.csv", index=False)
    assert columnar.is_one_table(texts)
    assert same(read_file(texts, "original"))
    TABLE.rename(columns={"hb": "x"}).to_csv(texts / "part-00002.csv", index=False)
    with pytest.raises(TestbedError, match="TB-DATA-077"):
        read_file(texts, "original")
    hive = tmp_path / "hive"
    TABLE.to_parquet(hive, partition_cols=["sex"])
    assert sorted(read_file(hive, "original").columns) == sorted(TABLE.columns)
    linked = tmp_path / "linked"
    linked.mkdir()
    TABLE.to_csv(linked / "people.csv")
    assert not columnar.is_one_table(linked)


def test_a_parquet_bomb_is_refused_by_its_footer_with_the_count(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    part = pa.table({"a": pa.array(np.zeros(10**6, dtype=np.int8))})
    with pq.ParquetWriter(tmp_path / "a.parquet", part.schema) as writer:
        for _ in range(300):
            writer.write_table(part)
    assert (tmp_path / "a.parquet").stat().st_size < 10**6
    with pytest.raises(TestbedError, match=r"TB-DATA-058: The original table has 300,000,000 rows"):
        read_file(tmp_path / "a.parquet", "original")


def test_excel_with_titles_units_and_totals(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    rows: list[list[Any]] = [["Ward list 2024"], [], list(TABLE.columns), [None, None, "g/L"], *TABLE.values.tolist()]
    for row in [*rows, ["Total", None, 7901.3], ["Source: LIMS"]]:
        sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    said: list[str] = []
    assert same(read_file(tmp_path / "a.xlsx", "original", say=said.append))
    assert len(said) == 3
    assert read_file(tmp_path / "a.xlsx", "original", "id")["id"].tolist() == [str(i) for i in TABLE["id"]]
    book.create_sheet("second").append(["x"])
    book.save(tmp_path / "b.xlsx")
    with pytest.raises(TestbedError, match="TB-DATA-073"):
        read_file(tmp_path / "b.xlsx", "original")
    assert same(read_file(tmp_path / f"b.xlsx#{sheet.title}", "original"))
    with pytest.raises(TestbedError, match=r"TB-DATA-087.*Perhaps: second"):
        read_file(tmp_path / "b.xlsx#secnd", "original")
    with pytest.raises(TestbedError, match="TB-DATA-030"):
        read_file(tmp_path / "c.xlsx#second", "original")


def test_spss_stata_and_sas_with_labels_as_categories(tmp_path: Path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    coded = TABLE.assign(sex=TABLE["sex"].map({"F": 1, "M": 2}), score=[*range(59), -9])
    labels = {"sex": {1: "F", 2: "M"}, "score": {-9: "not asked"}}
    pyreadstat.write_sav(coded, str(tmp_path / "a.sav"), variable_value_labels=labels)
    pyreadstat.write_dta(coded, str(tmp_path / "a.dta"), variable_value_labels=labels)
    pyreadstat.write_xport(TABLE, str(tmp_path / "a.xpt"), file_format_version=5)
    for ending in ("sav", "dta"):
        frame = read_file(tmp_path / f"a.{ending}", "original")
        assert same(frame.drop(columns="score"))
        assert frame["score"].tolist() == coded["score"].tolist()
    assert same(read_file(tmp_path / "a.xpt", "original").rename(columns=str.lower))


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyreadstat", None)
    (tmp_path / "a.sav").write_bytes(b"$FL2")
    with pytest.raises(TestbedError, match=r"leakage-testbed\[files\]"):
        read_file(tmp_path / "a.sav", "original")


def test_a_hundred_thousand_columns_are_read_in_linear_time(tmp_path: Path) -> None:
    import time

    wide = 100_000
    header = ",".join(f"snp{i}" for i in range(wide))
    rows = "\n".join(",".join(["0"] * wide) for _ in range(3))
    (tmp_path / "a.csv").write_text(f"{header}\n{rows}\n")
    started = time.process_time()
    assert files.read_file(tmp_path / "a.csv", "original").shape == (3, wide)
    assert time.process_time() - started < 30
