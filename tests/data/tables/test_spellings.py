"""One value in its several spellings, and a column that stays what it is where a few cells are odd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from testbed.core.errors import InputError
from testbed.data.tables.encode import Meta, encode
from testbed.data.tables.files import read_file
from testbed.data.tables.quantities import parse
from testbed.data.tables.spellings import category


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Vet ej", "vet  ej "),
        ("Sällan", "Sa\u0308llan"),
        ("12", "12.0"),
        ("STRASSE", "straße"),
    ],
)
def test_a_category_is_the_same_in_all_its_spellings(one: str, other: str) -> None:
    assert category(one) == category(other)
    frames = encode(*(pd.DataFrame({"a": [v, "x", "y"]}) for v in (one, other)), meta=Meta(None, {"a": "categorical"}))
    assert frames.original.values[0][0] == frames.synthetic.values[0][0]


def test_codes_that_differ_stay_apart() -> None:
    assert len({category(v) for v in ("J45", "J45.0", "J45.00", "250.1", "250.10")}) == 5
    assert category(1.5) == 1.5


@pytest.mark.parametrize(
    ("text", "number"),
    [("<0.5", 0.5), ("90+", 90), (" 12 ", 12), ("97 %", 97), ("78 kg", 78), ("≥ 3", 3), ("(3.20)", -3.2), ("−3", -3)],
)
def test_a_number_at_a_limit_or_with_its_unit_is_a_number(text: str, number: float) -> None:
    parsed = parse(text)
    assert parsed is not None
    (part,) = parsed.parts
    assert float(part.numeral) * (-1 if part.negative else 1) == number


@pytest.mark.parametrize("text", ["A12", "1.2.3", "okänd", "070-123 45 67", "10.0.0.1", "3 + 4", "4e8185742103", ""])
def test_what_only_holds_a_number_is_none(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize("odd", ["unknown", "<0.5", ".", "#N/A", "?", "-"])
def test_one_odd_cell_makes_no_words_of_numbers(tmp_path: Path, odd: str) -> None:
    rng = np.random.default_rng(0)
    for name in ("o", "s"):
        cells = [f"{v:.2f}" for v in rng.lognormal(size=60)]
        cells[5] = odd if name == "o" else cells[5]
        write(tmp_path / f"{name}.csv", "\n".join(["crp,sex", *(f"{c},{'fm'[i % 2]}" for i, c in enumerate(cells))]))
    frames = encode(*(read_file(tmp_path / f"{name}.csv", name) for name in ("o", "s")))
    assert [c.kind for c in frames.original.columns] == ["numeric", "categorical"]
    assert np.isnan(frames.original.values[0][5]) == (odd != "<0.5")


def test_codes_of_few_values_and_units_that_differ_stay_words() -> None:
    likert = pd.DataFrame({"a": [*"12345" * 20, "unknown"]})
    assert encode(likert, likert).original.columns[0].kind == "categorical"
    beds = pd.DataFrame({"a": [f"{i}{'ABC'[i % 3]}" for i in range(60)]})
    assert encode(beds, beds).original.columns[0].kind == "categorical"
    serials = pd.DataFrame({"a": [f"{10 + i % 7}-{100 + 37 * i % 900}" for i in range(60)]})
    assert encode(serials, serials).original.columns[0].kind == "categorical"


@pytest.mark.parametrize("share", [0.15, 0.25, 0.6])
def test_few_different_words_among_numbers_are_gaps_whatever_their_share(share: float) -> None:
    cells = [f"{v:.1f}" for v in np.random.default_rng(0).normal(132, 15, 400)]
    words = round(share * 400)
    cells[:words] = [("not done", ".A", "hemolyzed")[i % 3] for i in range(words)]
    frame = pd.DataFrame({"hb": cells})
    made = encode(frame, frame).original
    assert made.columns[0].kind == "numeric"
    assert np.isnan(made.values[0]).tolist() == [True] * words + [False] * (400 - words)


def test_many_different_words_among_declared_numbers_are_refused() -> None:
    many = pd.DataFrame({"a": [*map(str, range(60)), *(f"unknown {chr(97 + i)}" for i in range(20))]})
    with pytest.raises(InputError, match="TB-DATA-048"):
        encode(many, many, meta=Meta(None, {"a": "numeric"}))


@pytest.mark.parametrize("form", ["%d.%m.%y", "%d %b %Y", "%d%b%Y", "%B %d, %Y", "%d-%b-%Y %H:%M", "%Y-%m-%d"])
def test_dates_in_the_forms_of_hospitals(form: str) -> None:
    days = pd.Series(pd.date_range("1931-03-01", periods=300, freq="101D"))
    written = days.dt.strftime(form).astype(object)
    written[7] = "okänd"
    encoded = encode(pd.DataFrame({"d": written}), pd.DataFrame({"d": written})).original
    assert encoded.columns[0].date
    expected = np.asarray((days - pd.Timestamp(0)) / pd.Timedelta(days=1))
    expected[7] = np.nan
    assert np.array_equal(encoded.values[0], expected, equal_nan=True)


def test_commas_in_a_headers_names_separate_nothing(tmp_path: Path) -> None:
    rows = "\n".join(f"{170 + i},5;{60 + i},1;{'fm'[i % 2]}" for i in range(30))
    frame = read_file(write(tmp_path / "a.csv", f"Height, cm;Weight, kg;sex\n{rows}\n"), "original")
    assert frame.columns.tolist() == ["Height, cm", "Weight, kg", "sex"]
    assert frame["Height, cm"].tolist() == [170.5 + i for i in range(30)]


def test_a_line_that_says_what_separates_is_no_header(tmp_path: Path) -> None:
    frame = read_file(write(tmp_path / "a.csv", "sep=;\nage;sex\n70;f\n71;m\n"), "original")
    assert frame.to_dict("list") == {"age": [70, 71], "sex": ["f", "m"]}


def test_marks_for_thousands_are_refused_whatever_separates(tmp_path: Path) -> None:
    text = "cost;sex\n794;f\n22,857;m\n78,855;f\n15,791;m\n"
    with pytest.raises(InputError, match="TB-DATA-055"):
        read_file(write(tmp_path / "a.csv", text), "original")


def test_a_small_control_may_lack_all_values_of_a_column() -> None:
    full, without = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "x"]}), None
    for lacking in ({"a": np.nan}, {"b": None}):
        without = full.assign(**lacking)
        assert [c.name for c in encode(full, full, without).original.columns] == ["a", "b"]


def test_a_column_without_a_value_is_left_out_and_listed() -> None:
    full = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "x"]})
    for tables in ((full, full.assign(b=None), full), (full.assign(b=None), full, None)):
        made = encode(*tables)
        assert [c.name for c in made.original.columns] == ["a"]
        assert [(d.name, d.kind, d.gaps) for d in made.described] == [("a", "number", 0), ("b", "empty", 1)]


def test_persons_are_the_same_with_and_without_leading_zeros() -> None:
    frame = pd.DataFrame({"pid": ["0007", "0012"], "a": [1, 2]})
    other = pd.DataFrame({"pid": ["7", "99"], "a": [1, 2]})
    frames = encode(frame, frame, other, Meta("pid"))
    assert frames.control is not None
    assert set(frames.original.persons) & set(frames.control.persons) == {"7"}


@pytest.mark.parametrize(
    "ids", [[1 + 2j, 2 + 3j, 3j], [1.5, 2.5, 3.5], [b"a", b"b", b"c"], [True, False, True]], ids=str
)
def test_persons_of_any_type_are_searched(ids: list[object]) -> None:
    from testbed.harness.release.evaluate import evaluate

    frame = pd.DataFrame({"pid": ids, "x": [1.0, 2.0, 3.0], "y": ["a", "b", "b"]})
    assert evaluate(frame, frame, person="pid", attacks=5).result.findings


def test_what_is_no_attribute_may_be_coded_anew(tmp_path: Path) -> None:
    """A release has persons of its own, several rows each, and wards of its own that are dropped."""
    from testbed.harness.release.evaluate import evaluate

    rng = np.random.default_rng(0)
    made = [
        pd.DataFrame(
            {"pid": np.repeat([f"{c}{i}" for i in range(60)], 4), "ward": [c] * 240, "x": rng.normal(size=240).round(2)}
        )
        for c in "abc"
    ]
    kinds = {"ward": "drop"}
    found = evaluate(made[0], made[1], made[2], person="pid", kinds=kinds, attacks=50)
    assert found.result.decision.verdict in ("pass", "review")
