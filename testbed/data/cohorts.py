"""Data sets as a network's input: records of numbers in [0, 1], a class, and the person of each record."""

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
    """All records of a data set, with what a report says about it; `sites` (n,) names natural sites, if any."""

    name: str
    title: str
    people: Cohort
    sites: Array | None
    classes: int
    licence: str
    data_class: str
    columns: tuple[tuple[str, int], ...] = ()
    """For a table: each column with its number of features, 1 for a number and k for a category."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one record."""
        return tuple(int(s) for s in self.people.x.shape[1:])


Frame: TypeAlias = Any
TARGETS: dict[str, Any] = {
    "support2": lambda frame: frame["hospdead"].astype(int),
    "heart": lambda frame: (frame["num"] > 0).astype(int),
    "breast-cancer": lambda frame: frame["target"].astype(int),
}
"""How each record's class is computed from a table's columns; other tables use their target column's categories."""
LEAKY: dict[str, tuple[str, ...]] = {
    # Columns that are known only together with the outcome, so a model must not see them.
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
            f"{name} holds text, which the networks of this scenario cannot read.",
            "Records must be pictures or rows of a table; the scenario language_model reads text.",
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
"""The number given to every word that occurs only once in the data set."""


def sentences(name: str, length: int) -> tuple[Source, tuple[str, ...]]:
    """A text data set as sentences of word numbers (n, length), and its vocabulary; each text is one person.

    Words are numbered by frequency, the most frequent first. A shorter sentence is filled with 0, a longer one is cut.
    The class is 1 for the first sentence of a text, else 0. Raises `UsageError` if the data set is not text.
    """
    known = data.dataset(name)
    if known.modality != "text":
        raise UsageError(
            "TB-DATA-072",
            f"{name} does not hold text.",
            "This scenario needs sentences.",
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
    """Features (n, features) float32 of a table: numbers scaled to [0, 1], categories in one-hot coding.

    Numbers are scaled between their 1 % and 99 % quantiles and cut off there; missing ones become the median. Of a
    category, the `most_levels` most frequent values have a feature. All people, members or not, give the scale.
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
    """Each column's name, with its number of features in `features`."""
    sizes: list[tuple[str, int]] = []
    for name in frame.columns:
        values = frame[name]
        number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        kinds = values.astype("object").where(values.notna(), "missing").astype(str).nunique()
        sizes.append((str(name), 1 if number else min(most_levels, int(kinds))))
    return tuple(sizes)


def divide(people: Cohort, sizes: dict[str, int], rng: np.random.Generator) -> dict[str, Array]:
    """Row numbers of disjoint groups, each of at least its size in `sizes`, because whole persons are drawn.

    Persons are drawn in random order, and rows keep this order: files may be sorted, so the first part of a group is
    then still a random sample. A group at least as large by `sizes` as an earlier one is also at least as large as that
    one came out. Raises `UsageError` if there are too few people.
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
                f"The data set has too few people for the group {group}.",
                f"{sum(sizes.values())} records are needed, and there are {len(people)}.",
                "Use fewer clients, fewer rounds or smaller batches.",
            )
        groups[group] = np.concatenate(rows) if rows else np.empty(0, dtype=int)
    return groups
