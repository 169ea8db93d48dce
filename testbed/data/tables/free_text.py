"""Columns of free text, as runs of words and as sets of words. Words are numbers, and whose they are is known."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from testbed.core import Array
from testbed.data.tables.encode import Frames, Meta

RUNS = (5, 12)
"""The words of a run. Short ones are left where every sixth word is changed. Long ones tell people apart whose notes
are made of the same phrases."""
FEWEST_WORDS, FEWEST_OF_LETTERS, DIFFERENT = 5, 3, 0.5
"""A column is free text if half of its cells have so many words or more, or so many words of letters alone, and so
large a share of the cells is different. Times and dates have few words of letters."""
WORD = r"[^\W_]+"
"""A word: letters and digits. What stands between words is not compared."""
LETTERS = 4
"""The letters of a run. A slip of the pen changes so many runs of a text, and leaves the others."""
WRITTEN_OVER = str.maketrans({"ø": "o", "æ": "a", "å": "a", "œ": "o", "ł": "l", "đ": "d", "ı": "i"})
"""Letters that no decomposition of Unicode brings to a letter without an accent."""
STEP = np.uint64(1_099_511_628_211)
"""The factor between the words of a run, an odd number, so that their order counts."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The distinct runs of words of one column: how many words, what they are (numbers), and whose (numbers too)."""

    words: Array
    run: Array
    person: Array


@dataclass(frozen=True, slots=True)
class Bags:
    """The distinct words of the cells of one column (numbers), the cell of each, and the person of each cell."""

    word: Array
    cell: Array
    person: Array


@dataclass(frozen=True, slots=True)
class FreeText:
    """One column of free text: the runs of the original, of the release and of the control, if there is one.

    `bags` has the words without their order, by table ("original", "synthetic", "control"), and `letters` the runs of
    letters, whatever words they stand in. Both are empty if a text of this column has few words of letters.
    """

    name: str
    original: Runs
    synthetic: Runs
    control: Runs | None
    bags: Mapping[str, Bags] = field(default_factory=dict[str, Bags])
    letters: Mapping[str, Bags] = field(default_factory=dict[str, Bags])


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
        if name == meta.person or not all(name in f.columns for f in frames.values()):
            continue
        long, worded = _is_text(original[name])
        if long or worded:
            cells = {role: (frame[name], persons[role]) for role, frame in frames.items()}
            runs, bags = _read(cells)
            roles = runs["original"], runs["synthetic"], runs.get("control")
            found.append(FreeText(str(name), *roles, *((bags, _letters(cells)) if worded else ())))
    return found


def _is_text(values: Any) -> tuple[bool, bool]:
    """Whether texts of this column have many words, and whether they have several words of letters alone."""
    if values.dtype != object and not isinstance(values.dtype, pd.StringDtype):
        return False, False
    known = values.dropna()
    some = known[:: 1 + len(known) // 1000]
    if not len(some) or not some.map(lambda v: isinstance(v, str)).all() or some.nunique() <= DIFFERENT * len(some):
        return False, False
    long = some.str.count(WORD) >= FEWEST_WORDS
    worded = some.str.count(r"\b[^\W\d_]{2,}\b") >= FEWEST_OF_LETTERS
    return bool(long.mean() >= 0.5), bool(worded.mean() >= 0.5)


def _read(columns: Mapping[str, tuple[Any, Array]]) -> tuple[dict[str, Runs], dict[str, Bags]]:
    """The runs and the sets of words of every table. Words have the same numbers in all tables."""
    words: dict[str, list[list[str]]] = {}
    for role, (values, _) in columns.items():
        texts = values.astype(object).where(values.notna(), "").map(_plain)
        words[role] = texts.str.findall(WORD).tolist()
    ids, _ = pd.factorize(
        np.array([w for role in words for cell in words[role] for w in cell] or [""], dtype=object), sort=True
    )
    mixed = spread(ids)
    made: dict[str, Runs] = {}
    bags: dict[str, Bags] = {}
    start = 0
    for role, (_, persons) in columns.items():
        lengths = np.array([len(cell) for cell in words[role]], dtype=np.int64)
        stop = start + int(lengths.sum())
        made[role] = _of_table(mixed[start:stop], lengths, persons)
        bags[role] = _bags(ids[start:stop].astype(np.int64), lengths, persons)
        start = stop
    return made, bags


def _bags(words: Array, lengths: Array, persons: Array) -> Bags:
    """The distinct words of each cell, whatever their order."""
    size = 1 + int(words.max(initial=0))
    pairs = np.unique(np.repeat(np.arange(len(lengths)), lengths) * size + words)
    return Bags(pairs % size, pairs // size, np.unique(persons, return_inverse=True)[1])


def _letters(columns: Mapping[str, tuple[Any, Array]]) -> dict[str, Bags]:
    """The distinct runs of `LETTERS` letters and digits of the cells of every table, numbered alike in all tables."""
    codes: dict[str, Array] = {}
    cells: dict[str, Array] = {}
    for role, (values, _) in columns.items():
        texts = [_folded(text) for text in values.astype(object).where(values.notna(), "")]
        held = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32).astype(np.uint64)
        cell = np.repeat(np.arange(len(texts)), [len(t) for t in texts])
        several = max(0, len(held) - LETTERS + 1)
        run = np.zeros(several, np.uint64)
        with np.errstate(over="ignore"):
            for i in range(LETTERS):
                run = run * STEP + held[i : several + i]
        within = cell[:several] == cell[LETTERS - 1 :]  # no run goes from one cell into the next
        codes[role], cells[role] = run[within], cell[:several][within]
    ids = np.unique(np.concatenate([*codes.values()]), return_inverse=True)[1]
    size = 1 + int(ids.max(initial=0))
    made: dict[str, Bags] = {}
    start = 0
    for role, (_, persons) in columns.items():
        stop = start + len(codes[role])
        pairs = np.unique(cells[role] * size + ids[start:stop])
        made[role] = Bags(pairs % size, pairs // size, np.unique(persons, return_inverse=True)[1])
        start = stop
    return made


def _folded(text: Any) -> str:
    """Letters and digits alone, without accents; ä and ae, ø and oe are one, as texts are often written over."""
    apart = unicodedata.normalize("NFKD", str(text).casefold().translate(WRITTEN_OVER))
    letters = "".join(c for c in apart if c.isalnum())
    for two, one in (("ae", "a"), ("oe", "o"), ("ue", "u"), ("aa", "a")):
        letters = letters.replace(two, one)
    return letters


def _plain(text: Any) -> str:
    return unicodedata.normalize("NFC", str(text)).casefold()


def spread(ids: Array) -> Array:
    """The numbers of words, spread over 64 bits (the finisher of splitmix64)."""
    with np.errstate(over="ignore"):
        z = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
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
