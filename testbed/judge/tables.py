# pyright: strict, reportMissingTypeStubs=false
"""Judges claims about tables: links, guessed secrets and predicates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from testbed.core import Array, Cell, Column, Evidence, Group, Guesses, Links, Predicates, Table
from testbed.core.tables.index import Index
from testbed.judge.chance import unique_match_probability
from testbed.judge.groups import by_group


def links(claim: Links, partner: Array, used: Array, view: Cell, persons: Array) -> Evidence:
    """Do the two halves of each person meet? `partner[i]` is the right-hand row of left-hand row i."""
    met = (claim.left[:, :, None] == claim.right[partner][:, None, :]).any(axis=(1, 2))
    return by_group(view, used, met.astype(float), persons)


def guesses(
    claim: Guesses, secrets: Sequence[Column], truth: Table, used: Array, view: Cell, persons: Array
) -> Evidence:
    """What share of these secrets is guessed rightly: the same category (a gap is one), or within the tolerance?"""
    right = [_right(claim, s, truth.select((s.name,)).values[0]) for s in secrets]
    return by_group(view, used, np.mean(right, axis=0), persons)


def _right(claim: Guesses, secret: Column, truth: Array) -> Array:
    values = claim.values[secret.name]
    if secret.kind == "categorical":
        return (values == truth).astype(float)
    both_missing = np.isnan(values) & np.isnan(truth)
    return (both_missing | (np.abs(values - truth) <= claim.tolerance[secret.name])).astype(float)


FEW_MATCHES, MOST_MATCHES = 64, 2**24
"""People that a predicate fits, per group at its own size; and all matches that are looked at."""


RELABELLINGS = 400


def predicates(
    claim: Predicates, members: Index, controls: Index | None, view: Cell, requested: int, sample: int | None = None
) -> Evidence:
    """Does each predicate fit exactly one person? Both groups are judged at the same size, the smaller one's.

    A predicate's success is the exact probability that a sample of so many people, drawn without replacement, holds
    exactly one match (hypergeometric); at equal sizes that is 0 or 1. Several matching rows of one person are one
    match. Clusters are column sets; single columns are no clusters, since all of them are used and none is drawn.
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
        # At its own size a table needs no more than to know whether there is a second match.
        counts = index.counts(claim.conjunctions, 2 if size == index.people else None)
        success = unique_match_probability(counts, index.people, size)
        parts.append(Evidence.rows(view, group, success=success, cluster=cluster, requested=requested))
    return Evidence.join(*parts)


def predicates_design(claim: Predicates, members: Index, controls: Index, rng: np.random.Generator) -> float:
    """By what the excess varies more than predicates would if each were about people of its own; 1 or more.

    Where nothing leaks, who is a member and who a control is exchangeable. Labels are drawn anew and each predicate
    judged again: the variance of the sum of differences, over the sum of their variances, is the design effect.
    """
    size = min(members.people, controls.people)
    # What fits more people than this is practically never unique in a sample of that size.
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
