"""Checks of the control: overlap with the original beyond chance, and a shift between the two, by permutation."""

from __future__ import annotations

import numpy as np

from testbed.core import Array, Table
from testbed.core.tables.index import person_numbers
from testbed.core.tables.rows import numbered
from testbed.findings.statistics.intervals import scipy_stats
from testbed.findings.validity import FEW_GUESSES
from testbed.harness.release.copies import naming
from testbed.harness.release.grids import alike

SHIFT_P, OVERLAP_P = 0.01, 0.001
"""Levels below which a shift, or an overlap, is flagged."""
SHIFT_SAMPLE = 20_000
"""Most rows of both groups together that are compared for a shift."""
COMMON = 0.5
"""The least share of released categories that the original has."""
RECURRING = 0.8
"""The share of the control whose category the original has, from which on categories recur."""


def control_flags(members: Table, controls: Table | None, rng: np.random.Generator) -> list[str]:
    """Flags for what is wrong with the control. The list is empty if there is no control."""
    if controls is None:
        return []
    flags = ["small_control"] if len(np.unique(controls.persons)) < FEW_GUESSES else []
    if overlap_p(members, controls, rng) < OVERLAP_P:
        flags.append("control_overlap")
    if shift_p(members, controls, rng) < SHIFT_P:
        flags.append("control_shift")
    return flags


def release_flags(release: Table, members: Table, controls: Table | None) -> list[str]:
    """What speaks against comparing the release with the original: `categories_unknown`, or nothing.

    Categories are unknown if most of a column's released ones do not occur in the original, although the control's do.
    Renamed categories hide whose row is whose from every attack that compares them.
    """
    for j, column in enumerate(members.columns):
        original, control = members.values[j], None if controls is None else controls.values[j]
        if column.kind != "categorical" or not _recurring(original, control):
            continue
        if np.isin(release.values[j], original).mean() < COMMON:
            return ["categories_unknown"]
    return []


def _recurring(original: Array, control: Array | None) -> bool:
    """Whether a column's categories recur from person to person, as names and free text do not."""
    if control is None:
        return len(np.unique(original)) < (1 - RECURRING) * len(original)
    return bool(np.isin(control, original).mean() > RECURRING)


def overlap_p(members: Table, controls: Table, rng: np.random.Generator, permutations: int = 1999) -> float:
    """One-sided p-value that equal rows are found across the two groups more often than within them.

    In a table with few categories, different people share rows within and across groups alike. People who are in both
    groups share rows across groups only. Numbers are compared on the coarser grid of the two groups, and columns
    that only name the rows are left out.
    """
    controls, members, _ = alike(controls, members, None)
    names = naming([members, controls])
    kept = tuple(c.name for c in members.columns if c.name not in names)
    if kept:
        members, controls = members.select(kept), controls.select(kept)
    value = np.concatenate(numbered(members, controls))
    is_member = np.arange(len(value)) < len(members)
    person = person_numbers(np.concatenate([members.persons, controls.persons]))
    if person.max() < len(person) - 1:  # a person who has a row several times has it once
        once = np.unique(np.stack([value, person, is_member], 1), axis=0, return_index=True)[1]
        value, is_member = value[once], is_member[once]
    repeated = np.bincount(value)[value] > 1
    if not repeated.any():
        return 1.0
    _, group = np.unique(value[repeated], return_inverse=True)
    label = is_member[repeated]
    size = np.bincount(group)

    def across(of_members: Array) -> float:
        mine = np.bincount(group, weights=of_members, minlength=len(size))
        return float((mine * (size - mine)).sum())

    observed = across(label)
    # When labels are drawn anew, the number of repeated rows that are members' varies too.
    drawn = rng.hypergeometric(int(is_member.sum()), int((~is_member).sum()), int(repeated.sum()), permutations)
    template = np.arange(len(label))
    at_least = sum(across(rng.permutation(template < k)) >= observed for k in drawn)
    return (1 + at_least) / (1 + permutations)


def shift_p(members: Table, controls: Table, rng: np.random.Generator, permutations: int = 499) -> float:
    """Two-sample permutation p-value of a shift between members and controls.

    The statistic is the largest standardised difference in means of ranks, missing values and categories. Persons, not
    rows, change groups. At most 20,000 rows are compared.
    """
    sampled = [t.take(np.sort(rng.permutation(len(t))[: SHIFT_SAMPLE // 2])) for t in (members, controls)]
    features = _features(sampled[0], sampled[1])
    persons = person_numbers(np.concatenate([t.persons for t in sampled]))
    sums = np.zeros((persons.max() + 1, features.shape[1]))
    np.add.at(sums, persons, features)
    rows = np.bincount(persons)
    is_member = np.zeros(len(rows), dtype=bool)
    is_member[persons[: len(sampled[0])]] = True

    def largest(labels: Array) -> float:
        inside = labels @ rows
        outside = rows.sum() - inside
        mine = labels @ sums
        return float(np.abs(mine / inside - (sums.sum(0) - mine) / outside).max())

    observed = largest(is_member.astype(float))
    at_least = sum(largest(rng.permutation(is_member).astype(float)) >= observed for _ in range(permutations))
    return (1 + at_least) / (1 + permutations)


def _features(members: Table, controls: Table, most_levels: int = 20) -> Array:
    blocks: list[Array] = []
    for column, mine, other in zip(members.columns, members.values, controls.values, strict=True):
        values = np.concatenate([mine, other]).astype(float)
        if column.kind == "numeric":
            gaps = np.isnan(values)
            ranks = scipy_stats.rankdata(np.where(gaps, np.inf, values))
            ranks[gaps] = ranks[~gaps].mean() if (~gaps).any() else 0
            blocks += [ranks, gaps.astype(float)]
        else:
            levels, counts = np.unique(values, return_counts=True)
            blocks += [(values == v).astype(float) for v in levels[np.argsort(-counts)[:most_levels]]]
    block = np.stack([b for b in blocks if b.std() > 0] or [np.zeros(len(members) + len(controls))], 1)
    return (block - block.mean(0)) / np.where(block.std(0) > 0, block.std(0), 1)
