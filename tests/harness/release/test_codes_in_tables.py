"""One absurd value a column, or a code for missing, moves no deciding figure of a bundled table beyond its sampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import pandas as pd
import pytest

from testbed.attacks.registry import Attack
from testbed.core import Array, Claim, Predicates, Release
from testbed.data import load_table
from testbed.data.tables.encode import encode
from testbed.findings.schema import Estimate
from testbed.harness.release import attribute_inference, membership, singling_out
from testbed.harness.release.linkability import linkability
from testbed.harness.release.setting import Setting

NAMES = {"support2": ["sno"], "thyroid": ["patient_id"], "framingham": ["RANDID", "PERIOD", "TIME", "HDLC", "LDLC"]}
"""The tables, each with the columns that are left out: they number people, or are empty for nearly all."""
PEOPLE, CONTROL = 700, 2000
"""People of the original and of the release, and people of the control: enough for membership to decide."""
MOVED = 0.03
"""Of a standard deviation: half of the released people are original people whose numbers were moved by so much."""
MANY, SECRETS = 12, 4
"""A column that gets codes has more distinct numbers than the first; so many of these columns are the secrets."""
WIDER = 2.576 / 1.645
"""From the bounds of an excess (each with 95 % confidence) to an interval of 99 %: there are some 200 comparisons."""
Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


@cache
def people(name: str) -> Tables:
    """Original, release and control; the release holds half of the original's people, moved, and as many others."""
    table = load_table(name)
    if name == "framingham":
        table = table[table["PERIOD"] == 1]  # one visit of each person
    table = table.drop(columns=NAMES[name]).sample(frac=1, random_state=0).reset_index(drop=True)
    table = table.astype(dict.fromkeys(measured(table), float))
    parts = np.split(np.arange(2 * PEOPLE + CONTROL), [PEOPLE, PEOPLE + CONTROL])
    original, control, fresh = (table.iloc[rows].reset_index(drop=True) for rows in parts)
    half, rng = PEOPLE // 2, np.random.default_rng(1)
    release = pd.concat([original.head(half), fresh.iloc[half:]], ignore_index=True)
    for column in measured(table):
        width = table[column].quantile(0.95) - table[column].quantile(0.05)
        digits = 3 if width < 10 else 1
        noise = (MOVED * width / 3.3 * rng.normal(size=half)).round(digits)
        moved = (release[column].head(half) + noise).clip(table[column].min(), table[column].max())
        release.loc[: half - 1, column] = moved.round(digits)
    return original, release, control


def measured(table: pd.DataFrame) -> list[str]:
    return [c for c in table if pd.api.types.is_numeric_dtype(table[c]) and table[c].nunique() > MANY]


def outside(tables: Tables, code: float) -> list[str]:
    """The columns in whose range a code does not lie, so that it says something there."""
    together = pd.concat(tables)
    return [c for c in measured(tables[0]) if not together[c].min() <= code <= together[c].max()]


@cache
def holes(share: float) -> tuple[Array, Array, Array]:
    """Which cells are missing: a released row lacks the cells that its original lacks."""
    rng = np.random.default_rng(5)
    original, control = rng.random((PEOPLE, 60)) < share, rng.random((CONTROL, 60)) < share
    return original, original, control


def with_codes(tables: Tables, share: float, codes: Callable[[int, int], float], columns: list[str]) -> Tables:
    """The tables with codes in a share of cells; `codes` gives it by the places of column and table."""
    coded = []
    for place, (table, missing) in enumerate(zip(tables, holes(share), strict=True)):
        table = table.copy()
        for j, column in enumerate(columns):
            table[column] = table[column].mask(missing[:, j], codes(j, place))
        coded.append(table)
    return coded[0], coded[1], coded[2]


class Deciding(Setting):
    """A setting in which only the attacks that may decide are run."""

    def attacks(self, claim: type[Claim]) -> list[Attack]:
        return Setting.attacks(self, claim)[: 2 if claim is Predicates else 1]


