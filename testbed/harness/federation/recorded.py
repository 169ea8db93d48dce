"""A recorded federation: the views, and the truth that only the judge receives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from testbed.core import Array, Cell, Cohort, Recipe, Records, Scores, Sources, Threat, Transcript
from testbed.core.defence import Defence
from testbed.findings.plan import Plan

Key = tuple[int, int]
"""The round and the client of an exchange."""
ABOUT_RECORDS = (Scores, Sources)
"""Kinds of claim about given records: whether one was used, or which client holds it."""
LARGEST_LINE_UP = 1000
"""Most people in a line-up, the true one included."""
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pooled:
    """Members and controls in random order: who was used (n,) bool, and the client suspected to hold each (n,) int."""

    people: Cohort
    used: Array
    suspected: Array

    def __len__(self) -> int:
        return len(self.people)

    def question(self) -> Records:
        """The question about these people, without the truth."""
        return Records(self.people, self.suspected)


@dataclass(frozen=True, slots=True)
class Truth:
    """The judge's knowledge: whose records are behind which exchange, or which of the pooled people were used.

    `batches` are the records of each exchange, by name ("true", "control", "positive"). `pooled` are the people asked
    about, by cell.
    """

    plans: tuple[Plan, ...]
    threat: Threat
    auxiliary: Cohort
    seed: int
    classes: int
    batches: Mapping[str, Mapping[Key, Cohort]] = field(default_factory=dict[str, Mapping[Key, Cohort]])
    decoys: Cohort | None = None
    pooled: Mapping[str, Pooled] = field(default_factory=dict[str, "Pooled"])
    columns: tuple[tuple[str, int], ...] = ()
    """For tables: each column's name and its number of features."""
    defences: tuple[Defence, ...] = ()
    within: tuple[float, float] = (0.0, 1.0)
    """The range of a record's values, as the attacker knows it."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The views of one run by cell, and the truth behind them."""

    views: Mapping[Cell, Transcript]
    truth: Truth
    recipes: Mapping[Cell, Recipe] = field(default_factory=dict[Cell, Recipe])
    """The federation of each cell as a recipe, for attackers who are allowed to run it again."""


def as_members(holder: Array, members: Array, controls: Array) -> Array:
    """A client for each control. Within a class, clients get controls in proportion to their members of this class."""
    asked = np.zeros(len(controls), np.int64)
    for label in np.unique(controls):
        theirs, mine = controls == label, members == label
        of = holder[mine] if mine.any() else holder
        asked[theirs] = of[np.linspace(0, len(of) - 1, int(theirs.sum())).round().astype(int)]
    return asked
