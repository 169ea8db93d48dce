"""Generalised releases, and units and codings that do not meet: compared at the release's level, converted, or told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from testbed.core.errors import InputError
from testbed.data.datasets.load import load_table
from testbed.data.tables.apart import hardly_meet
from testbed.data.tables.described import SUPPRESSED
from testbed.data.tables.encode import Frames, Meta, encode
from testbed.harness.release.evaluate import evaluate

RNG = np.random.default_rng(7)
AGES = RNG.integers(18, 95, 400)
DAYS = pd.Timestamp("1930-01-01") + pd.to_timedelta(RNG.integers(0, 27000, 400), "D")
ICD = [f"{RNG.choice(list('CEIJ'))}{RNG.integers(10, 30)}.{RNG.integers(0, 10)}" for _ in range(400)]


def two(original: object, released: object, meta: Meta | None = None) -> Frames:
    return encode(pd.DataFrame({"a": original}), pd.DataFrame({"a": released}), meta=meta)


def values(frames: Frames) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    return frames.original.values[0], frames.synthetic.values[0]


def fives(age: int, form: str) -> str:
    low = age // 5 * 5
    return form.format(low=low, high=low + 4, end=low + 5)


@pytest.mark.parametrize(
    ("form", "middle"),
    [
        ("{low}-{high}", 2.0),
        ("{low} to {high}", 2.0),
        ("[{low}, {end}[", 2.5),
        ("[{low},{end})", 2.5),
        ("{low}–{high} y", 2),
    ],
)
def test_people_are_compared_in_the_bands_of_the_release(form: str, middle: float) -> None:
    frames = two(AGES, [fives(a, form) for a in AGES])
    original, released = values(frames)
    assert released == pytest.approx(AGES // 5 * 5 + middle)
    assert (original == released).all()
    assert "bands" in frames.described[0].notes[0]


def test_a_band_that_is_open_below_holds_its_upper_end() -> None:
    ages = np.arange(20, 60, dtype=float)
    frames = two(ages, [f"({5 * ((a - 1) // 5):.0f}, {5 * ((a - 1) // 5) + 5:.0f}]" for a in ages])
    original, released = values(frames)
    assert (original == released).all()


def test_bands_with_open_ends() -> None:
    def band(age: int) -> str:
        return "<40" if age < 40 else "80+" if age >= 80 else f"{age // 10 * 10}-{age // 10 * 10 + 9}"

    original, released = values(two(AGES, [band(a) for a in AGES]))
    assert (original == released).all()
    assert sorted(set(released.tolist())) == [40, 44.5, 54.5, 64.5, 74.5, 80]


def test_numbers_at_a_limit_of_detection_are_no_bands() -> None:
    lab = RNG.lognormal(size=400).round(2)
    original, _ = values(two(lab, [f"{v}" if v > 0.5 else "<0.5" for v in lab]))
    assert original.tolist() == lab.tolist()


def test_overlapping_bands_are_compared_by_their_middles() -> None:
    original, released = values(two(AGES, [f"{a - 3}-{a + 3}" for a in AGES]))
    assert (original == AGES).all()
    assert (released == AGES).all()


@pytest.mark.parametrize(("form", "exact"), [("%Y-%m", "month"), ("%Y", "year"), ("%m/%Y", "month")])
def test_dates_are_compared_as_exactly_as_the_release_writes_them(form: str, exact: str) -> None:
    frames = two(DAYS.strftime("%Y-%m-%d"), DAYS.strftime(form))
    original, released = values(frames)
    assert frames.original.columns[0].date
    assert (original == released).all()
    assert exact in frames.described[0].notes[0]


def test_years_in_numbers_beside_dates_are_dates() -> None:
    frames = two(DAYS.strftime("%Y-%m-%d"), DAYS.year)
    assert frames.original.columns[0].date
    assert np.equal(*values(frames)).all()


def test_shortened_dates_are_the_middle_of_their_month_or_year() -> None:
    written = [d.strftime(("%Y-%m-%d", "%Y-%m", "%Y")[i % 3 if i % 10 < 3 else 0]) for i, d in enumerate(DAYS)]
    frames = two(written, written)
    day = np.asarray((DAYS - pd.Timestamp(0)) / pd.Timedelta(days=1))
    assert frames.original.columns[0].date
    assert np.abs(values(frames)[0] - day).max() <= 183
    assert not np.isnan(values(frames)[0]).any()


@pytest.mark.parametrize(
    ("original", "released"),
    [
        (ICD, [c[:3] for c in ICD]),
        (ICD, [f"{c[:3]}.*" for c in ICD]),
        (ICD, [f"{c[:3]}.x" for c in ICD]),
        ([20000 + 7 * a for a in AGES], [f"{20000 + 7 * a}"[:3] + "**" for a in AGES]),
        ([("Male", "Female")[a % 2] for a in AGES], [("M", "F")[a % 2] for a in AGES]),
    ],
)
def test_codes_are_compared_as_short_as_the_release_writes_them(original: list[object], released: list[object]) -> None:
    frames = two(original, released)
    assert frames.original.columns[0].kind == "categorical"
    assert np.equal(*values(frames)).all()
    assert frames.described[0].notes


def test_suppressed_cells_are_gaps() -> None:
    hidden = AGES % 3 == 0
    ages, wards = AGES.astype(str).astype(object), np.array([f"ward {'abc'[a % 3]}" for a in AGES], object)
    for column in (ages, wards):
        released = np.where(hidden, "*", column)
        frames = two(AGES if column is ages else column, released)
        gaps = values(frames)[1]
        gaps = np.isnan(gaps) if column is ages else gaps == -1
        assert (gaps == hidden).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda v: f"{v:.6f} kg", lambda v: f"{v * 2.20462262185:.6f} lb"),
        (lambda v: f"{v:.6f} mg/dl", lambda v: f"{v / 100:.8f} g/L"),
        (lambda v: f"{v:.6f} °C", lambda v: f"{v * 9 / 5 + 32:.6f} °F"),
        (lambda v: f"{v:.6f} mmHg", lambda v: f"{v * 0.133322387415:.8f} kPa"),
        (lambda v: f"{v:.6f} 10*9/L", lambda v: f"{v:.6f} 10^3/uL"),
        (lambda v: f"{v:.6f} µmol/l", lambda v: f"{v / 1000:.9f} mmol/L"),
        (lambda v: f"{v:.6f} y", lambda v: f"{v * 12:.6f} months"),
        (lambda v: f"{v:.6f} cm", lambda v: f"{v / 2.54:.6f} in"),
        (lambda v: f"{v:.6f} h", lambda v: f"{v * 60:.6f} Minuten"),
    ],
)
def test_units_that_a_factor_brings_together_are_converted(one: object, other: object) -> None:
    assert callable(one)
    assert callable(other)
    numbers = RNG.normal(78, 14, 200).round(1)
    frames = two([one(v) for v in numbers], [other(v) for v in numbers])
    assert values(frames)[0] == pytest.approx(numbers, abs=1e-4)
    assert values(frames)[1] == pytest.approx(numbers, abs=1e-4)
    assert not frames.described[0].flags
    mixed = [one(v) if i % 3 else other(v) for i, v in enumerate(numbers)]
    assert values(two(mixed, mixed))[0] == pytest.approx(numbers, abs=1e-4)


@pytest.mark.parametrize("other", ["mmol/L", "EUR", "points"])
def test_units_that_no_factor_brings_together_are_a_flag(other: str) -> None:
    numbers = RNG.normal(78, 14, 200).round(1)
    told = two([f"{v} mg/dL" for v in numbers], [f"{v} {other}" for v in numbers]).described[0]
    assert told.kind == "number"
    assert "units_differ" in told.flags


def lab(seed: int, n: int = 400) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).normal(78, 14, n)


@pytest.mark.parametrize("factor", [2.2046, 88.4, 0.001, 0.1])
def test_numbers_that_hardly_meet_are_told(factor: float) -> None:
    assert hardly_meet({"original": lab(1), "control": lab(2), "synthetic": factor * lab(3)})
    long_tailed = {
        role: np.exp(1.2 * (lab(i) - 78) / 14) for i, role in enumerate(("original", "control", "synthetic"))
    }
    assert hardly_meet({**long_tailed, "synthetic": factor * long_tailed["synthetic"]})


def test_numbers_of_a_poor_generator_or_a_drifting_column_meet() -> None:
    assert not hardly_meet({"original": lab(1), "control": lab(2), "synthetic": lab(3)})
    assert not hardly_meet({"original": lab(1), "control": lab(2), "synthetic": 1.3 * lab(3)})
    serial = np.arange(400.0)
    assert not hardly_meet({"original": serial, "control": serial + 400, "synthetic": serial + 800})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Yes", "No"), (1, 0)),
        (("ja", "nein"), ("J", "N")),
        ((True, False), ("true", "false")),
        (("Y", "N"), (True, False)),
    ],
)
def test_yes_and_no_are_the_same_however_they_are_written(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    frames = two([one[a % 2] for a in AGES], [other[a % 2] for a in AGES])
    assert np.equal(*values(frames)).all()


@pytest.mark.parametrize("share", [1.0, 0.95, 0.4])
def test_codes_without_their_dots_are_the_same(share: float) -> None:
    released = [c.replace(".", "") if i < share * 400 else c for i, c in enumerate(ICD)]
    frames = two(ICD, released)
    assert np.equal(*values(frames)).all()
    assert "punctuation" in frames.described[0].notes[0]


def test_codes_whose_dots_tell_them_apart_stay_apart() -> None:
    codes = ["1.23", "12.3", "1.2.3", "12.34", "1.234"] * 20
    assert len(set(values(two(codes, codes))[0].tolist())) == 5


def test_the_meta_file_maps_values_and_the_report_says_so() -> None:
    original, released = [f"[{1 + a % 2}] {('Male', 'Female')[a % 2]}" for a in AGES], [1 + a % 2 for a in AGES]
    with pytest.raises(InputError, match="TB-DATA-046"):
        two(original, released)
    meta = Meta(maps={"a": {"[1] Male": 1, "[2] Female": 2}})
    frames = two(original, released, meta)
    assert np.equal(*values(frames)).all()
    assert frames.described[0].notes == ("values were mapped by the meta file",)


def test_no_pass_survives_numbers_that_hardly_meet() -> None:
    tables = [
        pd.DataFrame({"weight": lab(i), "x": lab(i + 10), "sex": np.random.default_rng(i).choice(["F", "M"], 400)})
        for i in range(3)
    ]
    tables[1]["weight"] *= 2.2046
    result = evaluate(*tables, attacks=60, data_class="public").result
    assert result.decision.verdict == "review"
    assert all("numbers_apart" in f.validity.flags for f in result.findings if f.primary)
    assert [bool(c.notes) for c in result.subject.table] == [True, False, False]


def test_a_secret_and_a_link_may_name_a_column_of_pairs() -> None:
    rng = np.random.default_rng(0)
    tables = [
        pd.DataFrame(
            {
                "bp": [f"{a}/{b}" for a, b in rng.integers(60, 180, (300, 2))],
                "x": rng.normal(size=300),
                "y": rng.normal(size=300),
            }
        )
        for _ in range(3)
    ]
    done = evaluate(*tables, attacks=60, data_class="public", secrets=["bp"], links=[(["bp"], ["x", "y"])])
    assert {"bp (1)", "bp (2)"} <= {c.name for c in done.result.subject.table}


@pytest.mark.parametrize("name", ["breast-cancer", "framingham", "heart", "pbc2", "support2", "thyroid"])
def test_bundled_tables_raise_no_flag_and_nothing_is_done_to_them(name: str) -> None:
    frame = load_table(name)
    frame = frame.sample(min(len(frame), 1500), random_state=0)
    parts = [frame.iloc[i::3].reset_index(drop=True) for i in range(3)]
    told = encode(parts[0], parts[1], parts[2]).described
    assert [d.name for d in told] == frame.columns.tolist()
    assert not [d.name for d in told if d.flags or d.notes]


@pytest.mark.parametrize("sign", ["*", "***", "Any", "(suppressed)", "all"])
@pytest.mark.parametrize("column", ["weight", "born", "mode", "time"])
def test_a_column_that_the_release_suppresses_in_every_row_is_left_out(column: str, sign: str) -> None:
    rng = np.random.default_rng(0)

    def people() -> pd.DataFrame:
        days = pd.Timestamp("1990-01-01") + pd.to_timedelta(rng.integers(0, 9000, 60), "D")
        return pd.DataFrame(
            {
                "weight": rng.normal(3500, 400, 60).round(),
                "born": days.strftime("%Y-%m-%d"),
                "mode": rng.choice(["vaginal", "planned", "urgent"], 60),
                "time": [
                    f"{h:02d}:{m:02d}" for h, m in zip(rng.integers(0, 24, 60), rng.integers(0, 60, 60), strict=True)
                ],
            }
        )

    frames = encode(people(), people().assign(**{column: sign}), people())
    assert column not in [c.name for c in frames.original.columns]
    told = next(d for d in frames.described if d.name == column)
    assert (told.kind, told.notes) == ("empty", (SUPPRESSED,))


def test_a_released_word_that_the_original_holds_is_no_suppression() -> None:
    original = pd.DataFrame({"sex": ["f", "m"] * 20, "age": range(40)})
    frames = encode(original, original.assign(sex="F"), original)
    assert [c.name for c in frames.original.columns] == ["sex", "age"]
