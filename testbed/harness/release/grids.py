"""The grid on which a column is written: decimals, steps of 5, bands of ages, months. Copies are compared on it.

A release may round what it copies. Its rows then differ from the original's, and they are copies all the same. The grid
is found from the release and from all real people together, so it knows nobody's membership.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from testbed.core import Array, Column, Table
from testbed.core.tables.rows import row_keys

MOST_DECIMALS = 8
"""Decimals up to which numbers are compared as written."""
NICE = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8)
"""Steps, times powers of ten, that are tried if a few cells are off the grid, such as the ends of a cut range."""
CELLS, VALUES = 0.98, 0.8
"""The least shares of cells, and of distinct values, that such a grid holds."""
SURPRISE = 12.0
"""A grid is believed if the other table's values would all be on it with a smaller probability than exp(-12)."""
FEW, OFTEN = 200, 10
"""A column of irregular bands has at most so many values, each so many times on average."""
SCREENED = 5000
"""Rows in which a grid is looked for first: where these show none, the column has none."""
SAMPLED = 20_000
"""Most distinct values in which a step is searched for."""
EXACT = 1e15
"""Larger whole numbers are not exact, and no step is searched for among them."""
HALF = 0.5
"""The least share of the cells expected at an end, and beyond it, that an end holds at which a column was cut."""
SURELY = 1.95
"""Two samples of one distribution are further apart than this in one of a thousand draws, in units of the sampling."""
LAST_COMMON_DAY = 28
"""The last day that every month has."""

RULES: dict[str, Callable[[Array], Array]] = {
    "half even": np.rint,
    "half up": lambda places: np.floor(places + 0.5),
    "half down": lambda places: np.ceil(places - 0.5),
    "down": np.floor,
    "up": np.ceil,
    "towards zero": np.floor,
}
"""How a value goes to the grid, from its place between the grid's numbers. Towards zero, negative values go up."""
NEAREST = "half even"


def _round(values: Array, decimals: int) -> Array:
    """The numbers rounded to so many decimals. Those so large that they have none stay as they are."""
    large = np.abs(values) >= EXACT
    return np.where(large, values, np.round(np.where(large, 0, values), decimals))


def _to_grid(places: Array, values: Array, rule: str) -> Array:
    up = (values < 0) & (rule == "towards zero")
    return np.where(up, np.ceil(places), RULES[rule](places))


@dataclass(frozen=True, slots=True)
class Grid:
    """The numbers that a column holds: `offset` plus multiples of `step`, or `points` (k,), ascending, if listed.

    Numbers outside `low` to `high` are moved to these.
    """

    step: float = 0.0
    offset: float = 0.0
    decimals: int = 0
    points: Array | None = None
    low: float = -np.inf
    high: float = np.inf

    def rounded(self, values: Array, rule: str = NEAREST) -> Array:
        """Each value (n,) on the grid, by a rule of `RULES`. Missing values stay."""
        if self.points is not None:
            places = _round(np.interp(values, self.points, np.arange(len(self.points))), 6)
            found = self.points[np.nan_to_num(_to_grid(places, values, rule)).astype(int)]
            return np.where(np.isnan(values), np.nan, found)
        places = _round(values / self.step - self.offset / self.step, 6)
        found = _round(self.offset + _to_grid(places, values, rule) * self.step, self.decimals)
        return np.clip(found, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Cells:
    """The distinct values of a column, ascending, how many cells have each, and the decimals that they need."""

    values: Array
    counts: Array
    decimals: int

    @staticmethod
    def of(column: Array) -> Cells:
        values, counts = np.unique(column[np.isfinite(column)], return_counts=True)
        return Cells(values, counts, decimals(values))

    @property
    def number(self) -> int:
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True)
class Written:
    """How a column is compared: its grid, and for each rule the first rule with equal results.

    `apart` says by rule how far the released numbers are from people's: the Kolmogorov-Smirnov distance, divided by
    the size that it usually has for two samples of one population.
    """

    grid: Grid
    same: dict[str, str]
    apart: dict[str, float]

    def rule(self, common: str) -> str:
        """The rule that most columns agree on, unless this column's numbers surely follow another one."""
        if self.apart[common] <= SURELY:
            return self.same[common]
        return self.same[min(self.apart, key=lambda rule: self.apart[rule])]


def alike(release: Table, members: Table, controls: Table | None) -> tuple[Table, Table, Table | None]:
    """The tables with all numbers on the coarser grid of release and people, by the likeliest rule of each column."""
    return next(spellings(release, members, controls))


