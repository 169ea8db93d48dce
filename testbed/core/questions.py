# pyright: strict
"""Questions: what an attack is asked, without the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from testbed.core.defence import Defence
from testbed.core.people import Array, Cohort, Column, People, Table


@dataclass(frozen=True, slots=True)
class Known:
    """Records whose membership the attacker already knows: `used` (n,) bool says which were in the training data."""

    people: People
    used: Array


@dataclass(frozen=True, slots=True)
class Records:
    """Membership: which of these records were used? Members and controls are pooled and shuffled.

    `suspected` (n,) names a client for each record ("was she in this hospital's data?"), for members and controls
    alike; None asks about the federation as a whole. `known` holds memberships of other people, if the threat grants
    `some_memberships`. Raises `ValueError` if a person is both known and asked about, since the question would then
    hold its own answer.
    """

    people: People
    suspected: Array | None = None
    known: Known | None = None

    def __post_init__(self) -> None:
        if self.known is not None and np.isin(self.known.people.persons, self.people.persons).any():
            raise ValueError("a person whose membership is known must not be asked about")


@dataclass(frozen=True, slots=True)
class Batch:
    """Reconstruction: which records are behind these exchanges? The question holds shapes and no records.

    `keys` are (round, client), `shape` is a record's, and [`low`, `high`] the range of its values. `sizes` are batch
    sizes, `labels` the classes in each batch, and `blocks` each table column's number of features: 1 for a number, k
    for a category in one-hot coding. Each of these three is None if the threat does not grant it, and so are the
    `defences` under which the exchanges were made.
    """

    keys: tuple[tuple[int, int], ...]
    shape: tuple[int, ...]
    classes: int
    sizes: tuple[int, ...] | None = None
    labels: tuple[Array, ...] | None = None
    low: float = 0.0
    high: float = 1.0
    blocks: tuple[int, ...] | None = None
    defences: tuple[Defence, ...] | None = None


@dataclass(frozen=True, slots=True)
class Halves:
    """Linkability: which rows of the two halves belong together? Both hold the same people, in independent orders."""

    left: Table
    right: Table


@dataclass(frozen=True, slots=True)
class Gaps:
    """Attribute inference: what are the values of the secret columns, given each person's known columns?

    A secret may itself be among the known columns, which asks about many secrets at once. Each is then guessed from
    the other columns alone (`without`): its own values must not influence the guess. A conformance test replaces them
    to check this. A secret that is not among the known columns belongs to a block that is missing as a whole.
    """

    known: Table
    secrets: tuple[Column, ...]

    def without(self, secret: Column) -> Table:
        """The columns from which one secret may be guessed: all known ones except the secret itself."""
        return self.known.select(tuple(c.name for c in self.known.columns if c.name != secret.name))


@dataclass(frozen=True, slots=True)
class Fields:
    """Singling out: which predicates fit exactly one person? `wanted` is the number of predicates to write."""

    columns: tuple[Column, ...]
    wanted: int


@dataclass(frozen=True, slots=True)
class Feature:
    """Attribute inference from a model: what is each person's value of one hidden input?

    `column` is the position of the input, `candidates` its possible values. In `people` the input is set to the first
    candidate.
    """

    people: Cohort
    column: int
    candidates: Array


@dataclass(frozen=True, slots=True)
class Queries:
    """Model stealing: which model answers like the one under attack? The attacker may query records of `pool`.

    `budgets` are the numbers of queries; each one asks for a model of its own.
    """

    pool: Cohort
    budgets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Classes:
    """Class inversion: what does a typical record of each of `count` classes look like?

    `low` and `high` are the bounds of the inputs.
    """

    count: int
    low: Array
    high: Array


@dataclass(frozen=True, slots=True)
class Property:
    """Property inference: do few or many of a client's records have a property?

    `levels` are the two possible shares, few and many. A record has the property if its input in `column` is above one
    half. `sizes` are the clients' numbers of records.
    """

    client: int
    column: int
    levels: tuple[float, float]
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Labels:
    """Label inference in split learning: what is the class, 0 or 1, of each of these people?

    `x` (n, columns) are the attacker's own columns of each person. `rows` (n,) are their places in the table on which
    the parties train, and -1 for people who are not in it: the parties have agreed on who is.
    """

    x: Array
    rows: Array
    defences: tuple[Defence, ...] | None = None
    """The defences at the cut, if the attacker knows them."""


@dataclass(frozen=True, slots=True)
class Origins:
    """Site inference: at which of `count` hospitals, numbered from 0, is each of these people?

    People who were trained on and others are pooled. `known` are other people with their hospitals, `sites` (n,), if
    the threat grants `some_sites`. Raises `ValueError` if a person is both known and asked about, since the question
    would then hold its own answer.
    """

    people: Cohort
    count: int
    known: Cohort | None = None
    sites: Array | None = None

    def __post_init__(self) -> None:
        if self.known is not None and np.isin(self.known.persons, self.people.persons).any():
            raise ValueError("a person whose hospital is known must not be asked about")


Question: TypeAlias = (
    Records | Batch | Halves | Gaps | Fields | Feature | Queries | Classes | Property | Labels | Origins
)


def unnamed(question: Question) -> Question:
    """The question with people renamed to numbers in order of appearance, for each table separately.

    Otherwise a person's name could reveal the table that the person came from, or which two halves belong together.
    """
    match question:
        case Records(people=people, known=known):
            named = None if known is None else replace(known, people=_anonymous(known.people, "known"))
            return replace(question, people=_anonymous(people), known=named)
        case Origins(people=people, known=known):
            hidden = None if known is None else Cohort(known.x, known.y, _numbers(known.persons, "known"))
            return replace(question, people=Cohort(people.x, people.y, _numbers(people.persons)), known=hidden)
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
