"""Generated stays in a hospital as a table, and the candidate releases that an exercise makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pandas as pd

from testbed.core import Array

WARDS, SHARES = ("medicine", "surgery", "cardiology", "lung", "stroke"), (0.35, 0.25, 0.2, 0.12, 0.08)
DIAGNOSES = ("sepsis", "pneumonia", "heart failure", "fracture")
DATES = ("admitted", "operated", "discharged")
SERIES = tuple(f"crp_{day}" for day in range(1, 9))
"""C-reactive protein on eight days: a series, as in most hospitals' tables."""
NUMBERS = ("age", "systolic", *SERIES)
LOGARITHMIC = (*SERIES, "wait", "stay")
"""What varies by factors: `wait` and `stay` are the days between the dates."""
FIRST_DAY = np.datetime64("2021-01-01")
YEARS = 3
LARGEST_MOVE = 300
"""Days by which the dates of one person are moved at most."""
Recipe: TypeAlias = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]
"""`(original, rng) -> release`, of as many rows."""


def stays(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """One stay of each of `n` generated patients. None of them exists."""
    age = np.clip(rng.gamma(9, 7, n), 18, 98).round()
    severe = rng.normal(0, 1, n) + (age - 60) / 30
    wait = np.exp(rng.normal(1.2, 0.8, n))
    stay = np.exp(rng.normal(2.0, 0.7, n) + 0.2 * severe)
    level = np.exp(rng.normal(3.2, 0.7, n) + 0.3 * severe)
    trend = rng.normal(-0.15, 0.2, n)
    crp = [level * np.exp(trend * day + rng.normal(0, 0.25, n)) for day in range(len(SERIES))]
    doubtful = severe + rng.normal(0, 0.7, n) > 0.9
    diagnosis = np.where(doubtful, DIAGNOSES[0], rng.choice(DIAGNOSES[1:], n, p=[0.35, 0.3, 0.35]))
    numbers = {"age": age, "systolic": rng.normal(130, 16, n) + 0.2 * (age - 60), **dict(zip(SERIES, crp, strict=True))}
    words = {"sex": rng.choice(["f", "m"], n), "ward": rng.choice(WARDS, n, p=SHARES), "diagnosis": diagnosis}
    return written(words, numbers, rng.uniform(0, 365 * YEARS, n), wait, stay)


def written(words: dict[str, Array], numbers: dict[str, Array], begin: Array, wait: Array, stay: Array) -> pd.DataFrame:
    """The table as a hospital writes it: whole years and pressures, one decimal of CRP, ISO dates."""
    admitted = FIRST_DAY + np.asarray(begin).round().astype("timedelta64[D]")
    operated = admitted + np.clip(wait, 0, 60).round().astype("timedelta64[D]")
    discharged = operated + np.clip(stay, 1, 120).round().astype("timedelta64[D]")
    table = pd.DataFrame({"sex": words["sex"], "age": np.clip(numbers["age"], 18, 98).round().astype(int)})
    table["ward"], table["diagnosis"] = words["ward"], words["diagnosis"]
    for name, day in zip(DATES, (admitted, operated, discharged), strict=True):
        table[name] = np.datetime_as_string(day, unit="D")
    table["systolic"] = np.clip(numbers["systolic"], 70, 230).round().astype(int)
    for name in SERIES:
        table[name] = np.clip(numbers[name], 0.3, 600).round(1)
    return table


def parts(table: pd.DataFrame) -> tuple[dict[str, Array], dict[str, Array], Array, Array, Array]:
    """The words, the numbers, and the days of a table: since the first day, until the operation, until discharge."""
    days = [(table[c].to_numpy(dtype="datetime64[D]") - FIRST_DAY).astype(np.int64).astype(float) for c in DATES]
    words = {c: table[c].to_numpy() for c in ("sex", "ward", "diagnosis")}
    return words, {c: table[c].to_numpy(float) for c in NUMBERS}, days[0], days[1] - days[0], days[2] - days[1]


def fitted(original: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """A table drawn from a normal distribution for each diagnosis, fitted to the original: it holds nobody's row."""
    words, numbers, begin, wait, stay = parts(original)
    columns = {**numbers, "begin": begin, "wait": wait + 0.5, "stay": stay}
    x = np.column_stack([np.log(v) if c in LOGARITHMIC else v for c, v in columns.items()])
    drawn = np.empty_like(x)
    for name in np.unique(words["diagnosis"]):
        rows = words["diagnosis"] == name
        drawn[rows] = rng.multivariate_normal(x[rows].mean(0), np.cov(x[rows].T), int(rows.sum()))
    new = {c: np.exp(drawn[:, i]) if c in LOGARITHMIC else drawn[:, i] for i, c in enumerate(columns)}
    order = rng.permutation(len(x))
    shuffled = {c: rng.permutation(words[c]) for c in ("sex", "ward")} | {"diagnosis": words["diagnosis"]}
    table = written(shuffled, new, np.clip(new["begin"], 0, 365 * YEARS), new["wait"] - 0.5, new["stay"])
    return table.iloc[order].reset_index(drop=True)


def swapped(original: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Data swapping, half done: sex, age, ward, diagnosis and pressure are shuffled; dates and CRP stay together."""
    words, numbers, begin, wait, stay = parts(original)
    changed = {c: v if c in SERIES else rng.permutation(v) for c, v in numbers.items()}
    shuffled = {c: rng.permutation(v) for c, v in words.items()}
    order = rng.permutation(len(original))
    return written(shuffled, changed, begin, wait, stay).iloc[order].reset_index(drop=True)


def moved(original: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rows that were made unlike: all dates of a person are moved by one number of days, CRP is scaled by one factor,
    and the words are shuffled. The days between the dates, and the ratios of CRP, stay."""
    words, numbers, begin, wait, stay = parts(original)
    n = len(original)
    factor = np.exp(rng.normal(0, 0.7, n))
    changed = {c: v * factor if c in SERIES else rng.permutation(v) for c, v in numbers.items()}
    begin = (begin + rng.integers(-LARGEST_MOVE, LARGEST_MOVE + 1, n)) % (365 * YEARS)
    shuffled = {c: rng.permutation(v) for c, v in words.items()}
    return written(shuffled, changed, begin, wait, stay).iloc[rng.permutation(n)].reset_index(drop=True)


def coarse(original: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The fitted table, written coarsely: ten years of age, months, pressures by 10, CRP to one figure. Rows then agree
    with patients' by chance, as they agree with other people's."""
    table = fitted(original, rng)
    table["age"] = (table["age"] // 10 * 10).astype(str) + "-" + (table["age"] // 10 * 10 + 9).astype(str)
    for name in DATES:
        table[name] = table[name].str[:7]
    table["systolic"] = (table["systolic"] / 10).round().astype(int) * 10
    for name in SERIES:
        scale = 10.0 ** np.floor(np.log10(table[name]))
        table[name] = (table[name] / scale).round() * scale
    return table


RECIPES: dict[str, Recipe] = {"coarse": coarse, "fitted": fitted, "moved": moved, "swapped": swapped}
"""How a candidate release is made, by the name that an exercise gives."""
