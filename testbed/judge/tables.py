# pyright: strict, reportMissingTypeStubs=false
"""Judging claims about tables: links, guessed secrets and predicates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from testbed.core import Array, Cell, Column, Evidence, Group, Guesses, Links, Predicates, Table
from testbed.judge.chance import unique_match_probability
from testbed.judge.groups import by_group

if TYPE_CHECKING:
    from testbed.core.tables.index import Index  # it loads a compiler


def links(claim: Links, partner: Array, used: Array, view: Cell, persons: Array) -> Evidence:
    """Evidence that the two halves of each person's record point to a common released row.

    `partner[i]` is the row of the right-hand table that belongs to row i of the left-hand table.
    """
    met = (claim.left[:, :, None] == claim.right[partner][:, None, :]).any(axis=(1, 2))
    return by_group(view, used, met.astype(float), persons)


def guesses(
    claim: Guesses, secrets: Sequence[Column], truth: Table, used: Array, view: Cell, persons: Array
) -> Evidence:
    """Evidence where success is the share of these secrets that are predicted correctly.

    A category must be the same; a missing value counts as a category. A number must lie within the claim's tolerance.
    """
    right = [_right(claim, s, truth.select((s.name,)).values[0]) for s in secrets]
    return by_group(view, used, np.mean(right, axis=0), persons)


def _right(claim: Guesses, secret: Column, truth: Array) -> Array:
    values = claim.values[secret.name]
    if secret.kind == "categorical":
        return (values == truth).astype(float)
    both_missing = np.isnan(values) & np.isnan(truth)
    return (both_missing | (np.abs(values - truth) <= claim.tolerance[secret.name])).astype(float)


FEW_MATCHES, MOST_MATCHES = 64, 2**24
"""For the design effect: a predicate is used if it fits at most about this many people in a sample of the judged size;
and the limit on all matches together, which bounds the memory."""

RELABELLINGS = 400
"""Random relabellings from which the design effect is computed."""


def predicates(
    claim: Predicates, members: Index, controls: Index | None, view: Cell, requested: int, sample: int | None = None
) -> Evidence:
    """Evidence that each predicate fits exactly one person, judged for both groups at the size of the smaller group.

    Success is the exact probability (hypergeometric) that a random sample of that size holds exactly one matching
    person; for a group of that size it is 0 or 1. Several matching rows of one person count once. Predicates on the
    same set of columns are one cluster; predicates on a single column are clusters of their own. `sample` overrides the
    size.
    """
    size = sample or min(members.people, (controls or members).people)
    sets = [tuple(condition.column for condition in c) for c in claim.conjunctions]
    number = {s: i for i, s in enumerate(dict.fromkeys(sets))}
    several = len(number)
    cluster = np.array([number[s] if len(s) > 1 else several + i for i, s in enumerate(sets)], dtype=int)
    parts: list[Evidence] = []
    groups: tuple[tuple[Group, Index | None], ...] = (("used", members), ("unused", controls))
    for group, index in groups:
        if index is None:
            continue
        # At full size it only matters whether there is a second match, so counting stops at two.
        counts = index.counts(claim.conjunctions, 2 if size == index.people else None)
        success = unique_match_probability(counts, index.people, size)
        parts.append(Evidence.rows(view, group, success=success, cluster=cluster, requested=requested))
    return Evidence.join(*parts)


def predicates_design(claim: Predicates, members: Index, controls: Index, rng: np.random.Generator) -> float:
    """Design effect of the excess over predicates, at least 1: predicates that fit the same people are correlated.

    If nothing leaks, the labels member and control are exchangeable. Labels are drawn at random many times, and each
    time every predicate's difference between the groups is computed. The design effect is the variance of the sum of
    these differences over the sum of their single variances.
    """
    size = min(members.people, controls.people)
    # A predicate that fits more people than this is practically never unique in a sample of that size.
    limit = MOST_MATCHES // max(1, len(claim.conjunctions))
    few_of = [min(limit, math.ceil(FEW_MATCHES * i.people / max(1, size))) for i in (members, controls)]
    of_members, of_controls = (
        i.matches(claim.conjunctions, most) for i, most in zip((members, controls), few_of, strict=True)
    )
    counts = np.stack([of_members[0], of_controls[0]])
    few = (counts.min(0) >= 0) & (counts.sum(0) > 0)
    who = np.concatenate([of_members[1], of_controls[1] + members.people])
    which = np.concatenate([np.repeat(np.arange(counts.shape[1]), np.maximum(c, 0)) for c in counts])
    who, which = who[few[which]], which[few[which]]
    people, who = np.unique(who, return_inverse=True)
    up_to = np.arange(sum(few_of) + 1)
    unique = [unique_match_probability(up_to, i.people, size) for i in (members, controls)]
    difference = np.zeros((RELABELLINGS, counts.shape[1]))
    for i in range(RELABELLINGS):
        used = np.zeros(len(people), dtype=bool)
        used[: rng.hypergeometric(members.people, controls.people, len(people)) if len(people) else 0] = True
        fits = np.bincount(which, weights=rng.permutation(used)[who], minlength=counts.shape[1]).astype(int)
        difference[i] = unique[0][fits] - unique[1][np.where(few, counts.sum(0) - fits, 0)]
    alone = float(difference.var(0).sum())
    return max(1.0, float(difference.sum(1).var()) / alone) if alone > 0 else 1.0