def spellings(release: Table, members: Table, controls: Table | None) -> Iterator[tuple[Table, Table, Table | None]]:
    """The tables on the coarser grid of release and people: by the likeliest rules, then by each rule for all columns.

    Equal versions are left out. Without a grid there is one version.
    """
    tables = [release, members, *([] if controls is None else [controls])]
    written: dict[int, Written] = {}
    some = [_screened([release]), _screened(tables[1:])]
    for j, column in enumerate(release.columns):
        if column.kind != "numeric":
            continue
        released, people = tables[0].values[j], np.concatenate([t.values[j] for t in tables[1:]])
        if _written(column, released[some[0]], people[some[1]]) is None and _in_32_bits(released) == _in_32_bits(
            people
        ):
            continue
        if (found := _written(column, released, people)) is not None:
            written[j] = found
        elif _in_32_bits(released) != _in_32_bits(people):
            tables = [_with(t, {j: _single(t.values[j])}) for t in tables]
    common = min(RULES, key=lambda rule: sum(w.apart[rule] ** 2 for w in written.values()))
    known: set[tuple[str, ...]] = set()
    for rule in (None, *RULES):
        chosen = {j: w.rule(common) if rule is None else w.same[rule] for j, w in written.items()}
        if tuple(chosen.values()) in known:
            continue
        known.add(tuple(chosen.values()))
        made = [
            _with(t, {j: w.grid.rounded(t.values[j], chosen[j] if n else NEAREST) for j, w in written.items()})
            for n, t in enumerate(tables)
        ]
        yield made[0], made[1], None if controls is None else made[2]


def _screened(tables: list[Table]) -> Array:
    """A mask (n,) of about `SCREENED` rows of the tables together, by a hash of their values."""
    n = sum(map(len, tables))
    if n <= 2 * SCREENED:
        return np.ones(n, dtype=bool)
    return np.concatenate([row_keys(t, 3) for t in tables]) < np.uint64(SCREENED / n * 2.0**64)


def _with(table: Table, columns: dict[int, Array]) -> Table:
    return replace(table, values=tuple(columns.get(j, v) for j, v in enumerate(table.values)))


def _written(column: Column, released: Array, people: Array) -> Written | None:
    """The coarser grid of the two, or None if neither has values that are off the other's grid."""
    cells, real = Cells.of(released), Cells.of(people)
    if not len(cells.values) or not len(real.values):
        return None
    grid = _grid(cells, real, column.date, bands=True)
    if grid is None:
        grid = _grid(real, cells, column.date, bands=False)
        return None if grid is None else Written(grid, dict.fromkeys(RULES, NEAREST), dict.fromkeys(RULES, 0.0))
    rounded = {rule: grid.rounded(real.values, rule) for rule in RULES}
    same = {
        rule: next(first for first, other in rounded.items() if np.array_equal(values, other))
        for rule, values in rounded.items()
    }
    own = grid.rounded(cells.values)
    apart = {first: _apart(own, cells.counts, rounded[first], real.counts) for first in set(same.values())}
    return Written(grid, same, {rule: apart[first] for rule, first in same.items()})


def _apart(own: Array, counts: Array, real: Array, real_counts: Array) -> float:
    """The Kolmogorov-Smirnov distance of two columns (values and counts), divided by its usual size by chance."""
    known, place = np.unique(np.concatenate([own, real]), return_inverse=True)
    below = [
        np.cumsum(np.bincount(at, weights=w, minlength=len(known))) / w.sum()
        for at, w in ((place[: len(own)], counts), (place[len(own) :], real_counts))
    ]
    return float(np.abs(below[0] - below[1]).max() / np.sqrt(1 / counts.sum() + 1 / real_counts.sum()))


def _grid(own: Cells, other: Cells, date: bool, bands: bool) -> Grid | None:
    """The coarsest grid of a column's values that the other table's values are surprisingly often not on.

    Values beyond the column's ends count only if no such grid is found: then the ends may have been cut.
    """
    found = list(_candidates(own, date, bands))
    low, high = _cut_ends(own, other)
    for cut in (False, True):
        values = other.values if cut else np.clip(other.values, own.values[0], own.values[-1])
        for whole in found:
            grid = replace(whole, low=low, high=high) if cut else whole
            on = np.abs(grid.rounded(values) - values) <= 1e-9 * np.maximum(1, np.abs(values))
            share = float(other.counts @ on) / other.number
            if own.number * -np.log(max(share, 1e-300)) > SURPRISE:
                return grid
    return None


