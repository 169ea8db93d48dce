"""Groups of people who stand out: does the release reveal more about outliers and rare combinations than on average?

Groups are chosen on the original alone, before any guess is judged. Outliers are the 5 % of the people asked about who
are furthest from their fifth nearest neighbour in the original. Rare combinations are the 5 % with the rarest category
or pair of categories (CNIL, letter on anonymeter, 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from testbed.attacks.release.trained_inference import FEW_VALUES
from testbed.core import Array, Evidence, Group, Unavailable
from testbed.core.tables.index import people_with
from testbed.core.tables.neighbours import nearest
from testbed.core.tables.scale import Scale
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan, numbered
from testbed.findings.schema import four_digits
from testbed.harness.cells import Judged, planned, unmeasured
from testbed.harness.release.attribute_inference import Inferred
from testbed.harness.release.setting import Setting

SHARE, NEIGHBOUR, MOST_COLUMNS = 0.05, 5, 12
"""Size of a group as a share of the people asked about; the neighbour whose distance counts; the columns, those with
the fewest values first, whose combinations are counted."""
MOST_ROWS = 50
"""Rows of one person to skip in the search for the nearest other people. Beyond it a person's own rows may be counted
as somebody else's."""
RARE, MOST_SECRETS = 0.1, 30
"""A value is rare if less than this share of the original's people have it; and most secrets with such a finding."""
GROUPS: tuple[Group, Group] = ("used", "unused")
BLOCKS = {"linkability": 99, "attribute_inference": 499}
RARE_VALUES = 509
"""Added to the number of the attack's own rule: for findings on the two groups (`BLOCKS`), and on rare values."""


def outliers_and_rare(setting: Setting, linked: Sequence[Judged], inferred: Inferred) -> list[Judged]:
    """Findings on people who stand out: the deciding link and secret, and each secret for people with a rare value.

    The p-values are Holm-adjusted over all these findings. Without a control the list is empty.
    """
    if setting.controls is None:
        return []
    setting.progress("outliers and rare groups")
    groups = {"outliers": _outlying(setting), "rare combinations": _rare(setting)}
    asked: list[tuple[Plan, Evidence]] = []
    for one in (*linked[:1], inferred.judged[0]):
        if one.evidence is None:
            continue
        for number, (name, people) in enumerate(groups.items(), 1):
            if people is not None:
                plan = planned(one.plan.attack, target=name)
                plan = replace(plan, rule=numbered(plan.rule, BLOCKS[plan.risk] + number), params={})
                asked.append((plan, setting.targets.of(one.evidence, people)))
    asked += _rare_values(setting, inferred)
    judged = [_judged(setting, plan, evidence) for plan, evidence in asked]
    chances = [_chance(one.evidence) for one in judged if one.evidence is not None]
    adjusted = map(four_digits, statistics.holm(np.array(chances)).tolist())
    return [
        one
        if one.evidence is None
        else replace(one, finding=one.finding.model_copy(update={"adjusted_p": next(adjusted)}))
        for one in judged
    ]


def _rare_values(setting: Setting, inferred: Inferred) -> list[tuple[Plan, Evidence]]:
    """Plan and evidence of each secret, for the people whose value is rare.

    Over everybody, a leak about few people would show as a small excess: at most their share.
    """
    made: list[tuple[Plan, Evidence]] = []
    attack = inferred.judged[0].plan.attack
    for column, values in zip(setting.members.columns, setting.members.values, strict=True):
        if column.name not in inferred.by_secret or (column.kind == "numeric" and _distinct(values) > FEW_VALUES):
            continue
        levels, counts = people_with(values, setting.members.persons)
        rare = levels[counts < RARE * len(np.unique(setting.members.persons))]
        truth = setting.targets.table.select((column.name,)).values[0]
        people = np.isin(truth, rare)
        groups = [
            len(np.unique(setting.targets.table.persons[people & side]))
            for side in (setting.targets.used, ~setting.targets.used)
        ]
        if min(groups) < setting.min_cell or len(made) >= MOST_SECRETS:
            continue
        plan = planned(attack, target=f"rare values of {column.name}")
        plan = replace(plan, rule=numbered(plan.rule, RARE_VALUES + len(made)), params={})
        made.append((plan, setting.targets.of(inferred.by_secret[column.name], people)))
    return made


def _judged(setting: Setting, plan: Plan, evidence: Evidence) -> Judged:
    cells = [evidence.cell("true", g) for g in GROUPS]
    if min(len(np.unique(c.cluster)) for c in cells) < setting.min_cell:
        needs = f"{setting.min_cell} or more people of this group in the original, and as many in the control"
        return unmeasured(plan, Unavailable("small_group", needs))
    return Judged(plan, findings_.rates(plan, evidence), evidence)


def _chance(evidence: Evidence) -> float:
    """The p-value of the excess: the chance of one as large if nothing leaks."""
    used, unused = (statistics.proportion(c.success, c.cluster) for c in (evidence.cell("true", g) for g in GROUPS))
    return statistics.exceedance_p(used, unused)


def _outlying(setting: Setting) -> Array:
    """Which people asked about are outliers (n,) bool: furthest from other people's rows of the original."""
    original, asked = setting.members, setting.targets.table
    most = int(np.unique(original.persons, return_counts=True)[1].max())
    rows, distances, _ = nearest(asked, original, Scale.of(original), setting.seed, NEIGHBOUR + min(MOST_ROWS, most))
    others = original.persons[rows] != asked.persons[:, None]
    # The distance to the fifth row of other people, or to the last row found if there are fewer.
    place = np.minimum(np.argmax(np.cumsum(others, 1) >= min(NEIGHBOUR, len(original)), axis=1), rows.shape[1] - 1)
    place[others.sum(1) < NEIGHBOUR] = rows.shape[1] - 1
    far = distances[np.arange(len(asked)), place]
    return far >= np.quantile(far, 1 - SHARE)


def _rare(setting: Setting) -> Array | None:
    """Which people asked about have the rarest category or pair of categories in the original (n,) bool.

    None if no column has few values.
    """
    original, asked = setting.members, setting.targets.table
    sizes = {
        j: len(column.levels) if column.kind == "categorical" else _distinct(values)
        for j, (column, values) in enumerate(zip(original.columns, original.values, strict=True))
        if column.kind == "categorical" or _distinct(values) <= FEW_VALUES
    }
    coded = sorted(sizes, key=lambda j: sizes[j])[:MOST_COLUMNS]
    if not coded:
        return None
    # Codes are made for both tables together. A missing value is a value like any other.
    codes = {
        j: np.unique(np.concatenate([t.values[j] for t in (original, asked)]), return_inverse=True)[1] for j in coded
    }
    rarity = np.full(len(asked), np.inf)
    for chosen in [*combinations(coded, 1), *combinations(coded, 2)]:
        keys = np.zeros(len(original) + len(asked), np.int64)
        for j in chosen:
            keys = keys * 2**31 + codes[j]
        own, others = keys[: len(original)], keys[len(original) :]
        values, counts = people_with(own, original.persons)
        place = np.minimum(np.searchsorted(values, others), len(values) - 1)
        frequency = np.where(values[place] == others, counts[place], 0)
        # A member's own row is not counted.
        rarity = np.minimum(rarity, frequency - setting.targets.used)
    return rarity <= np.quantile(rarity, SHARE)


def _distinct(values: Array) -> int:
    return len(np.unique(values[~np.isnan(values.astype(float))]))
