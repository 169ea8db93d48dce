"""The same people in another spelling: the encoded tables are equal, so no verdict can depend on the spelling."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from testbed.core import Table
from testbed.data.tables.encode import Frames, encode
from testbed.harness.release.evaluate import evaluate

EPOCH = datetime.datetime(1970, 1, 1)
MONTHS = {
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "sv": "jan feb mars apr maj juni juli aug sep okt nov dec",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "pl": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "fi": "tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesäkuuta heinäkuuta elokuuta syyskuuta lokakuuta "
    "marraskuuta joulukuuta",
}


def people(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    pressure = rng.normal(132, 20, n).round()
    return pd.DataFrame(
        {
            "birth": rng.integers(-14600, 11000, n).astype(float),
            "weight": rng.normal(78, 14, n).round(1),
            "creatinine": np.exp(rng.normal(0, 0.35, n)).round(2),
            "cost": rng.gamma(2, 2500, n).round(2) + 100,
            "pressure": pressure,
            "lower": (0.55 * pressure + rng.normal(8, 4, n)).round(),
            "hours": (rng.integers(1, 200, n) + rng.integers(0, 60, n) / 60),
            "sex": rng.choice(["F", "M"], n),
        }
    )


def moved(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    made = frame.copy()
    for name, decimals in (("birth", 0), ("weight", 1), ("creatinine", 2), ("cost", 2), ("pressure", 0), ("lower", 0)):
        made[name] = (frame[name] + rng.normal(0, 0.03 * frame[name].std(), len(frame))).round(decimals)
    made["hours"] = np.abs((frame["hours"] * 60 + rng.integers(-90, 91, len(frame))).round() / 60)
    return made


def dated(form: str | Callable[[datetime.datetime], str]) -> Callable[[float], str]:
    def write(day: float) -> str:
        moment = EPOCH + datetime.timedelta(day)
        return moment.strftime(form) if isinstance(form, str) else form(moment)

    return write


def grouped(decimals: int, group: str, point: str) -> Callable[[float], str]:
    return lambda v: f"{v:,.{decimals}f}".translate(str.maketrans({",": group, ".": point}))


def clocked(hours: float) -> tuple[int, int]:
    return divmod(round(hours * 60), 60)


def comma(decimals: int, unit: str = "") -> Callable[[float], str]:
    return lambda v: f"{v:.{decimals}f}{unit}".replace(".", ",", 1)


def spoken(months: str, form: str = "{d}. {m} {y}") -> Callable[[float], str]:
    return dated(lambda t: form.format(d=t.day, m=months.split()[t.month - 1], y=t.year))


SPELLINGS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    # Numbers.
    "comma and blank groups": ("cost", grouped(2, " ", ",")),
    "no-break blank groups": ("cost", grouped(2, "\u00a0", ",")),
    "thin blank groups": ("cost", grouped(2, "\u202f", ",")),
    "Swiss groups": ("cost", grouped(2, "'", ".")),
    "Swiss typographic groups": ("cost", grouped(2, "’", ".")),
    "German groups": ("cost", grouped(2, ".", ",")),
    "English groups": ("cost", grouped(2, ",", ".")),
    "decimal comma": ("weight", comma(1)),
    "comma and unit": ("weight", comma(1, " kg")),
    "unit without blank": ("weight", lambda v: f"{v:.1f}kg"),
    "unit in upper case": ("weight", lambda v: f"{v:.1f} KG"),
    "mg/dl": ("creatinine", comma(2, " mg/dl")),
    "mg/dL without blank": ("creatinine", lambda v: f"{v:.2f}mg/dL"),
    "UCUM cells": ("creatinine", lambda v: f"{v:.2f} 10*3/uL"),
    "cells in words of a laboratory": ("creatinine", lambda v: f"{v:.2f} x10^9/L"),
    "cells whose superscript was lost": ("creatinine", lambda v: f"{v:.2f} x109/L"),
    "cells with superscripts": ("creatinine", lambda v: f"{v:.2f} × 10⁹/l"),
    "filtration": ("weight", lambda v: f"{v:.1f} mL/min/1.73m2"),
    "micro sign": ("cost", lambda v: f"{v:.2f} µmol/L"),
    "Greek mu": ("cost", lambda v: f"{v:.2f} μmol/L"),
    "mercury": ("pressure", lambda v: f"{v:.0f} mm[Hg]"),
    "mercury in two words": ("pressure", lambda v: f"{v:.0f} mm Hg"),
    "per cent": ("weight", comma(1, " %")),
    "degrees": ("weight", lambda v: f"{v:.1f} °C"),
    "dollars in front": ("cost", lambda v: f"${v:,.2f}"),
    "euros behind": ("cost", grouped(2, ".", ",")),
    "currency code": ("cost", lambda v: f"EUR {v:.2f}"),
    "crowns": ("cost", lambda v: f"{v:.2f} kr".replace(".", ",")),
    "flags behind": ("creatinine", lambda v: f"{v:.2f}{' H' if v > 1.2 else ' L' if v < 0.7 else ''}"),
    "flags in brackets": ("creatinine", lambda v: f"{v:.2f}{' (H)' if v > 1.2 else ''}"),
    "stars": ("creatinine", lambda v: f"{v:.2f}{'*' if v > 1.2 else ''}"),
    "unit and flag": ("creatinine", lambda v: f"{v:.2f} mg/dL{' H' if v > 1.2 else ''}"),
    "about": ("weight", lambda v: f"ca. {v:.1f}"),
    "zeros in front": ("weight", lambda v: f"{v:07.1f}"),
    "sign in front": ("weight", lambda v: f"+{v:.1f}"),
    "quotes": ("weight", lambda v: f'"{v:.1f}"'),
    "blanks around": ("weight", lambda v: f"  {v:.1f} "),
    "range of one tenth": ("weight", lambda v: f"{v - 0.05:.2f}-{v + 0.05:.2f}"),
    "range in words": ("pressure", lambda v: f"{v - 2:.0f} to {v + 2:.0f}"),
    "half-open range": ("pressure", lambda v: f"[{v - 2:.0f}, {v + 2:.0f}["),
    "flag in front": ("weight", lambda v: f"{'*' if v > 80 else ''}{v:.1f}"),
    "arrow in front": ("weight", lambda v: f"{'↑' if v > 80 else ''}{v:.1f}"),
    "reference range behind": ("weight", lambda v: f"{v:.1f} mmol/l (ref 3.5-5.0)"),
    "formula of a spreadsheet": ("weight", lambda v: f'="{v:.1f}"'),
    "apostrophe of a spreadsheet": ("weight", lambda v: f"'{v:.1f}"),
    "yen without decimals": ("pressure", lambda v: f"¥{v:,.0f}"),
    "crowns without cents": ("pressure", lambda v: f"{v:,.0f}:-".replace(",", ".")),
    "underscores": ("cost", lambda v: f"{v:_.2f}"),
    "negative unit powers": ("weight", lambda v: f"{v:.1f} mg·l⁻¹"),
    "log copies": ("creatinine", lambda v: f"{v:.2f} log10 copies/mL"),
    "exponent": ("cost", lambda v: f"{v:.10e}"),
    "exponent with comma": ("cost", lambda v: f"{v:.10e}".replace(".", ",")),
    "quantity as a structure": ("weight", lambda v: {"value": v, "unit": "kg"}),
    "decimal comma with words": ("weight", lambda v: f"{v:.1f}".replace(".", ",")),
    # Durations.
    "hours and minutes": ("hours", lambda v: "{}:{:02}".format(*clocked(v))),
    "hours with their letter": ("hours", lambda v: "{}:{:02} h".format(*clocked(v))),
    "French hours": ("hours", lambda v: "{}h{:02}".format(*clocked(v))),
    # Dates.
    "ISO 8601": ("birth", dated("%Y-%m-%d")),
    "FHIR": ("birth", dated("%Y-%m-%dT00:00:00Z")),
    "FHIR with zone": ("birth", dated("%Y-%m-%dT02:00:00+02:00")),
    "XML Schema": ("birth", dated("%Y-%m-%d+01:00")),
    "not padded": ("birth", dated(lambda t: f"{t.year}-{t.month}-{t.day}")),
    "German": ("birth", dated("%d.%m.%Y")),
    "British": ("birth", dated("%d/%m/%Y")),
    "American": ("birth", dated("%m/%d/%Y")),
    "American with clock": ("birth", dated("%m/%d/%Y 12:00 AM")),
    "two digits": ("birth", dated("%d.%m.%y")),
    "SAS": ("birth", dated(lambda t: t.strftime("%d%b%Y").upper())),
    "SAS DATE7": ("birth", dated(lambda t: t.strftime("%d%b%y").upper())),
    "SAS DATETIME": ("birth", dated(lambda t: t.strftime("%d%b%Y:00:00:00").upper())),
    "Oracle": ("birth", dated(lambda t: t.strftime("%d-%b-%y").upper())),
    "HL7 and DICOM": ("birth", dated("%Y%m%d")),
    "HL7 with time": ("birth", dated("%Y%m%d000000")),
    "e-mail": ("birth", dated("%a, %d %b %Y")),
    "English words": ("birth", dated("%B %d, %Y")),
    "German words": ("birth", spoken(MONTHS["de"])),
    "Swedish words": ("birth", spoken(MONTHS["sv"], "{d} {m} {y}")),
    "French words": ("birth", spoken(MONTHS["fr"], "le {d} {m} {y}")),
    "Polish words": ("birth", spoken(MONTHS["pl"], "{d} {m} {y}")),
    "Spanish words": ("birth", spoken(MONTHS["es"], "{d} de {m} de {y}")),
    "Finnish words": ("birth", spoken(MONTHS["fi"])),
    "German day of the week": (
        "birth",
        dated(lambda t: f"{('Mo', 'Di', 'Mi', 'Do', 'Fr', 'Sa', 'So')[t.weekday()]}, {t:%d.%m.%Y}"),
    ),
    "program log": ("birth", dated("%a %b %d 00:00:00 CET %Y")),
    "camera": ("birth", dated("%Y:%m:%d")),
    "German time": ("birth", dated("%d.%m.%Y um 00:00 Uhr")),
    "Oracle TIMESTAMP": ("birth", dated(lambda t: t.strftime("%d-%b-%y 12.00.00.000000 AM").upper())),
    "HL7 with zone": ("birth", dated("%Y%m%d010000+0100")),
    "six digits": ("birth", dated("%y%m%d")),
    "day first in eight digits": ("birth", dated("%d%m%Y")),
    "month first in eight digits": ("birth", dated("%m%d%Y")),
    "doubted": ("birth", dated("%Y-%m-%d?")),
    "ordinals": ("birth", dated(lambda t: f"{t.day}{'st' if t.day == 1 else 'th'} of {t:%B %Y}")),
    "ISO week and day": ("birth", dated("%G-W%V-%u")),
    "day of the year": ("birth", dated("%Y-%j")),
    "dates in Parquet": ("birth", lambda day: (EPOCH + datetime.timedelta(day)).date()),
}
"""The column, and how one of its cells is written."""
PAIRS: dict[str, Callable[[float, float], Any]] = {
    "pressure": lambda a, b: f"{a:.0f}/{b:.0f}",
    "pressure with its unit": lambda a, b: f"{a:.0f} / {b:.0f} mmHg",
    "over": lambda a, b: f"{a:.0f} over {b:.0f}",
    "place": lambda a, b: f"{a:.5f}, {b:.5f}",
    "place without blank": lambda a, b: f"{a:.5f},{b:.5f}",
    "place in brackets": lambda a, b: f"({a:.4f}; {b:.4f})",
    "place in words": lambda a, b: f"{a:.4f}° N, {b:.4f}° E",
    "point": lambda a, b: f"POINT({a:.4f} {b:.4f})",
    "decimal commas": lambda a, b: f"{a:.1f} / {b:.1f}".replace(".", ","),
    "times": lambda a, b: f"{a:.0f} x {b:.0f}",
    "ratio": lambda a, b: f"{a:.0f}:{b + 100:.0f}" if b else "",
    "list": lambda a, b: [a, b],
}

ORIGINAL, CONTROL = people(200, 1), people(200, 2)
RELEASE = moved(ORIGINAL, 3)
TABLES = (ORIGINAL, RELEASE, CONTROL)


def numbers(table: Table, name: str) -> np.ndarray[Any, Any]:
    place = [c.name for c in table.columns].index(name)
    assert table.columns[place].kind == "numeric"
    return table.values[place]


def spelt(frame: pd.DataFrame, name: str, write: Callable[[Any], Any]) -> pd.DataFrame:
    return frame.assign(**{name: pd.Series([write(v) for v in frame[name]], dtype=object)})


def tables(frames: Frames) -> tuple[Table, Table, Table]:
    assert frames.control is not None
    return frames.original, frames.synthetic, frames.control


@pytest.mark.parametrize("name", SPELLINGS)
def test_numbers_and_dates_are_the_same_in_every_spelling(name: str) -> None:
    column, write = SPELLINGS[name]
    read = encode(*(spelt(frame, column, write) for frame in TABLES))
    for table, frame in zip(tables(read), TABLES, strict=True):
        assert numbers(table, column) == pytest.approx(frame[column].to_numpy(), rel=1e-9, abs=1e-6)
    assert not [d for d in read.described if d.flags]


@pytest.mark.parametrize("name", [n for n, (column, _) in SPELLINGS.items() if column != "birth"])
@pytest.mark.parametrize("role", [0, 1])
def test_one_table_may_be_written_in_plain_numbers(name: str, role: int) -> None:
    column, write = SPELLINGS[name]
    frames = [spelt(frame, column, write) if i != role else frame for i, frame in enumerate(TABLES)]
    for table, frame in zip(tables(encode(*frames)), TABLES, strict=True):
        assert numbers(table, column) == pytest.approx(frame[column].to_numpy(), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("name", [n for n, (column, _) in SPELLINGS.items() if column == "birth"])
@pytest.mark.parametrize("other", ["ISO 8601", "dates in Parquet", "HL7 and DICOM"])
def test_two_tables_may_write_dates_in_two_ways(name: str, other: str) -> None:
    write, otherwise = SPELLINGS[name][1], SPELLINGS[other][1]
    frames = [spelt(frame, "birth", write if i else otherwise) for i, frame in enumerate(TABLES)]
    for table, frame in zip(tables(encode(*frames)), TABLES, strict=True):
        assert numbers(table, "birth") == pytest.approx(frame["birth"].to_numpy())


@pytest.mark.parametrize("name", PAIRS)
def test_several_numbers_in_a_cell_are_several_columns(name: str) -> None:
    write = PAIRS[name]
    frames = [
        frame.drop(columns=["pressure", "lower"]).assign(
            bp=pd.Series([write(a, b) for a, b in zip(frame["pressure"], frame["lower"], strict=True)], dtype=object)
        )
        for frame in TABLES
    ]
    read = encode(*frames)
    assert read.parts == {"bp": ("bp (1)", "bp (2)")}
    assert read.named(["sex", "bp"]) == ["sex", "bp (1)", "bp (2)"]
    for table, frame in zip(tables(read), TABLES, strict=True):
        assert numbers(table, "bp (1)") == pytest.approx(frame["pressure"].to_numpy())
        assert numbers(table, "bp (2)") - 100 * (name == "ratio") == pytest.approx(frame["lower"].to_numpy())


LETTERS = list("ABCDEFGHIJKLMNOPRSTUVZ")


def codes(n: int = 400) -> dict[str, list[str]]:
    """What looks like numbers and is none."""
    rng = np.random.default_rng(5)
    one, two, three = rng.choice(LETTERS, n), rng.integers(10, 99, n), rng.integers(0, 9, n)
    return {
        "ICD-10": [f"{a}{b}.{c}" for a, b, c in zip(one, two, three, strict=True)],
        "ICD-10 of one chapter": [f"I{b}.{c % 3}" for b, c in zip(two, three, strict=True)],
        "wards": [f"W{b}" for b in two],
        "rooms": [f"{b}{a}" for a, b in zip(rng.choice(list("ABC"), n), two, strict=True)],
        "record numbers": [f"MRN-{b:08d}" for b in rng.integers(0, 10**8, n)],
        "subjects": [f"{a:02d}-{b:03d}" for a, b in zip(rng.integers(1, 20, n), rng.integers(1, 200, n), strict=True)],
        "serials": [f"{b}-{c:03d}" for b, c in zip(two, rng.integers(100, 999, n), strict=True)],
        "telephone": [f"070-{c:03d} {b} {b}" for b, c in zip(two, rng.integers(0, 999, n), strict=True)],
        "social security": [f"{c:03d}-{b}-{c:04d}" for b, c in zip(two, rng.integers(100, 999, n), strict=True)],
        "addresses": [
            f"{a}straße {b}" for a, b in zip(rng.choice(["Garten", "Haupt", "Bahnhof"], n), two, strict=True)
        ],
        "addresses on the internet": [f"10.{b}.{c}.{b}" for b, c in zip(two, three, strict=True)],
        "object identifiers": [f"1.2.840.{b * 1000 + c}.{c}" for b, c in zip(two, three, strict=True)],
        "stages": [f"T{b % 5}N{c % 4}M{c % 2}" for b, c in zip(two, three, strict=True)],
        "postcodes of Britain": [f"{a}{c} {c}{a}B" for a, c in zip(one, three, strict=True)],
        "laboratory codes": [f"{b * 431}-{c}" for b, c in zip(two, three, strict=True)],
        "dipsticks": [("neg", "+", "++", "1+", "2+")[c % 5] for c in three],
        "notes": [
            f"Seen on day {b} with pressure {c} and sent home in good state" for b, c in zip(two, three, strict=True)
        ],
    }


CODES = codes()


@pytest.mark.parametrize("name", CODES)
def test_codes_stay_categories(name: str) -> None:
    frame = pd.DataFrame({"code": CODES[name]})
    assert [c.kind for c in encode(frame, frame).original.columns] == ["categorical"]


COMBINED = {
    "German": ["German groups", "comma and unit", "mg/dL without blank", "German words", "hours and minutes"],
    "English": ["dollars in front", "unit without blank", "unit and flag", "American with clock", "mercury"],
    "UCUM and HL7": ["comma and blank groups", "UCUM cells", "HL7 with time", "half-open range", "French hours"],
    "statistics": ["exponent with comma", "zeros in front", "SAS", "flags behind", "yen without decimals"],
    "FHIR": ["quantity as a structure", "FHIR with zone", "flags in brackets", "currency code", "range in words"],
}
SIZE = 300


@pytest.mark.parametrize("name", [n if n == "German" else pytest.param(n, marks=pytest.mark.slow) for n in COMBINED])
def test_moved_people_fail_and_fresh_people_do_not_in_every_spelling(name: str) -> None:
    """The same verdict and the same numbers as in plain numbers."""
    original, control, fresh = people(SIZE, 11), people(SIZE, 12), people(SIZE, 13)
    frames = [original, moved(original, 14), control, fresh]
    for one in COMBINED[name]:
        column, write = SPELLINGS[one]
        frames = [spelt(frame, column, write) for frame in frames]
    for released, verdicts in ((1, {"fail"}), (3, {"pass", "review"})):
        result = evaluate(frames[0], frames[released], frames[2], attacks=150, data_class="public").result
        assert result.decision.verdict in verdicts
        linked = next(f for f in result.findings if f.primary and f.risk == "linkability")
        assert (linked.excess.value > 0.5) == (released == 1)  # type: ignore[union-attr]
        assert not any(
            {"kind_in_doubt", "units_differ", "numbers_apart"} & set(f.validity.flags) for f in result.findings
        )


@pytest.mark.parametrize(
    "written",
    ["ward{}@example.org", "https://example.org/p/{}", "Patient/{}", "Person {}", "pat{}@ex.org", "Case no. {}"],
)
def test_what_numbers_people_is_not_read_as_a_number(written: str) -> None:
    tables = [pd.DataFrame({"x": [written.format(7 * i + k) for i in range(80)], "y": range(80)}) for k in range(3)]
    assert encode(*tables).described[0].kind == "category"
