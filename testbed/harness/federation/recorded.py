"""What a recorded federation holds: the views, and the truth that only the judge is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from testbed.core import Array, Cell, Cohort, Recipe, Records, Threat, Transcript
from testbed.findings.plan import Plan

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pooled:
    """Members and controls in one random order: who was used (n,) bool, and the client asked about (n,) int."""

    people: Cohort
    used: Array
    suspected: Array

    def question(self) -> Records:
        return Records(self.people, self.suspected)


@dataclass(frozen=True, slots=True)
class Truth:
    """What the judge knows: whose records lay behind which exchange, or who of the pooled people was used.

    `batches` holds, by cell name ("true", "control", "positive"), the records of each exchange; `pooled` holds by
    cell the people asked about.
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
    """Of tables, each column and the number of its features."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The views of one run by cell, and the truth behind them."""

    views: Mapping[Cell, Transcript]
    truth: Truth
    recipes: Mapping[Cell, Recipe] = field(default_factory=dict[Cell, Recipe])
    """The federation of each cell as something to run again, for attackers who are granted it."""