def _cut_ends(own: Cells, other: Cells) -> tuple[float, float]:
    """The ends at which a column was cut: they have about as many cells as the other table has there and beyond."""
    beyond = [(other.values <= own.values[0]) @ other.counts, (other.values >= own.values[-1]) @ other.counts]
    cut = [
        n >= HALF * own.number * b / other.number for n, b in zip((own.counts[0], own.counts[-1]), beyond, strict=True)
    ]
    return float(own.values[0]) if cut[0] else -np.inf, float(own.values[-1]) if cut[1] else np.inf


def _candidates(own: Cells, date: bool, bands: bool) -> Iterator[Grid]:
    """Grids that hold the column, the coarsest first."""
    if date and own.decimals == 0:
        yield from _calendars(own)
    if own.decimals <= MOST_DECIMALS and np.abs(own.values).max() * 10.0**own.decimals < EXACT:
        whole = np.rint(own.values * 10.0**own.decimals).astype(np.int64)
        unit = 10.0**own.decimals
        for step, offset in _steps(whole, own.counts):
            yield Grid(step / unit, offset / unit, own.decimals)
    if bands and len(own.values) <= min(FEW, own.number / OFTEN):
        yield Grid(points=own.values)


def _steps(whole: Array, counts: Array) -> Iterator[tuple[int, int]]:
    """Steps and offsets of grids that hold nearly all of the whole numbers (k,), the largest first."""
    exact = int(np.gcd.reduce(whole - whole[0]))
    some = np.unique(np.linspace(0, len(whole) - 1, min(len(whole), SAMPLED)).astype(int))
    numbers, weights = whole[some], counts[some]
    wide = int(numbers[-1] - numbers[0]) / 2
    decades = range(max(0, len(str(int(wide)))), -1, -1)
    for step in sorted({round(m * 10**e) for e in decades for m in NICE if m * 10**e % 1 == 0}, reverse=True):
        if not exact < step <= wide:
            continue
        places, at = np.unique(numbers % step, return_inverse=True)
        held = np.bincount(at, weights=weights)
        most = int(np.argmax(held))
        if held[most] >= CELLS * weights.sum() and (at == most).mean() >= VALUES:
            yield step, int(places[most])
    if exact:
        yield exact, int(whole[0] % exact)


def _calendars(own: Cells) -> Iterator[Grid]:
    """Grids of one day in each year, or in each month: the first, the fifteenth, the last."""
    for late in (0, 1):  # the day before the first of a month is its last
        days = (own.values + late).astype("datetime64[D]")
        months = days.astype("datetime64[M]")
        for unit in ("Y", "M"):
            within = (days - days.astype(f"datetime64[{unit}]").astype("datetime64[D]")).astype(int)
            # A leap year moves the days after February, so the month is compared as well.
            within = (
                within
                if unit == "M"
                else months.astype(int) % 12 * 31 + (days - months.astype("datetime64[D]")).astype(int)
            )
            places, at = np.unique(within, return_inverse=True)
            held = np.bincount(at, weights=own.counts)
            most = int(np.argmax(held))
            if held[most] < CELLS * own.number or places[most] % 31 >= LAST_COMMON_DAY:
                continue
            inside = months[at == most]
            first = np.arange(inside[0] - 12, inside[-1] + 13, 12 if unit == "Y" else 1)
            points = (first.astype("datetime64[D]").astype(int) + places[most] % 31 - late).astype(np.float64)
            yield Grid(points=points)


def decimals(values: Array) -> int:
    """The number of decimals needed to write all these numbers, or `MOST_DECIMALS` + 1 if more are needed."""
    needed = 0
    known = values[np.isfinite(values)]
    for part in (known[:1000], known):  # the first thousand settle most columns quickly
        while needed <= MOST_DECIMALS and (_round(part, needed) != part).any():
            needed += 1
    return needed


def _single(values: Array) -> Array:
    """The numbers rounded to single precision. Those beyond its range stay as they are, so that no two become one."""
    with np.errstate(over="ignore", under="ignore"):
        near = values.astype(np.float32).astype(np.float64)
    within = (np.abs(values) <= np.finfo(np.float32).max) & (np.abs(values) >= np.finfo(np.float32).tiny)
    return np.where(within, near, values)


def _in_32_bits(values: Array) -> bool:
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float32) == values)[np.isfinite(values)].all())
