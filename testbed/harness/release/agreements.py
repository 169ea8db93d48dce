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
from testbed.findings import statistics
from testbed.findings.statistics.intervals import scipy_stats
from testbed.harness.release.grids import alike
from testbed.harness.release.near_copies import (
    EXTREME_P,
    FEWEST_LONE,
    NEAR_P,
    REACHED,
    SIZES,
    as_often,
    highest,
    shuffled,
    together,
)


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
ORDINARY = 2000
"""Rows of real people that are compared with other real people."""
WORK = 30_000_000
"""Most agreements that are added up for one tolerance (four people count as one). Released rows are drawn to fit."""
MOST = 0.5
"""Share of the columns, and of a row's information, from which a whole row was copied, and not a part of it."""
NAMED = 0.5
"""Share of the tested people who agree in a column, from which it is named."""

TAIL, SLOWER, MOST_BEYOND = 0.95, 2.0, 50
"""The quantile of real people's scores from which on their fall is continued, and by which factor it is slowed down;
and the most people with high scores that are looked at."""
APART_P = 0.05
"""Level at which members must be more often among the people who agree more than real people do."""

Ranges = tuple[Array, Array, Array, Array]
"""Of one column: the order of the people by value (n,), and for each row the first and the last place that agrees, and
the information of the agreement (nats)."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The columns in which people of the original are found, and the test: `members` of the `asked` people are members.

    `whole` says that people agree in most columns, with most of a row's information, and `gaps` that the agreements are
    about missing values. If it is only `suspected`, `asked` are those who agree more than real people do.
    """

    columns: tuple[str, ...]
    asked: int
    members: int
    share: float
    p_value: float
    whole: bool
    gaps: bool
    suspected: bool


def agreement(release: Table, members: Table, controls: Table, seed: int) -> Agreement | None:
    """The surest agreement of released rows with single members, or None if chance explains all of them.

    Columns that are members' one by one, as in a sample of each, are no such agreement: the same must not be found once
    each released column is shuffled by itself, or only with less information.

    If no test is sure, it is asked whether a few members agree with released rows more than real people agree with
    each other. Then `suspected` is set.
    """
    if len(release.columns) < 3 or len(members) + len(controls) < SIZES[0]:
        return None  # too few columns, or too few people for the test
    release, members, others = alike(release, members, controls)
    pool, person = together(members, controls if others is None else others)
    used = np.zeros(person.max() + 1, dtype=bool)
    used[person[: len(members)]] = True
    columns = _sorted(pool)
    looks: list[Tolerance | None] = [*TOLERANCES, None]
    found: list[Agreement] = []
    doubted: list[Agreement] = []
    for tolerance in looks:
        searched = _Searched(release, pool, columns, person, used, seed, tolerance)
        scored = searched.scored()
        one = searched.tested(scored)
        if len(looks) * one.p_value < NEAR_P:
            mixed = replace(searched, release=shuffled(release, seed))
            if as_often(one, mixed.tested(usual := mixed.scored())):
                one = searched.tested(scored, above=usual.reached())
            found += [one] if len(looks) * one.p_value < NEAR_P else []
        elif not found and (few := searched.beyond(scored)).p_value * len(looks) < EXTREME_P:
            doubted.append(few)
    best = min(found or doubted, key=lambda one: one.p_value, default=None)
    return best and replace(best, p_value=len(looks) * best.p_value)


