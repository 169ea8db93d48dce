# pyright: strict
"""People and their records: tables, cohorts, and the split that only harness and judge hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from testbed.core.errors import InputError

Array: TypeAlias = npt.NDArray[Any]

Kind = Literal["numeric", "categorical"]


def frozen(values: npt.ArrayLike) -> Array:
    """A read-only array; copied only where the caller could still write to it."""
    array = np.asarray(values)
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True)
class Column:
    """One attribute. `levels` are the categories that the release itself shows, in code order."""

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    date: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of a predicate: equality with a value, a bound, or being missing."""

    column: int
    op: Literal["eq", "le", "ge", "missing"]
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Table:
    """Mixed-type rows: per column a float64 array (NaN is missing; dates in days) or int32 codes (-1 is missing).

    Codes of at least `len(column.levels)` stand for categories that the release does not contain.
    `persons` gives the person behind each row; several rows may share one.
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
        index = np.asarray(rows)
        return Table(self.columns, tuple(v[index] for v in self.values), self.persons[index])

    def matching(self, conjunction: tuple[Condition, ...]) -> Array:
        """Which rows satisfy all conditions (n,) bool. A comparison with a missing value is false."""
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
        place = {c.name: i for i, c in enumerate(self.columns)}
        chosen = [place[n] for n in names]
        return Table(tuple(self.columns[i] for i in chosen), tuple(self.values[i] for i in chosen), self.persons)


@dataclass(frozen=True, slots=True)
class Cohort:
    """People's records as a model takes them: `x` (n, ...), `y` (n,) int64 classes, `persons` (n,).

    `x` is float32, or float64 where it comes from the table of a model under audit.
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
                "A model cannot train on them, and distances to them mean nothing.",
                "Impute or drop missing and infinite values first.",
            )
        for name in ("x", "y", "persons"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return f"Cohort({len(self)} records of shape {self.x.shape[1:]})"

    def take(self, rows: npt.ArrayLike) -> Cohort:
        index = np.asarray(rows)
        return Cohort(self.x[index], self.y[index], self.persons[index])


People: TypeAlias = Table | Cohort


@dataclass(frozen=True, slots=True)
class Split:
    """Whose records were used, whose were not, and whose the attacker may hold. No person is in two groups.

    `party` gives the federation's site of each member. `decoys` are the look-alikes of a line-up: people in no
    other group. Raises `InputError` where groups share a person.
    """

    members: People
    controls: People | None
    auxiliary: People | None
    party: Array | None = None
    decoys: People | None = None

    def __post_init__(self) -> None:
        groups = [
            (name, set(people.persons.tolist()))
            for name in ("members", "controls", "auxiliary", "decoys")
            if (people := getattr(self, name)) is not None
        ]
        for i, (first, one) in enumerate(groups):
            for second, other in groups[i + 1 :]:
                if shared := len(one & other):
                    raise InputError(
                        "TB-SPLIT-001",
                        f"{first} and {second} share {'a person' if shared == 1 else 'several people'}.",
                        "Someone who is in both groups is neither used nor unused, so no rate means anything.",
                        "Split by person (testbed split --person COLUMN), not by row.",
                    )
        if self.party is not None:
            object.__setattr__(self, "party", frozen(self.party))
