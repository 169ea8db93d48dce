# pyright: strict
"""Agreements: does a released row agree with one real person in more columns than with anybody else?

The near-copy rule sums distances, so columns that were made afresh, or a panel of values that were all moved by a
tenth, hide a person from it. Here each column only agrees or does not, within a tolerance, and an agreement counts by
how rare it is. Any part of the columns may have been copied, and another one in each row. One look asks in which
columns a person has no value: the pattern of gaps tells people apart too.

A person's score is the information by which a released row agrees more with this person than with the second nearest
one. The search does not know who is a member. So if nothing leaks, the people with the highest scores are members as
often as chance draws them, and the test is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from testbed.core import Array, Column, Table
from testbed.core.tables.rows import row_keys
from testbed.harness.release import parts
from testbed.harness.release.grids import alike
from testbed.harness.release.near_copies import NEAR_P, SIZES, highest, together


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two values may be apart to agree: a share of the value, widths of the column, and days for dates.

    A width is the standard deviation of a normal column with the same quartiles.
    """

    relative: float = 0.0
    widths: float = 0.0
    days: int = 0


TOLERANCES = (
    Tolerance(),
    Tolerance(relative=0.03, days=3),
    Tolerance(relative=0.1, days=10),
    Tolerance(relative=0.2, days=31),
    Tolerance(relative=0.3, days=31),
    Tolerance(widths=0.1, days=7),
    Tolerance(widths=0.3, days=31),
    Tolerance(widths=0.6, days=92),
)
"""Tolerances that are tried. With the look at gaps, the p-value is multiplied by their number plus one."""
COMMON = 0.5
"""Share of people from which an agreement of values is passed over: it hardly tells about whom. Of gaps none is."""
WORK = 50_000_000
"""Most agreements that are added up for one tolerance (four people count as one). Released rows are drawn to fit."""
REACHED = 3
"""Rows of the shuffled release that may have a higher score than the limit."""
MOST = 0.5
"""Share of the columns, and of a row's information, from which a whole row was copied, and not a part of it."""
NAMED = 0.5
"""Share of the tested people who agree in a column, from which it is named."""

Ranges = tuple[Array, Array, Array, Array]
"""Of one column: the order of the people by value (n,), and for each row the first and the last place that agrees, and
the information of the agreement (nats)."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The columns in which people of the original are found, and the test: `members` of the `asked` people are members.

    `whole` says that people agree in most columns, with most of a row's information, and `gaps` that the agreements are
    about missing values.
    """

    columns: tuple[str, ...]
    asked: int
    members: int
    share: float
    p_value: float
    whole: bool
    gaps: bool


def agreement(release: Table, members: Table, controls: Table, seed: int) -> Agreement | None:
    """The surest agreement of released rows with single members, or None if chance explains all of them.

    Columns that are members' one by one, as in a sample of each, are no such agreement: the same must not be found once
    each released column is shuffled by itself, or only with less information.
    """
    if len(release.columns) < 3 or len(members) + len(controls) < SIZES[0]:
        return None  # too few columns, or too few people for the test
    release, members, others = alike(release, members, controls)
    pool, person = together(members, controls if others is None else others)
    used = np.zeros(person.max() + 1, dtype=bool)
    used[person[: len(members)]] = True
    looks: list[Tolerance | None] = [*TOLERANCES, None]
    found: list[Agreement] = []
    for tolerance in looks:
        searched = _Searched(release, pool, person, used, seed, tolerance)
        one = searched.tested()
        if len(looks) * one.p_value < NEAR_P:
            shuffled = replace(searched, release=parts.shuffled(release, seed))
            if parts.as_often(one, shuffled.tested()):
                one = searched.tested(above=shuffled.reached())
            found += [one] if len(looks) * one.p_value < NEAR_P else []
    best = min(found, key=lambda one: one.p_value, default=None)
    return best and replace(best, p_value=len(looks) * best.p_value)