def excesses(tables: Tables) -> dict[str, Estimate]:
    frames = encode(*tables)
    setting = Deciding(frames.original, frames.control, Release(frames.synthetic), None, 0, lambda _: None)
    judged = [
        *singling_out.singling_out(setting),
        *linkability(setting, ())[:1],
        *attribute_inference.attribute_inference(setting, measured(tables[0])[:SECRETS]).judged[:1],
        *membership.membership(setting)[:1],
    ]
    found = {j.finding.risk: j.finding.excess for j in judged if j.finding.primary}
    return {risk: excess for risk, excess in found.items() if isinstance(excess, Estimate)}


def assert_unmoved(found: Mapping[str, Estimate], clean: Mapping[str, Estimate]) -> None:
    assert found.keys() == clean.keys()
    for risk, excess in found.items():
        before = clean[risk]
        low, high = (before.value + WIDER * (bound - before.value) for bound in (before.low, before.high))
        assert low <= excess.value <= high, (risk, before.value, excess.value)


@cache
def clean(name: str) -> dict[str, Estimate]:
    return excesses(people(name))


def odd(tables: Tables, value: float) -> Tables:
    """One absurd value in each column of each table, in rows that do not belong together."""
    changed = []
    for place, table in enumerate(tables):
        table = table.copy()
        for j, column in enumerate(measured(table)):
            table.loc[400 + 20 * place + j, column] = value
        changed.append(table)
    return changed[0], changed[1], changed[2]


@pytest.mark.slow
@pytest.mark.parametrize("value", [999999.0, -1e9])
@pytest.mark.parametrize("name", NAMES)
def test_one_absurd_value_a_column_moves_no_deciding_figure(name: str, value: float) -> None:
    assert_unmoved(excesses(odd(people(name), value)), clean(name))


def as_clean(name: str, share: float, code: float) -> None:
    tables = people(name)
    coded = with_codes(tables, share, lambda *_: code, outside(tables, code))
    assert_unmoved(excesses(coded), clean(name))


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.01, 0.07, 0.15])
@pytest.mark.parametrize("code", [999.0, 99999.0, -1.0, 0.0])
@pytest.mark.parametrize("name", NAMES)
def test_a_code_for_missing_moves_no_deciding_figure(name: str, code: float, share: float) -> None:
    as_clean(name, share, code)


def test_zeros_in_a_fifteenth_of_the_cells_of_a_bundled_table_move_no_deciding_figure() -> None:
    as_clean("framingham", 0.07, 0.0)


DIFFERENT = [999.0, -9.0, 99999.0, 0.0, 888.0]
KINDS: dict[str, Callable[[int, int], float]] = {
    "another code in each column": lambda column, _: DIFFERENT[column % len(DIFFERENT)],
    "a code in the original alone": lambda _, table: 99999.0 if table == 0 else np.nan,
    "9999 in the original, 0 in the release": lambda _, table: (9999.0, 0.0, 9999.0)[table],
    "9998 and 9999": lambda column, _: (9998.0, 9999.0)[column % 2],
    "an absurd negative": lambda *_: -99999.0,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_other_ways_of_writing_a_missing_cell_move_no_deciding_figure(name: str, kind: str) -> None:
    tables = people(name)
    codes = {0.0, 999.0, -9.0, 888.0, 99999.0, 9999.0, 9998.0, -99999.0}
    columns = [c for c in outside(tables, 999.0) if all(c in outside(tables, code) for code in codes)]
    assert_unmoved(excesses(with_codes(tables, 0.07, KINDS[kind], columns)), clean(name))


@pytest.mark.slow
@pytest.mark.parametrize("code", [None, 99999.0])
def test_a_release_rounded_to_tens_keeps_its_numbers(code: float | None) -> None:
    original, release, control = people("framingham")
    if code:
        original, release, control = with_codes(people("framingham"), 0.07, lambda *_: code, ["BMI", "SYSBP"])
    release = release.assign(**{c: release[c].round(-1) for c in measured(release)})
    frames = encode(original, release, control)
    for column, values in zip(frames.synthetic.columns, frames.synthetic.values, strict=True):
        empty = release[column.name].isna() | (release[column.name] == 100000)
        if column.kind == "numeric":
            assert (np.isnan(values) == empty).all(), column.name
