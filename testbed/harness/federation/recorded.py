"""A recorded federation: the views, and the truth that only the judge receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from testbed.core import Array, Cell, Cohort, Recipe, Records, Threat, Transcript
from testbed.core.defence import Defence
from testbed.findings.plan import Plan

Key = tuple[int, int]
"""The round and the client of an exchange."""


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