@dataclass(frozen=True, slots=True)
class _Scored:
    """The columns compared with their ranges, the rows taken (m,), and for each its person, score and person's row."""

    names: list[str]
    ranges: list[Ranges]
    rows: Array
    whose: Array
    score: Array
    row: Array

    def reached(self) -> float:
        """The score that few rows reach."""
        return float(np.sort(self.score)[-REACHED:][0]) if len(self.score) else 0.0

    def best(self, people: int) -> Array:
        """The highest score of each person (people,), -inf for those who have none."""
        best = np.full(people, -np.inf)
        np.maximum.at(best, self.whose, self.score)
        best[best <= 0] = -np.inf
        return best

    def agreeing(self, top: Array) -> tuple[tuple[str, ...], float]:
        """The columns in which most of these rows agree with their person, and the share of information they hold."""
        agree = np.array([_agrees(r, self.rows[top], self.row[top]) for r in self.ranges])
        weight = np.array([r[3][self.rows[top]] for r in self.ranges])
        often = tuple(n for n, those in zip(self.names, agree, strict=True) if len(those) and those.mean() >= NAMED)
        return often, float((agree * weight).sum() / max(1e-9, weight.sum()))


@dataclass(frozen=True, slots=True)
class _Searched:
    """Released rows and all real people, under one tolerance; None asks in which columns values are missing."""

    release: Table
    pool: Table
    columns: list[_Sorted]
    person: Array
    used: Array
    seed: int
    tolerance: Tolerance | None

    def tested(self, scored: _Scored, above: float = 0.0) -> Agreement:
        """The test of the people whose scores are above a limit."""
        best = scored.best(len(self.used))
        best[best <= above] = -np.inf
        order, (asked, inside, p, _) = highest(best, self.used, self.pool, self.person, self.seed)
        often, held = scored.agreeing(np.isin(scored.whose, order[:asked]) & (scored.score == best[scored.whose]))
        whole = held > MOST and len(often) > MOST * len(self.release.columns) and self.tolerance is not None
        return Agreement(often, asked, inside, float(self.used.mean()), p, whole, self.tolerance is None, False)

    def beyond(self, scored: _Scored) -> Agreement:
        """Members whose scores real people's rows hardly reach among the others, and the chance of so many.

        Real people's scores fall exponentially above a quantile. The fall is continued half as steeply, and the number
        of rows beyond a score is then at most Poisson's. The chance is 1 if they are few, or if controls are found as
        often: then the generator comes near to everybody.
        """
        none = Agreement((), 0, 0, float(self.used.mean()), 1.0, False, self.tolerance is None, True)
        order = np.argsort(row_keys(self.pool, self.seed + 1), kind="stable")[:ORDINARY]
        usual = replace(self, release=self.pool.take(order)).scored(WORK // 4, self.person[order]).score
        start = float(np.quantile(usual, TAIL))
        scale = SLOWER * float((usual[usual > start] - start).mean()) if (usual > start).any() else 0.0
        best = scored.best(len(self.used))
        ranked = np.sort(best[self.used])[::-1][:MOST_BEYOND]
        ranked = ranked[ranked > start][None if scale else len(ranked) :]
        least = none
        for count in range(FEWEST_LONE, len(ranked) + 1):
            limit = ranked[count - 1]
            expected = (1 - TAIL) * len(scored.score) * np.exp((start - limit) / scale)
            p = len(ranked) * float(scipy_stats.poisson.sf(count - 1, expected))
            others = int((best[~self.used] >= limit).sum())
            apart = statistics.labels_by_chance(count, count + others, int(self.used.sum()), int((~self.used).sum()))
            if apart < APART_P and p < least.p_value:
                often, _ = scored.agreeing((scored.score >= limit) & self.used[scored.whose])
                least = replace(none, columns=often, asked=count + others, members=count, p_value=p)
        return least

    def scored(self, work: int = WORK, own: Array | None = None) -> _Scored:
        """The scores of released rows; or, of real people's rows, without the person `own` (n,) whose row each is."""
        columns = zip(self.release.columns, self.release.values, self.columns, strict=True)
        ranges = {c.name: r for c, a, b in columns if (r := _compared(c, a, b, self.tolerance)) is not None}
        rows = self._affordable(list(ranges.values()), work)
        own = None if own is None else own[rows]
        return _Scored(
            list(ranges), list(ranges.values()), rows, *_scores(list(ranges.values()), rows, self.person, own)
        )

    def _affordable(self, ranges: Sequence[Ranges], work: int) -> Array:
        """Rows, drawn by a hash of their values, whose agreements can be added up within `work`."""
        order = np.argsort(row_keys(self.release, self.seed), kind="stable")
        cost = np.full(len(order), len(self.pool) // 4, np.int64)
        for _, low, high, _ in ranges:
            cost += high - low
        return order[: max(1, int(np.searchsorted(np.cumsum(cost[order]), work, "right")))]


@dataclass(frozen=True, slots=True)
class _Sorted:
    """The real values of one column (n,), missing ones first: their order and the sorted values; and a width.

    `absent` are the order and the sorted marks of missing values; None if all values are known, or none is.
    """

    order: Array
    values: Array
    width: float
    absent: tuple[Array, Array] | None


def _sorted(pool: Table) -> list[_Sorted]:
    made: list[_Sorted] = []
    for column, real in zip(pool.columns, pool.values, strict=True):
        known = real if column.kind == "categorical" else np.where(np.isnan(real), -np.inf, real)
        order = np.argsort(known, kind="stable")
        held = known[order][np.searchsorted(known[order], -np.inf, "right") :]
        low, high = np.quantile(held, (0.25, 0.75)) if len(held) else (0.0, 0.0)
        missing = _missing(column, real)
        apart = np.argsort(missing, kind="stable") if missing.any() and not missing.all() else None
        absent = None if apart is None else (apart, missing[apart])
        made.append(_Sorted(order, known[order], float(high - low) / 1.349, absent))
    return made


def _missing(column: Column, values: Array) -> Array:
    return (values == -1 if column.kind == "categorical" else np.isnan(values)).astype(float)


def _compared(column: Column, released: Array, real: _Sorted, tolerance: Tolerance | None) -> Ranges | None:
    """Where the real values lie that agree with each released one; None if the column cannot tell people apart.

    Missing values agree with each other.
    """
    if tolerance is None:
        asked = _missing(column, released)
        return None if real.absent is None else _within(asked, asked, *real.absent, most=1.0)
    if column.kind == "categorical":
        return _within(released, released, real.order, real.values)
    asked = np.where(np.isnan(released), -np.inf, released)
    apart: Array | float = tolerance.days if column.date else tolerance.relative * np.abs(released)
    if tolerance.widths and not column.date:
        apart = tolerance.widths * real.width
    apart = np.where(np.isnan(released), 0.0, apart)
    return _within(asked - apart, asked + apart, real.order, real.values)


def _within(low: Array, high: Array, order: Array, ranked: Array, most: float = COMMON) -> Ranges:
    first, last = np.searchsorted(ranked, low, "left"), np.searchsorted(ranked, high, "right")
    share = (last - first + 1) / (len(ranked) + 1)
    common = share > most
    return order, np.where(common, 0, first), np.where(common, 0, last), np.where(common, 0.0, -np.log(share))


def _scores(ranges: Sequence[Ranges], rows: Array, person: Array, own: Array | None) -> tuple[Array, Array, Array]:
    """For each row the person it agrees with most, the information beyond the second person, and that person's row.

    `own` (m,) are persons to pass over.
    """
    whose, score, found = np.zeros(len(rows), np.int64), np.zeros(len(rows)), np.zeros(len(rows), np.int64)
    alone = int(person.max()) + 1 == len(person)
    for place, row in enumerate(rows.tolist()):
        agreeing = [order[low[row] : high[row]] for order, low, high, _ in ranges]
        weights = np.repeat([w[row] for _, _, _, w in ranges], [len(a) for a in agreeing])
        if not len(weights):
            continue  # nothing in this row tells people apart
        held = np.bincount(np.concatenate(agreeing), weights, len(person))
        if own is not None:
            held[person == own[place]] = 0.0
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