@dataclass(frozen=True, slots=True)
class _Searched:
    """Released rows and all real people, under one tolerance; None asks in which columns values are missing."""

    release: Table
    pool: Table
    person: Array
    used: Array
    seed: int
    tolerance: Tolerance | None

    def tested(self, above: float = 0.0) -> Agreement:
        """The test of the people whose scores are above a limit."""
        names, ranges, rows, whose, score, row = self._scored()
        best = np.full(len(self.used), -np.inf)
        np.maximum.at(best, whose, score)
        best[best <= above] = -np.inf
        order, (asked, inside, p, _) = highest(best, self.used, self.pool, self.person, self.seed)
        top = np.isin(whose, order[:asked]) & (score == best[whose])
        agree = np.array([_agrees(r, rows[top], row[top]) for r in ranges])
        weight = np.array([r[3][rows[top]] for r in ranges])
        held = float((agree * weight).sum() / max(1e-9, weight.sum()))
        often = tuple(n for n, those in zip(names, agree, strict=True) if asked and those.mean() >= NAMED)
        most = held > MOST and len(often) > MOST * len(self.release.columns)
        whole = most and self.tolerance is not None
        return Agreement(often, asked, inside, float(self.used.mean()), p, whole, self.tolerance is None)

    def reached(self) -> float:
        """The score that few rows reach."""
        score = self._scored()[4]
        return float(np.sort(score)[-REACHED:][0]) if len(score) else 0.0

    def _scored(self) -> tuple[list[str], list[Ranges], Array, Array, Array, Array]:
        """The columns compared, their ranges, the released rows taken, and what `_scores` says of these."""
        columns = zip(self.release.columns, self.release.values, self.pool.values, strict=True)
        ranges = {c.name: r for c, a, b in columns if (r := _compared(c, a, b, self.tolerance)) is not None}
        rows = self._affordable(list(ranges.values()))
        return list(ranges), list(ranges.values()), rows, *_scores(list(ranges.values()), rows, self.person)

    def _affordable(self, ranges: Sequence[Ranges]) -> Array:
        """Released rows, drawn by a hash of their values, whose agreements can be added up within `WORK`."""
        order = np.argsort(row_keys(self.release, self.seed), kind="stable")
        cost = np.full(len(order), len(self.pool) // 4, np.int64)
        for _, low, high, _ in ranges:
            cost += high - low
        return order[: max(1, int(np.searchsorted(np.cumsum(cost[order]), WORK, "right")))]


def _compared(column: Column, released: Array, real: Array, tolerance: Tolerance | None) -> Ranges | None:
    """Where the real values lie that agree with each released one; None if the column cannot tell people apart."""
    if tolerance is not None:
        return _ranges(column, released, real, tolerance)
    asked, known = ((v == -1 if column.kind == "categorical" else np.isnan(v)).astype(float) for v in (released, real))
    return _within(asked, asked, known, 1.0) if known.any() and not known.all() else None


def _ranges(column: Column, released: Array, real: Array, tolerance: Tolerance) -> Ranges:
    """The same for values. Missing values agree with each other."""
    if column.kind == "categorical":
        return _within(released, released, real)
    asked, known = (np.where(np.isnan(v), -np.inf, v) for v in (released, real))
    apart: Array | float = tolerance.days if column.date else tolerance.relative * np.abs(released)
    if tolerance.widths and not column.date:
        held = known[np.isfinite(known)]
        low, high = np.quantile(held, (0.25, 0.75)) if len(held) else (0.0, 0.0)
        apart = tolerance.widths * (high - low) / 1.349
    apart = np.where(np.isnan(released), 0.0, apart)
    return _within(asked - apart, asked + apart, known)


def _within(low: Array, high: Array, real: Array, most: float = COMMON) -> Ranges:
    order = np.argsort(real, kind="stable")
    first, last = np.searchsorted(real[order], low, "left"), np.searchsorted(real[order], high, "right")
    share = (last - first + 1) / (len(real) + 1)
    common = share > most
    return order, np.where(common, 0, first), np.where(common, 0, last), np.where(common, 0.0, -np.log(share))


def _scores(ranges: Sequence[Ranges], rows: Array, person: Array) -> tuple[Array, Array, Array]:
    """For each row the person it agrees with most, the information beyond the second person, and that person's row."""
    whose, score, found = np.zeros(len(rows), np.int64), np.zeros(len(rows)), np.zeros(len(rows), np.int64)
    alone = int(person.max()) + 1 == len(person)
    for place, row in enumerate(rows.tolist()):
        agreeing = [order[low[row] : high[row]] for order, low, high, _ in ranges]
        weights = np.repeat([w[row] for _, _, _, w in ranges], [len(a) for a in agreeing])
        if not len(weights):
            continue  # nothing in this row tells people apart
        held = np.bincount(np.concatenate(agreeing), weights, len(person))
        best = int(held.argmax())
        most = held[best]
        if alone:
            held[best] = 0.0
        else:
            held[person == person[best]] = 0.0
        whose[place], score[place], found[place] = person[best], np.round(most - held.max(), 9), best
    return whose, score, found


def _agrees(ranges: Ranges, rows: Array, real: Array) -> Array:
    """Whether each row agrees with the row of the people that was found for it."""
    order, low, high, _ = ranges
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return (low[rows] <= place[real]) & (place[real] < high[rows])
