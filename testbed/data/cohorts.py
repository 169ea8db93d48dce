"""Data sets as records that a network takes: numbers in [0, 1], a class, and the person behind each."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from testbed import data
from testbed.core import Array, Cohort
from testbed.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Source:
    """Everybody in a data set, and what a report must say of it; `sites` (n,) where there are natural ones."""

    name: str
    title: str
    people: Cohort
    sites: Array | None
    classes: int
    licence: str
    data_class: str
    columns: tuple[tuple[str, int], ...] = ()
    """Of a table: each column and the number of its features, 1 for a number and k for a category."""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(s) for s in self.people.x.shape[1:])


Frame: TypeAlias = Any
TARGETS: dict[str, Any] = {
    "support2": lambda frame: frame["hospdead"].astype(int),
    "heart": lambda frame: (frame["num"] > 0).astype(int),
    "breast-cancer": lambda frame: frame["target"].astype(int),
}
"""How a table's class is made from its columns; other tables use their target column's categories."""
LEAKY: dict[str, tuple[str, ...]] = {
    # Known only once the outcome is: a model must not be given them.
    "support2": ("death", "d.time", "sfdm2", "slos", "charges", "totcst", "totmcst"),
    "heart": ("id",),
}


MOST_CLASSES = 100


def source(name: str) -> Source:
    """A registered data set by name, or a user's table by its path; see `testbed.data.own_tables`.

    Raises `UsageError` for one that no network here takes.
    """
    known = data.dataset(name)
    if known.modality == "image":
        images = data.load_images(name)
        people = Cohort(images.x, images.y, _persons(images.person))
        return Source(name, known.title, people, None, int(images.y.max()) + 1, known.licence, known.data_class)
    if known.modality != "table":
        raise UsageError(
            "TB-DATA-070",
            f"{name} holds text, and the networks of this scenario take none.",
            "Records must be pictures or tables; the scenario language_model takes text.",
            "Use one of: digits, mnist5k, heart, support2.",
        )
    frame = data.load_table(name)
    target = known.target
    if target is None:
        raise UsageError(
            "TB-DATA-071",
            f"{name} names no target.",
            "A classifier needs a class.",
            "Use another data set; of your own table, write target: COLUMN in its .meta.yaml beside it.",
        )
    usable = frame[frame[target].notna()].reset_index(drop=True)
    made = TARGETS[name](usable) if name in TARGETS else usable[target]
    if not 2 <= made.nunique() <= MOST_CLASSES:
        raise UsageError(
            "TB-DATA-081",
            f"The target of {name} has {made.nunique()} values.",
            f"These networks tell 2 to {MOST_CLASSES} classes from each other, each of several people.",
            "Name a column of classes as the target, or group its values beforehand.",
        )
    y = np.asarray(pd.factorize(made, sort=True)[0], dtype=np.int64)
    ids = usable[known.person] if known.person else pd.Series(range(len(usable)))
    left_out = {target, known.person, known.site, *LEAKY.get(name, ())}
    attributes = usable[[c for c in usable.columns if c not in left_out]]
    sites = None if known.site is None else np.asarray(usable[known.site].astype(str))
    people = Cohort(features(attributes), y, _persons(np.asarray(ids)))
    return Source(
        name, known.title, people, sites, int(y.max()) + 1, known.licence, known.data_class, widths(attributes)
    )


WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
UNKNOWN = 1
"""The number of a word that occurs once only."""


def sentences(name: str, length: int) -> tuple[Source, tuple[str, ...]]:
    """A text data set as sentences of word numbers (n, length), and the vocabulary; a person is a whole text.

    Words are numbered by how often they occur; 0 fills a sentence up, and one longer than `length` is cut. The class
    says whether a sentence opens its text. Raises `UsageError` for a data set that is no text.
    """
    known = data.dataset(name)
    if known.modality != "text":
        raise UsageError(
            "TB-DATA-072",
            f"{name} holds no text.",
            "Sentences are made of texts.",
            "Use lee-background.",
        )
    texts = data.load_texts(name)
    split = [[WORD.findall(s) for s in re.split(r"(?<=[.!?])\s+", text.lower())] for text in texts.texts]
    counts = Counter(word for text in split for sentence in text for word in sentence)
    words = ("", "?", *(w for w, count in sorted(counts.items(), key=lambda c: (-c[1], c[0])) if count > 1))
    number = {word: i for i, word in enumerate(words)}
    rows: list[list[int]] = []
    opens: list[int] = []
    persons: list[str] = []
    for person, text in zip(texts.person.tolist(), split, strict=True):
        for place, sentence in enumerate(s for s in text if s):
            coded = [number.get(w, UNKNOWN) for w in sentence[:length]]
            rows.append(coded + [0] * (length - len(coded)))
            opens.append(int(place == 0))
            persons.append(str(person))
    people = Cohort(np.array(rows, dtype=np.float32), np.array(opens), np.array(persons))
    return Source(name, known.title, people, None, 2, known.licence, known.data_class), words


def _persons(values: Any) -> Array:
    return np.asarray(values).astype(str)


def features(frame: pd.DataFrame, most_levels: int = 12) -> Array:
    """Numbers scaled to [0, 1] between their 1 % and 99 % quantiles, gaps set to the median; categories one-hot.

    Scaling looks at everybody alike, members or not. float32 (n, features).
    """
    columns: list[Array] = []
    for name in frame.columns:
        values = frame[name]
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            numbers = np.asarray(values, dtype=np.float64)
            low, middle, high = np.nanquantile(numbers, [0.01, 0.5, 0.99])
            filled = np.where(np.isfinite(numbers), numbers, middle)
            columns.append(np.clip((filled - low) / (high - low), 0, 1) if high > low else np.zeros(len(frame)))
        else:
            text = np.asarray(values.astype("object").where(values.notna(), "missing").astype(str))
            levels, counts = np.unique(text, return_counts=True)
            columns += [
                (text == v).astype(np.float64) for v in levels[np.argsort(-counts, kind="stable")][:most_levels]
            ]
    return np.stack(columns, 1).astype(np.float32)


def widths(frame: pd.DataFrame, most_levels: int = 12) -> tuple[tuple[str, int], ...]:
    """Each column with the number of features that `features` makes of it."""
    made: list[tuple[str, int]] = []
    for name in frame.columns:
        values = frame[name]
        number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        kinds = values.astype("object").where(values.notna(), "missing").astype(str).nunique()
        made.append((str(name), 1 if number else min(most_levels, int(kinds))))
    return tuple(made)


def divide(people: Cohort, sizes: dict[str, int], rng: np.random.Generator) -> dict[str, Array]:
    """Row numbers of disjoint groups, filled in turn by whole persons in random order, so of at least that size.

    They keep that order: a file may be sorted by what it says, and a part of a group is then no sample of it.

    A group that is asked to be as large as an earlier one is at least as large as that came out.
    Raises `UsageError` where there are too few people.
    """
    names, person = np.unique(people.persons, return_inverse=True)
    order = rng.permutation(len(names))
    rows_of = np.argsort(person, kind="stable")
    starts = np.searchsorted(person[rows_of], np.arange(len(names) + 1))
    groups: dict[str, Array] = {}
    place = 0
    for group, size in sizes.items():
        size = max([size, *(len(groups[g]) for g in groups if sizes[g] <= size)])
        rows: list[Array] = []
        while sum(map(len, rows)) < size and place < len(order):
            p = order[place]
            rows.append(rows_of[starts[p] : starts[p + 1]])
            place += 1
        if sum(map(len, rows)) < size:
            raise UsageError(
                "TB-SPLIT-010",
                f"The data set has too few people: the group {group} would fall short.",
                f"{sum(sizes.values())} records are needed and there are {len(people)}.",
                "Use fewer clients, rounds or records a batch.",
            )
        groups[group] = np.concatenate(rows) if rows else np.empty(0, dtype=int)
    return groups
