"""What every risk of a release shares: the tables, the people who are asked about, and the subject known to leak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from testbed.attacks.registry import Attack, fitting
from testbed.core import Array, Claim, Evidence, Release, Table, Threat
from testbed.core.disclosure import MIN_CELL
from testbed.core.randomness import keyed_rng
from testbed.core.tables.index import person_numbers
from testbed.data.tables.encode import Frames
from testbed.data.tables.free_text import FreeText
from testbed.findings.validity import MANY_GUESSES

RECIPIENT = Threat("recipient", knows=frozenset({"auxiliary", "known_columns", "target_records"}), access="score")
TARGETS = MANY_GUESSES
"""Guesses per attack and group unless asked otherwise."""
PREDICATES = 6000
"""Descriptions per singling-out attack unless asked otherwise: each fits somebody or nobody, so that it takes many for
a few more leaked rows to show as more (`tests/test_verdicts.py`)."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How a release is examined.

    `secrets` default to every column, `links` to one split of all columns in two; the first link is the primary one.
    `attacks` bounds the guesses of each attack; by default 2,000 people a group and 6,000 predicates. It never changes
    which attack decides.
    `instrument="anonymeter"` adds that package's own figures, which inform. Groups of fewer than `min_cell` people are
    not shown. `attack` names one attack to run alone; nothing then decides.
    """

    secrets: Sequence[str] = ()
    links: Sequence[tuple[Sequence[str], Sequence[str]]] = ()
    attacks: int | None = None
    seed: int = 0
    instrument: str = "testbed"
    min_cell: int = MIN_CELL
    attack: str | None = None


@dataclass(frozen=True, slots=True)
class Targets:
    """People drawn from both groups, pooled and shuffled; `used` is the truth that attacks never see."""

    table: Table
    used: Array

    @staticmethod
    def draw(members: Table, controls: Table | None, wanted: int, rng: np.random.Generator) -> Targets:
        """At most `wanted` rows of each group: first one row of each person, then further rows of them."""
        parts = [(members, True)] + ([] if controls is None else [(controls, False)])
        tables, used = [], []
        for table, is_member in parts:
            rows = _rows_of_people(table, wanted, rng)
            tables.append(table.take(rows))
            used.append(np.full(len(rows), is_member))
        pooled = Table(
            members.columns,
            tuple(np.concatenate(v) for v in zip(*(t.values for t in tables), strict=True)),
            # A person named in two tables is two persons to the judge, and an error to the split.
            np.concatenate([t.persons for t in tables]),
        )
        order = rng.permutation(len(pooled))
        return Targets(pooled.take(order), np.concatenate(used)[order])

    def half(self, rng: np.random.Generator) -> Array:
        """Half of the people of each group (n,) bool; all rows of a person fall on one side."""
        chosen = np.zeros(len(self.used), dtype=bool)
        for group in (self.used, ~self.used):
            person = person_numbers(self.table.persons[group])
            people = int(person.max(initial=-1)) + 1
            chosen[group] = np.isin(person, rng.permutation(people)[: people // 2])
        return chosen

    def members(self) -> Targets:
        """The members among them, in the same order: who is asked about where the subject is known to leak."""
        used = np.flatnonzero(self.used)
        return Targets(self.table.take(used), np.ones(len(used), dtype=bool))

    def of(self, evidence: Evidence, people: Array) -> Evidence:
        """The guesses about those targets, in every cell; `evidence` must be about these targets, one row each."""
        used = np.flatnonzero(self.used)
        leaked = evidence.view == "positive"
        item = np.where(leaked, used[np.minimum(evidence.item, len(used) - 1)] if len(used) else 0, evidence.item)
        return evidence.where(people[item])


def _rows_of_people(table: Table, wanted: int, rng: np.random.Generator) -> Array:
    """Rows of people who are drawn before their rows are: each person counts alike, however many rows they have."""
    person = person_numbers(table.persons)
    drawn = np.isin(person, rng.permutation(int(person.max(initial=-1)) + 1)[:wanted])
    rows = rng.permutation(len(table))
    rows = rows[drawn[rows]]
    # The rows of one person follow each other, and each gets its place among them: 0, 1, ...
    together = rows[np.argsort(person[rows], kind="stable")]
    starts = np.r_[True, np.diff(person[together]) != 0]
    place = np.empty(len(table), np.int64)
    place[together] = np.arange(len(together)) - np.flatnonzero(starts)[np.cumsum(starts) - 1]
    return rows[np.argsort(place[rows], kind="stable")][:wanted]


@dataclass(frozen=True, slots=True)
class Setting:
    """What every check of one evaluation asks for, which no check changes.

    `leak` is the original released as it is, on which every attack must succeed.
    """

    members: Table
    controls: Table | None
    release: Release
    wanted: int | None
    seed: int
    progress: Progress
    min_cell: int = 10
    aside: Frames | None = None
    """Columns that the tables have and no attack uses: they are searched for identifiers."""
    written: Frames | None = None
    """Columns of text of which attacks use numbers alone, as they are written: they too are searched."""
    attack: str | None = None
    """The name of one attack to run alone. Nothing then decides."""
    texts: Sequence[FreeText] = ()
    """The columns of free text, which are searched for the words of single people."""

    leak: Release = field(init=False)
    targets: Targets = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "leak", Release(self.members))
        object.__setattr__(self, "targets", self.draw(self.controls, "targets"))

    def attacks(self, claim: type[Claim]) -> list[Attack]:
        """The attacks on a released table that make this kind of claim and are granted what they need, by rule."""
        return [a for a in fitting("release", RECIPIENT.knows, self.attack) if a.claim is claim]

    @property
    def predicates(self) -> int:
        return self.wanted or PREDICATES

    def draw(self, controls: Table | None, name: str) -> Targets:
        return Targets.draw(self.members, controls, self.wanted or TARGETS, keyed_rng(self.seed, name))


def shorten(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
