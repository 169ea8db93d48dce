# pyright: strict
"""People and their records: tables, cohorts, and the split that only harness and judge hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from testbed.core.errors import InputError

Array: TypeAlias = npt.NDArray[Any]

Kind = Literal["numeric", "categorical"]


def frozen(values: npt.ArrayLike) -> Array:
    """The values as a read-only array; a writable array is copied first."""
    array = np.asarray(values)
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `levels` are the categories that occur in the release, in the order of their codes.

    `numbers` are the first numbers in the text of each category, by code, if most texts hold one; NaN where there is
    none. They are those of all tables.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    date: bool = False
    numbers: tuple[tuple[float, ...], ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a predicate: a column's value equals a value, is at most or at least one, or is missing."""

    column: int
    op: Literal["eq", "le", "ge", "missing"]
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with numeric and categorical columns, one array (n,) a column.

    A numeric column is float64, with NaN for missing and dates in days. A categorical column is int32 codes, with -1
    for missing; codes from `len(column.levels)` on are categories that the release does not contain. `persons` (n,)
    names the person of each row; a person may have several rows. Raises `ValueError` for arrays of unequal length.
    """

    columns: tuple[Column, ...]
    values: tuple[Array, ...]
    persons: Array

    def __post_init__(self) -> None:
        if len(self.columns) != len(self.values) or any(len(v) != len(self.persons) for v in self.values):
            raise ValueError("a table needs one array per column, all as long as `persons`")
        object.__setattr__(self, "values", tuple(frozen(v) for v in self.values))
        object.__setattr__(self, "persons", frozen(self.persons))

    def __len__(self) -> int:
        return len(self.persons)

    def __repr__(self) -> str:
        return f"Table({len(self)} rows, {len(self.columns)} columns)"

    def take(self, rows: npt.ArrayLike) -> Table:
        """The table of these rows, by number or by mask."""
        index = np.asarray(rows)
        return Table(self.columns, tuple(v[index] for v in self.values), self.persons[index])

    def matching(self, conjunction: tuple[Condition, ...]) -> Array:
        """Mask (n,) bool of the rows that satisfy all conditions. A comparison with a missing value is false."""
        keep = np.ones(len(self), dtype=bool)
        for condition in conjunction:
            values = self.values[condition.column]
            match condition.op:
                case "missing":
                    keep &= np.isnan(values) if values.dtype.kind == "f" else values == -1
                case "eq":
                    keep &= values == condition.value
                case "le":
                    keep &= values <= condition.value
                case "ge":
                    keep &= values >= condition.value
        return keep

    def select(self, names: tuple[str, ...]) -> Table:
        """The table of these columns, in this order."""
        place = {c.name: i for i, c in enumerate(self.columns)}
        chosen = [place[n] for n in names]
        return Table(tuple(self.columns[i] for i in chosen), tuple(self.values[i] for i in chosen), self.persons)


@dataclass(frozen=True, slots=True)
class Cohort:
    """People's records as a model's input `x` (n, ...), classes `y` (n,) int64, and the person of each, `persons` (n,).

    `x` is float32, or float64 if it comes from the table of a model under audit. Raises `InputError` if a value of `x`
    is not finite.
    """

    x: Array
    y: Array
    persons: Array

    def __post_init__(self) -> None:
        if not len(self.x) == len(self.y) == len(self.persons):
            raise ValueError("x, y and persons must be equally long")
        if not np.isfinite(self.x).all():
            raise InputError(
                "TB-DATA-020",
                "Records hold values that are not finite.",
                "A model cannot train on them, and distances to them have no meaning.",
                "Impute or drop missing and infinite values first.",
            )
        for name in ("x", "y", "persons"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return f"Cohort({len(self)} records of shape {self.x.shape[1:]})"

    def take(self, rows: npt.ArrayLike) -> Cohort:
        """The cohort of these records, by number or by mask."""
        index = np.asarray(rows)
        return Cohort(self.x[index], self.y[index], self.persons[index])


People: TypeAlias = Table | Cohort


@dataclass(frozen=True, slots=True)
class Split:
    """The groups of people: members (records used), controls (not used), auxiliary (the attacker may hold them).

    `decoys` are the look-alikes of a line-up. `party` (n,) gives each member's site in a federation. `removed` are
    people whose records were used once, and whom a model should have forgotten. No person is in two groups: otherwise
    `InputError` is raised.
    """

    members: People
    controls: People | None
    auxiliary: People | None
    party: Array | None = None
    decoys: People | None = None
    removed: People | None = None

    def __post_init__(self) -> None:
        groups = [
            (name, set(people.persons.tolist()))
            for name in ("members", "controls", "auxiliary", "decoys", "removed")
            if (people := getattr(self, name)) is not None
        ]
        for i, (first, one) in enumerate(groups):
            for second, other in groups[i + 1 :]:
                if shared := len(one & other):
                    raise InputError(
                        "TB-SPLIT-001",
                        f"{first} and {second} share {'a person' if shared == 1 else 'several people'}.",
                        "A person in both groups is neither used nor unused, so no rate has a meaning.",
                        "Split by person (testbed split --person COLUMN), not by row; make ids that are reused unique.",
                    )
        if self.party is not None:
            object.__setattr__(self, "party", frozen(self.party))
