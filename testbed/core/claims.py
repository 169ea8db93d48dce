# pyright: strict
"""What is asked of an attack, with the truth removed, and what it claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from testbed.core.people import Array, Condition
from testbed.core.views import Predictor


@dataclass(frozen=True, slots=True)
class Scores:
    """One finite number per record; larger is surer that it was used."""

    values: Array


@dataclass(frozen=True, slots=True)
class Sources:
    """For each record the client that is thought to hold it, (n,)."""

    clients: Array


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """For each exchange the records rebuilt, (k, ...) each; k may differ from the true batch size."""

    batches: Mapping[tuple[int, int], Array]
    labels: Mapping[tuple[int, int], Array] = field(default_factory=dict[tuple[int, int], Array])
    certificate: Mapping[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])
    """How sure an exact attack is of a batch, in [0, 1], by its own check; 1 is a proof."""


@dataclass(frozen=True, slots=True)
class Links:
    """For each row of either half, the released rows that it points to: (n, k) row numbers each.

    A pair is linked where its two halves point to a common row. `tied` is the share of rows whose choice was
    settled by chance.
    """

    left: Array
    right: Array
    tied: float = 0.0


@dataclass(frozen=True, slots=True)
class Guesses:
    """By secret one guess per row, on the scale of the column (a number or a code), and how far off it may be."""

    values: Mapping[str, Array]
    tolerance: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Predicates:
    """Conjunctions that each describe exactly one released row."""

    conjunctions: tuple[tuple[Condition, ...], ...]


@dataclass(frozen=True, slots=True)
class Substitutes:
    """By the number of queries spent, a model that is meant to answer as the one that was asked."""

    models: Mapping[int, Predictor]


@dataclass(frozen=True, slots=True)
class Representatives:
    """For each class (classes, ...) a record that is meant to be typical of it."""

    records: Array


Claim: TypeAlias = Scores | Sources | Reconstruction | Links | Guesses | Predicates | Substitutes | Representatives
