# pyright: strict
"""Claims: what an attack asserts about people, one type for each kind of question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from testbed.core.people import Array, Condition
from testbed.core.views import Predictor


@dataclass(frozen=True, slots=True)
class Scores:
    """One finite number a record, (n,): the larger, the more likely the record was used."""

    values: Array


@dataclass(frozen=True, slots=True)
class Sources:
    """The client that the attack names as the holder of each record, (n,)."""

    clients: Array


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Reconstructed records (k, ...) of each exchange, by (round, client); k may differ from the true batch size."""

    batches: Mapping[tuple[int, int], Array]
    labels: Mapping[tuple[int, int], Array] = field(default_factory=dict[tuple[int, int], Array])
    certificate: Mapping[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])
    """An exact attack's own certainty of a batch, in [0, 1]; 1 means that its check proves the reconstruction."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of a client's people with their exact sizes, by (round, client).

    `bounds` (k, features, 2) says who belongs to each group: people whose values lie from the first bound on and below
    the second one. `counts` (k, classes) says how many of them there are in each class.
    """

    bounds: Mapping[tuple[int, int], Array]
    counts: Mapping[tuple[int, int], Array]


@dataclass(frozen=True, slots=True)
class Values:
    """Values that somebody at a client has, by (round, client): `columns` (k,) are features, `values` (k,) theirs."""

    columns: Mapping[tuple[int, int], Array]
    values: Mapping[tuple[int, int], Array]


@dataclass(frozen=True, slots=True)
class Links:
    """The released rows to which each row of the left and of the right half points, as row numbers (n, k).

    A pair of halves is linked if both point to a common row. `tied` is the share of rows for which chance chose
    between equally near released rows.
    """

    left: Array
    right: Array
    tied: float = 0.0


@dataclass(frozen=True, slots=True)
class Guesses:
    """Guesses (n,) by secret, as numbers or category codes; `tolerance` is the largest error of a right number."""

    values: Mapping[str, Array]
    tolerance: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Predicates:
    """Conjunctions of conditions; each of them fits exactly one released row."""

    conjunctions: tuple[tuple[Condition, ...], ...]


@dataclass(frozen=True, slots=True)
class Substitutes:
    """Models that imitate the model under attack, by the number of queries spent on each."""

    models: Mapping[int, Predictor]


@dataclass(frozen=True, slots=True)
class Representatives:
    """One record for each class, (classes, ...), that is meant to be typical of the class."""

    records: Array


Claim: TypeAlias = (
    Scores | Sources | Reconstruction | Groups | Values | Links | Guesses | Predicates | Substitutes | Representatives
)
