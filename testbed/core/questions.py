# pyright: strict
"""What an attack is asked, with the truth removed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from testbed.core.people import Array, Cohort, Column, People, Table


@dataclass(frozen=True, slots=True)
class Known:
    """Records whose membership an attacker knows beforehand: `used` (n,) bool says which were in the training data."""

    people: People
    used: Array


@dataclass(frozen=True, slots=True)
class Records:
    """Membership: whose records of these were used? Members and controls, pooled and shuffled.

    `suspected` names for each record the client that is asked about ("was she in this hospital's data?"), for
    members and controls alike; None asks about the federation as a whole. `known` are other people's memberships,
    where the threat grants them (`some_memberships`). Raises `ValueError` where a person is both known and asked
    about: the question would hold its own answer.
    """

    people: People
    suspected: Array | None = None
    known: Known | None = None

    def __post_init__(self) -> None:
        if self.known is not None and np.isin(self.known.people.persons, self.people.persons).any():
            raise ValueError("a person whose membership is known must not be asked about")


@dataclass(frozen=True, slots=True)
class Batch:
    """Reconstruction: rebuild the records behind these exchanges. Shapes and no rows.

    `sizes` gives each exchange's batch size, or None where the threat does not grant it; `labels` likewise, and of
    tables `blocks`, the features of each column: 1 for a number, k for a category in one-hot coding.
    """

    keys: tuple[tuple[int, int], ...]
    shape: tuple[int, ...]
    classes: int
    sizes: tuple[int, ...] | None = None
    labels: tuple[Array, ...] | None = None
    low: float = 0.0
    high: float = 1.0
    blocks: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Halves:
    """Linkability: two sets of columns about the same people, in independent orders."""

    left: Table
    right: Table


@dataclass(frozen=True, slots=True)
class Gaps:
    """Attribute inference: people's rows, and the columns that are to be guessed, each from all others in `known`.

    A secret that is not among the known columns is one of a block that is missing as a whole. One that is stands
    for many questions asked at once: its own values must not bear on the guess for it (`without`), to which every
    attack is held by a conformance test that replaces them.
    """

    known: Table
    secrets: tuple[Column, ...]

    def without(self, secret: Column) -> Table:
        """What may be used to guess one secret."""
        return self.known.select(tuple(c.name for c in self.known.columns if c.name != secret.name))


@dataclass(frozen=True, slots=True)
class Fields:
    """Singling out: the release's columns, and how many predicates are wanted over how many columns each."""

    columns: tuple[Column, ...]
    wanted: int


@dataclass(frozen=True, slots=True)
class Feature:
    """Attribute inference from a model: people whose value of one input is hidden, set to the first candidate.

    `candidates` are the values that it may take, `column` its place among the inputs.
    """

    people: Cohort
    column: int
    candidates: Array


@dataclass(frozen=True, slots=True)
class Queries:
    """Model stealing: records that the attacker holds and may ask about, and how many of them, budget by budget."""

    pool: Cohort
    budgets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Classes:
    """Class inversion: what does a typical record of each class look like, within these bounds of the inputs?"""

    count: int
    low: Array
    high: Array


@dataclass(frozen=True, slots=True)
class Property:
    """Property inference: do few or many of a client's records have a property, `levels` (share, share) being either?

    A record has it whose input in `column` is above one half; `sizes` are the clients' numbers of records.
    """

    client: int
    column: int
    levels: tuple[float, float]
    sizes: tuple[int, ...]


Question: TypeAlias = Records | Batch | Halves | Gaps | Fields | Feature | Queries | Classes | Property


def unnamed(question: Question) -> Question:
    """The question with people numbered as they appear, each table for itself.

    A person's name may tell the table that the person came from, and in two halves who belongs together.
    """
    match question:
        case Records(people=people, known=known):
            named = None if known is None else replace(known, people=_anonymous(known.people, "known"))
            return replace(question, people=_anonymous(people), known=named)
        case Feature(people=people):
            return replace(question, people=Cohort(people.x, people.y, _numbers(people.persons)))
        case Queries(pool=people):
            return replace(question, pool=Cohort(people.x, people.y, _numbers(people.persons)))
        case Halves(left=left, right=right):
            return Halves(_numbered(left), _numbered(right))
        case Gaps(known=known):
            return replace(question, known=_numbered(known))
        case _:
            return question


def _anonymous(people: People, word: str = "asked") -> People:
    if isinstance(people, Table):
        return _numbered(people, word)
    return Cohort(people.x, people.y, _numbers(people.persons, word))


def _numbered(table: Table, word: str = "asked") -> Table:
    return Table(table.columns, table.values, _numbers(table.persons, word))


def _numbers(persons: Array, word: str = "asked") -> Array:
    _, first, place = np.unique(persons, return_index=True, return_inverse=True)
    names = np.array([f"{word} {i}" for i in np.argsort(np.argsort(first)).tolist()], dtype=str)
    return names[place] if len(names) else persons
