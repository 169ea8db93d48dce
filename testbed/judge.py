# pyright: strict, reportMissingTypeStubs=false
"""From claims to evidence: the only place where a claim meets the truth. One function per kind of claim."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from scipy import optimize as _optimize
from scipy.spatial import distance as _distance

from testbed import stats
from testbed.core import (
    Array,
    Cell,
    Cohort,
    Column,
    Evidence,
    Group,
    Guesses,
    Links,
    Predicates,
    Predictor,
    Reconstruction,
    Representatives,
    Scores,
    Sources,
    Table,
)
from testbed.likeness import psnr
from testbed.matching import Index
from testbed.similarity import SQUARED_DISTANCE, Similarity, picked

optimize = cast(Any, _optimize)  # SciPy ships no types
distance = cast(Any, _distance)

Key = tuple[int, int]
Similarities = Similarity | Mapping[Key, Similarity]
"""By which claims and records are compared: one for all exchanges, or one for each."""


# --- membership -----------------------------------------------------------------------------------------


def scores(claim: Scores, used: Array, view: Cell, persons: Array | None = None) -> Evidence:
    """Scores of pooled records, `used` (n,) bool in the question's order. Success is left to the threshold.

    Records of one of the `persons` (n,) hang together; without them each record stands for itself.

    Raises `ValueError` for a score that is not finite or not given.
    """
    values = np.asarray(claim.values, dtype=float)
    if values.shape != used.shape or not np.isfinite(values).all():
        raise ValueError("a membership attack must give one finite score per record")
    index = np.arange(len(used))
    person = index if persons is None else np.unique(persons, return_inverse=True)[1]
    parts = [
        Evidence.rows(view, group, score=values[mask], item=index[mask], cluster=person[mask])
        for group, mask in _groups(used)
    ]
    return Evidence.join(*parts)


def sources(claim: Sources, holder: Array, used: Array, view: Cell, persons: Array) -> Evidence:
    """Is the client named the one that holds each record? Of controls, the one that might have held them."""
    return _by_group(view, used, (claim.clients == holder).astype(float), persons)


# --- models ------------------------------------------------------------------------------------------------


def feature(claim: Guesses, truth: Array, used: Array, view: Cell, persons: Array) -> Evidence:
    """Is each person's hidden input guessed exactly? The claim has one guess a person."""
    guesses_ = next(iter(claim.values.values()))
    return _by_group(view, used, (guesses_ == truth).astype(float), persons)


def agreement(substitute: Predictor, answers: Array, people: Cohort, view: Cell, group: Group) -> Evidence:
    """Does the substitute name the same class as the model, whose `answers` (n, classes) these are?"""
    same = substitute.ask(people).argmax(1) == answers.argmax(1)
    person = np.unique(people.persons, return_inverse=True)[1]
    return Evidence.rows(view, group, success=same.astype(float), cluster=person)


def representatives(claim: Representatives, people: Cohort, view: Cell, group: Group) -> Evidence:
    """Is each class's representative nearest to the mean of that class, of all classes these people have?

    On the scale of each input's spread among them. A class that none of them has is left out.
    """
    x = _flat(people.x)
    spread = x.std(0)
    scale = np.where(spread > 0, spread, np.inf)
    labels = np.unique(people.y)
    means = np.stack([x[people.y == c].mean(0) for c in labels]) / scale
    asked = _flat(claim.records)[labels] / scale
    nearest = distance.cdist(asked, means, "sqeuclidean").argmin(1)
    return Evidence.rows(view, group, success=(nearest == np.arange(len(labels))).astype(float), item=labels)


def named(
    claim: Representatives, judge: Callable[[Array], Array], classes: Array, view: Cell, group: Group
) -> Evidence:
    """Does an independent classifier, which maps records (n, ...) to classes (n,), name each representative rightly?"""
    said = judge(claim.records[classes])
    return Evidence.rows(view, group, success=(said == classes).astype(float), item=classes)


# --- reconstruction -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LineUp:
    """Look-alikes from no group at all; a record is picked out if the reconstruction is more like it than like any."""

    decoys: Cohort

    @property
    def size(self) -> int:
        return len(self.decoys) + 1


