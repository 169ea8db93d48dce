"""Diagnostics known from other tools: distance to the closest record, replicated uniques, DiSCO. None of them decides.

Distance to the closest record says little about privacy: releases that pass it are open to membership inference (Yao
et al. 2025). So it is a diagnostic and never a pass. Here both real tables have the same size and the same scale. If
each were scaled by its own range, one outlier would make a release seem nearer to one of them.
"""

from __future__ import annotations

import numpy as np

from testbed.core import Array, Table
from testbed.core.randomness import keyed_rng
from testbed.core.tables.neighbours import nearest
from testbed.core.tables.scale import Scale
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding
from testbed.findings.statistics import Interval
from testbed.harness.release.linkability import Pair
from testbed.harness.release.setting import TARGETS, Setting, shorten

MOST_KEYS, BINS = 4, 10
"""Most key columns, and intervals into which a number is divided."""


def diagnostics(setting: Setting, pairs: list[Pair]) -> list[Finding]:
    """Findings of the three diagnostics; empty without a control. The first split of columns gives the keys."""
    if setting.controls is None:
        return []
    setting.progress("closeness")
    found = [_closer(setting, setting.controls)]
    if pairs:
        keys, targets = pairs[0][0][:MOST_KEYS], pairs[0][1][:1]
        found += [_replicated(setting, setting.controls, keys), _disco(setting, setting.controls, keys, targets[0])]
    return found


def closer_share(release: Table, original: Table, control: Table, seed: int) -> Interval:
    """The share of released rows nearer to the original than to the control; ties count half. 0.5 if nothing leaks."""
    size = min(len(original), len(control))
    rng = keyed_rng(seed, "closeness")
    asked = release.take(np.sort(rng.permutation(len(release))[:TARGETS]))
    scale = Scale.of(release)
    sides = [t.take(np.sort(rng.permutation(len(t))[:size])) for t in (original, control)]
    (mine, near, _), (others, far, _) = (nearest(asked, side, scale, seed) for side in sides)
    closer = (near < far)[:, 0] + 0.5 * (near == far)[:, 0]
    # Released rows that are nearest to the same real person are one cluster.
    drawn = np.where(near[:, 0] <= far[:, 0], sides[0].persons[mine[:, 0]], sides[1].persons[others[:, 0]])
    return statistics.proportion(closer, drawn)


def _closer(setting: Setting, controls: Table) -> Finding:
    share = closer_share(setting.release.table, setting.members, controls, setting.seed)
    plan = Plan(
        rule="TB-COPYING-010",
        risk="copying",
        attack="distance_to_closest_record",
        metric="rate",
        unit="row",
        primary=False,
    )
    plain = (
        f"{share.value:.0%} of released rows are nearer to somebody in the original than to anybody in the control. "
        "If nothing leaks, this is about 50 %. This diagnostic finds copies and misses most other leaks."
    )
    half = findings_.estimate("rate", Interval(0.5, 0.5, 0.5, 1.0, "closed form", share.n), "row")
    return findings_.diagnostic(plan, share, None, plain).model_copy(update={"baseline": half})


def cells(table: Table, release: Table, keys: tuple[str, ...]) -> list[tuple[int, ...]]:
    """Each row's combination of keys. Numbers are divided into ten intervals at the deciles of the release."""
    columns: list[Array] = []
    for column, values, released in zip(
        table.select(keys).columns, table.select(keys).values, release.select(keys).values, strict=True
    ):
        if column.kind == "categorical":
            columns.append(values.astype(int))
            continue
        known = released[~np.isnan(released)]
        edges = np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]) if len(known) else np.empty(0)
        columns.append(np.where(np.isnan(values), -1, np.searchsorted(edges, values, "right")))
    return list(zip(*(c.tolist() for c in columns), strict=True))


def replicated_uniques(release: Table, people: Table, keys: tuple[str, ...]) -> Interval:
    """The share of all people whose keys are unique both among the people and in the release (synthpop's repU)."""
    released = _counted(cells(release, release, keys))
    owners: dict[tuple[int, ...], set[str]] = {}
    for cell, person in zip(cells(people, release, keys), people.persons.tolist(), strict=True):
        owners.setdefault(cell, set()).add(person)
    shown = {next(iter(who)) for cell, who in owners.items() if len(who) == 1 and released.get(cell, 0) == 1}
    return statistics.wilson(len(shown), len(np.unique(people.persons)))


def disclosive(release: Table, people: Table, keys: tuple[str, ...], target: str) -> Interval:
    """The share of people whose keys have exactly one released value of the target, the true one (synthpop's DiSCO)."""
    told: dict[tuple[int, ...], set[int]] = {}
    for cell, (value,) in zip(cells(release, release, keys), cells(release, release, (target,)), strict=True):
        told.setdefault(cell, set()).add(value)
    truth = cells(people, release, (target,))
    right = [told.get(cell) == {value} for cell, (value,) in zip(cells(people, release, keys), truth, strict=True)]
    return statistics.proportion(np.array(right, float), people.persons)


def _counted(given: list[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
    counts: dict[tuple[int, ...], int] = {}
    for cell in given:
        counts[cell] = counts.get(cell, 0) + 1
    return counts


def _replicated(setting: Setting, controls: Table, keys: tuple[str, ...]) -> Finding:
    plan = Plan(
        rule="TB-COPYING-011",
        risk="copying",
        attack="replicated_uniques",
        metric="rate",
        unit="person",
        primary=False,
        params={},
        target=shorten(keys),
    )
    # A larger table has a smaller share of uniques, so both groups are cut to the same size.
    size = min(len(setting.members), len(controls))
    rng = keyed_rng(setting.seed, "uniques")
    rates = [
        replicated_uniques(setting.release.table, t.take(np.sort(rng.permutation(len(t))[:size])), keys)
        for t in (setting.members, controls)
    ]
    plain = f"{rates[0].value:.1%} of people are unique by {shorten(keys)}, both in the data and in the release."
    return findings_.diagnostic(plan, rates[0], rates[1], plain)


def _disco(setting: Setting, controls: Table, keys: tuple[str, ...], target: str) -> Finding:
    plan = Plan(
        rule="TB-COPYING-012",
        risk="copying",
        attack="disco",
        metric="rate",
        unit="person",
        primary=False,
        params={},
        target=f"{target} by {shorten(keys)}",
    )
    mine, other = (disclosive(setting.release.table, t, keys, target) for t in (setting.members, controls))
    plain = (
        f"For {mine.value:.1%} of people the release shows one value of {target!r} by {shorten(keys)}: the true one."
    )
    return findings_.diagnostic(plan, mine, other, plain)
