"""Columns of free text, as runs of words: each run is a number, and whose it is is known."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array
from testbed.data.tables.encode import Frames, Meta

RUNS = (5, 12)
"""The words of a run. Short ones are left where every sixth word is changed. Long ones tell people apart whose notes
are made of the same phrases."""
FEWEST_WORDS, DIFFERENT = 5, 0.5
"""A column is free text if half of its cells have so many words or more, and so large a share of them is different."""
STEP = np.uint64(1_099_511_628_211)
"""The factor between the words of a run, an odd number, so that their order counts."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The distinct runs of words of one column: how many words, what they are (numbers), and whose (numbers too)."""

    words: Array
    run: Array
    person: Array


@dataclass(frozen=True, slots=True)
class FreeText:
    """One column of free text: the runs of the original, of the release and of the control, if there is one."""

    name: str
    original: Runs
    synthetic: Runs
    control: Runs | None


def free_text(
    original: pd.DataFrame, synthetic: pd.DataFrame, control: pd.DataFrame | None, meta: Meta, encoded: Frames
) -> list[FreeText]:
    """The columns of free text that all tables have, dropped ones too."""
    frames = {"original": original, "synthetic": synthetic} | ({} if control is None else {"control": control})
    persons = {"original": encoded.original.persons, "synthetic": encoded.synthetic.persons}
    if encoded.control is not None:
        persons["control"] = encoded.control.persons
    found: list[FreeText] = []
    for name in original.columns:
        if name == meta.person or not all(name in f.columns for f in frames.values()) or not _is_text(original[name]):
            continue
        runs = _runs({role: (frame[name], persons[role]) for role, frame in frames.items()})
        found.append(FreeText(str(name), runs["original"], runs["synthetic"], runs.get("control")))
    return found


def _is_text(values: Any) -> bool:
    if values.dtype != object and not isinstance(values.dtype, pd.StringDtype):
        return False
    known = values.dropna()
    some = known[:: 1 + len(known) // 1000]
    if not len(some) or not some.map(lambda v: isinstance(v, str)).all():
        return False
    long = some.str.count(r"\w+") >= FEWEST_WORDS
    return bool(long.mean() >= 0.5) and some.nunique() > DIFFERENT * len(some)


def _runs(columns: Mapping[str, tuple[Any, Array]]) -> dict[str, Runs]:
    """The runs of every table. Words have the same numbers in all tables."""
    words: dict[str, list[list[str]]] = {}
    for role, (values, _) in columns.items():
        texts = values.astype(object).where(values.notna(), "").map(_plain)
        words[role] = texts.str.findall(r"\w+").tolist()
    ids, _ = pd.factorize(np.array([w for role in words for cell in words[role] for w in cell] or [""], dtype=object))
    mixed = _mixed(ids.astype(np.uint64))
    made: dict[str, Runs] = {}
    start = 0
    for role, (_, persons) in columns.items():
        lengths = np.array([len(cell) for cell in words[role]], dtype=np.int64)
        own = mixed[start : start + lengths.sum()]
        start += int(lengths.sum())
        made[role] = _of_table(own, lengths, persons)
    return made


def _plain(text: Any) -> str:
    return unicodedata.normalize("NFC", str(text)).casefold()


def _mixed(ids: Array) -> Array:
    """The numbers of words, spread over 64 bits (the finisher of splitmix64)."""
    with np.errstate(over="ignore"):
        z = ids + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _of_table(words: Array, lengths: Array, persons: Array) -> Runs:
    """The distinct runs of the cells of one table, each with its person."""
    people = np.unique(persons, return_inverse=True)[1]
    cell = np.repeat(np.arange(len(lengths)), lengths)
    parts: list[pd.DataFrame] = []
    for n in RUNS:
        several = max(0, len(words) - n + 1)
        run = np.full(several, np.uint64(n))
        with np.errstate(over="ignore"):
            for i in range(n):
                run = run * STEP + words[i : several + i]
        within = cell[:several] == cell[n - 1 : several + n - 1]  # no run goes from one cell into the next
        part = {"words": n, "run": run[within], "person": people[cell[:several][within]]}
        parts.append(pd.DataFrame(part).drop_duplicates())
    pairs = pd.concat(parts)
    return Runs(pairs["words"].to_numpy(), pairs["run"].to_numpy(), pairs["person"].to_numpy())