def reconstruction(
    claim: Reconstruction,
    truth: Mapping[Key, Cohort],
    line_up: LineUp,
    view: Cell,
    group: Group,
    similarity: Similarities = SQUARED_DISTANCE,
) -> Evidence:
    """Was each record picked out of its line-up? Score is the PSNR in dB; unit is the batch, in `cluster`.

    Reconstructions and records of an exchange are matched by the least total distance (Hungarian method), and picked
    out by the same `similarity`; a record without a reconstruction has failed. A tie with d look-alikes counts
    1 / (d + 1).
    """
    crowd = _flat(line_up.decoys.x)
    cluster: list[int] = []
    found: list[tuple[int, Array, Array, Similarity]] = []  # row of evidence, claim, record, by what they are compared
    for number, (key, people) in zip(same_people(truth), truth.items(), strict=True):
        rebuilt = _flat(claim.batches.get(key, np.empty((0, *people.x.shape[1:]))))
        rebuilt = rebuilt[np.isfinite(rebuilt).all(1)]
        records, by = _flat(people.x), _of(similarity, key)
        matched = _match(rebuilt, records, by, crowd)
        found += [(len(cluster) + i, rebuilt[guess], records[i], by) for i, guess in matched.items()]
        cluster += [number] * len(people)
    success, score = np.zeros(len(cluster)), np.zeros(len(cluster))
    for row, guess, record, _ in found:
        score[row] = psnr(guess, record)
    for by in {by.name: by for *_, by in found}.values():
        rows, guesses, records = zip(*(f[:3] for f in found if f[3].name == by.name), strict=True)
        # All in one call, so that a look-alike equal to the record is as far to the last bit.
        apart = by.distances(np.stack(guesses), np.concatenate([np.stack(records), crowd]), crowd)
        success[list(rows)] = [picked(float(own[i]), own[len(rows) :]) for i, own in enumerate(apart)]
    evidence = Evidence.rows(view, group, score=score, success=success, cluster=cluster)
    return _performed(evidence, requested=len(cluster), performed=len(found))


def same_people(truth: Mapping[Key, Cohort]) -> list[int]:
    """A cluster for each exchange: those that share a person are one, as rounds of one client's training are."""
    cluster: list[int] = []
    of: dict[str, int] = {}
    for number, people in enumerate(truth.values()):
        known = {of[p] for p in people.persons.tolist() if p in of}
        mine = min(known, default=number)
        for person, held in list(of.items()):
            of[person] = mine if held in known else held
        cluster = [mine if c in known else c for c in cluster] + [mine]
        of |= dict.fromkeys(people.persons.tolist(), mine)
    return cluster


CELL_TOLERANCE = 0.05
"""A number counts as rebuilt if it is this near, on the scale between its column's 1 % and 99 % quantiles."""


def cells(
    claim: Reconstruction,
    truth: Mapping[Key, Cohort],
    blocks: Sequence[int],
    view: Cell,
    group: Group,
    similarity: Similarities = SQUARED_DISTANCE,
    crowd: Array | None = None,
) -> tuple[Evidence, Array]:
    """Of tables: which cells of each record came back? Success is a record's share; and the rate by column (k,).

    A category must be the same, a number within `CELL_TOLERANCE`. Matching is as in `reconstruction`, on the scale of
    the look-alikes `crowd` (k, features); cells of a record without a reconstruction are wrong.
    """
    right: list[Array] = []
    cluster: list[int] = []
    performed = 0
    for number, (key, people) in zip(same_people(truth), truth.items(), strict=True):
        rebuilt = np.asarray(claim.batches.get(key, np.empty((0, people.x.shape[1]))), dtype=np.float64)
        rebuilt = rebuilt[np.isfinite(rebuilt).all(1)]
        matched = _match(rebuilt, _flat(people.x), _of(similarity, key), crowd)
        performed += len(matched)
        for i in range(len(people)):
            cluster.append(number)
            found = i in matched
            right.append(same_cells(rebuilt[matched[i]], people.x[i], blocks) if found else np.zeros(len(blocks)))
    table = np.array(right)
    evidence = Evidence.rows(view, group, score=table.mean(1), success=table.mean(1), cluster=cluster)
    return _performed(evidence, requested=len(table), performed=min(performed, len(table))), table.mean(0)


def tokens(
    claim: Reconstruction,
    truth: Mapping[Key, Cohort],
    view: Cell,
    group: Group,
) -> tuple[Evidence, Array]:
    """Of text: which words came back at their places? Success is a sentence's share; and the rate by place (length,).

    Records are word numbers, 0 after the end. Score is 1 for a whole sentence to its end. Sentences are matched by
    their number of equal words; those of a sentence without a reconstruction are wrong.
    """
    success: list[float] = []
    whole: list[float] = []
    cluster: list[int] = []
    right: list[Array] = []
    performed = 0
    for number, (key, people) in zip(same_people(truth), truth.items(), strict=True):
        rebuilt = np.asarray(claim.batches.get(key, np.empty((0, people.x.shape[1]))))
        equal = (people.x[:, None, :] == rebuilt[None]) & (people.x[:, None, :] != 0)
        chosen = optimize.linear_sum_assignment(-equal.sum(2))
        matched = {int(r): int(c) for r, c in zip(*chosen, strict=True)}
        performed += len(matched)
        for i, record in enumerate(people.x):
            cluster.append(number)
            found = equal[i, matched[i]] if i in matched else np.zeros(len(record), bool)
            right.append(np.where(record != 0, found, np.nan))
            success.append(float(found.sum() / max(1, (record != 0).sum())))
            whole.append(float(i in matched and (rebuilt[matched[i]] == record).all()))
    evidence = Evidence.rows(view, group, score=whole, success=success, cluster=cluster)
    table = np.array(right)
    used = np.maximum(np.isfinite(table).sum(0), 1)
    return _performed(evidence, requested=len(table), performed=min(performed, len(table))), np.nansum(table, 0) / used


