"""What a changed table keeps of the file that it came from."""

from __future__ import annotations

import io

import pandas as pd

from testbed.data.tables.kept_spelling import codes, kept

FILE = """age;plz;crp;day;word
79;06966;13,6;13.04.2021;None
41;80331;7,0;01.02.2020;
"""


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    read = pd.read_csv(io.StringIO(FILE), sep=";", decimal=",")
    return read, pd.read_csv(io.StringIO(FILE), sep=";", dtype=str, keep_default_na=False)


def test_cells_that_nobody_changed_are_as_they_were_written() -> None:
    read, written = tables()
    assert kept(read, read, written).to_csv(sep=";", index=False) == FILE
    assert kept(read.iloc[[1]], read, written).to_csv(sep=";", index=False).splitlines()[1] == FILE.splitlines()[2]


def test_new_numbers_have_the_columns_decimal_sign_and_no_decimals_that_it_never_had() -> None:
    read, written = tables()
    changed = read.assign(age=[80.0, 40.0], crp=[13.5, 7.0], word=["other", None])
    made = kept(changed, read, written)
    assert made["age"].tolist() == ["80", "40"]
    assert made["crp"].tolist() == ["13,5", "7,0"]
    assert made["word"].tolist() == ["other", ""]


def test_digits_after_a_zero_are_codes() -> None:
    _, written = tables()
    assert codes(written) == ["plz"]