NONE = -1
"""A category that is none of those listed: all its features are nought."""


def same_cells(one: Array, other: Array, blocks: Sequence[int]) -> Array:
    """Which cells (k,) of two records in one-hot coding are the same; a category in doubt is wrong."""
    made: list[bool] = []
    start = 0
    for width in blocks:
        parts = [np.asarray(r[start : start + width], dtype=np.float64) for r in (one, other)]
        start += width
        if width == 1:
            made.append(bool(abs(parts[0][0] - parts[1][0]) <= CELL_TOLERANCE))
        else:
            picked = [int(p.argmax()) if p.max() > 0.5 else NONE if p.max() <= CELL_TOLERANCE else None for p in parts]
            made.append(picked[0] == picked[1] is not None)
    return np.array(made, dtype=np.float64)


def pairs(rebuilt: Array, people: Cohort, otherwise: float | None = None) -> list[tuple[Array, Array]]:
    """Each record with the reconstruction that is matched to it, for people to look at.

    Records with none are left out, or stand last, beside one that is `otherwise` everywhere.
    """
    matched = _match(_flat(rebuilt), _flat(people.x))
    made = [(people.x[record], rebuilt[guess]) for record, guess in matched.items()]
    if otherwise is not None:
        left = (x for record, x in enumerate(people.x) if record not in matched)
        made += [(x, np.full(x.shape, otherwise)) for x in left]
    return made


def _flat(x: Array) -> Array:
    return np.asarray(x, dtype=np.float64).reshape(len(x), math.prod(x.shape[1:]))


def _of(similarity: Similarities, key: Key) -> Similarity:
    return similarity if isinstance(similarity, Similarity) else similarity[key]


def _match(
    rebuilt: Array, records: Array, by: Similarity = SQUARED_DISTANCE, crowd: Array | None = None
) -> dict[int, int]:
    """Record number -> number of the reconstruction that is matched to it."""
    if not len(rebuilt):
        return {}
    cost = by.distances(rebuilt, records, records if crowd is None else crowd).T
    rows, columns = optimize.linear_sum_assignment(cost)
    return dict(zip((int(r) for r in rows), (int(c) for c in columns), strict=True))


def _performed(evidence: Evidence, *, requested: int, performed: int) -> Evidence:
    return replace(evidence, requested=requested, performed=performed)


# --- synthetic releases ---------------------------------------------------------------------------------


def links(claim: Links, partner: Array, used: Array, view: Cell, persons: Array) -> Evidence:
    """Do the two halves of each person meet? `partner[i]` is the right-hand row of left-hand row i."""
    met = (claim.left[:, :, None] == claim.right[partner][:, None, :]).any(axis=(1, 2))
    return _by_group(view, used, met.astype(float), persons)


def guesses(
    claim: Guesses, secrets: Sequence[Column], truth: Table, used: Array, view: Cell, persons: Array
) -> Evidence:
    """What share of these secrets is guessed rightly: the same category (a gap is one), or within the tolerance?"""
    right = [_right(claim, s, truth.select((s.name,)).values[0]) for s in secrets]
    return _by_group(view, used, np.mean(right, axis=0), persons)


def _right(claim: Guesses, secret: Column, truth: Array) -> Array:
    values = claim.values[secret.name]
    if secret.kind == "categorical":
        return (values == truth).astype(float)
    both_missing = np.isnan(values) & np.isnan(truth)
    return (both_missing | (np.abs(values - truth) <= claim.tolerance[secret.name])).astype(float)


def _groups(used: Array) -> tuple[tuple[Group, Array], tuple[Group, Array]]:
    return ("used", used), ("unused", ~used)


def _by_group(view: Cell, used: Array, success: Array, persons: Array) -> Evidence:
    _, person = np.unique(persons, return_inverse=True)
    index = np.arange(len(used))
    parts = [
        Evidence.rows(view, group, success=success[mask], item=index[mask], cluster=person[mask])
        for group, mask in _groups(used)
    ]
    return Evidence.join(*parts)


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
        success = stats.unique_match_probability(counts, index.people, size)
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
    unique = [stats.unique_match_probability(up_to, i.people, size) for i in (members, controls)]
    difference = np.zeros((RELABELLINGS, counts.shape[1]))
    for i in range(RELABELLINGS):
        used = np.zeros(len(people), dtype=bool)
        used[: rng.hypergeometric(members.people, controls.people, len(people)) if len(people) else 0] = True
        fits = np.bincount(which, weights=rng.permutation(used)[who], minlength=counts.shape[1]).astype(int)
        difference[i] = unique[0][fits] - unique[1][np.where(few, counts.sum(0) - fits, 0)]
    alone = float(difference.var(0).sum())
    return max(1.0, float(difference.sum(1).var()) / alone) if alone > 0 else 1.0
