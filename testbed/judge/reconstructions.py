# pyright: strict, reportMissingTypeStubs=false
"""Judging reconstructions: records in a line-up, cells of table rows, words of sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from scipy import optimize as _optimize
from scipy.spatial import distance as _distance

from testbed.core import Array, Cell, Cohort, Evidence, Group, Reconstruction
from testbed.judge.arrays import flat
from testbed.judge.image_quality import psnr
from testbed.judge.similarity import SQUARED_DISTANCE, Similarity, picked

optimize = cast(Any, _optimize)  # SciPy ships no types
distance = cast(Any, _distance)

Key = tuple[int, int]
Similarities = Similarity | Mapping[Key, Similarity]
"""The similarity by which claims and records are compared: one for all exchanges, or one for each."""


@dataclass(frozen=True, slots=True)
class LineUp:
    """Look-alikes: records of people in no other group.

    A record is picked if its reconstruction is more similar to it than to any look-alike.
    """

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
    """Evidence that each record was picked from its line-up; the score is the PSNR in dB, the cluster the batch.

    Within an exchange, reconstructions are assigned to records so that their total distance is smallest (Hungarian
    method). The same `similarity` then decides the line-up. A tie with d look-alikes counts 1 / (d + 1), a record
    without a reconstruction 0. Batches that share a person are one cluster.
    """
    crowd = flat(line_up.decoys.x)
    cluster: list[int] = []
    assigned: list[tuple[int, Array, Array, Similarity]] = []  # row of evidence, reconstruction, record, similarity
    for number, (key, people) in zip(same_people(truth), truth.items(), strict=True):
        rebuilt = flat(claim.batches.get(key, np.empty((0, *people.x.shape[1:]))))
        rebuilt = rebuilt[np.isfinite(rebuilt).all(1)]
        records, by = flat(people.x), _of(similarity, key)
        matched = _match(rebuilt, records, by, crowd)
        assigned += [(len(cluster) + i, rebuilt[guess], records[i], by) for i, guess in matched.items()]
        cluster += [number] * len(people)
    success, score = np.zeros(len(cluster)), np.zeros(len(cluster))
    for row, guess, record, _ in assigned:
        score[row] = psnr(guess, record)
    for by in {by.name: by for *_, by in assigned}.values():
        rows, guesses, records = zip(*(a[:3] for a in assigned if a[3].name == by.name), strict=True)
        # All in one call, so that a look-alike equal to the record has exactly the same distance.
        apart = by.distances(np.stack(guesses), np.concatenate([np.stack(records), crowd]), crowd)
        success[list(rows)] = [picked(float(own[i]), own[len(rows) :]) for i, own in enumerate(apart)]
    evidence = Evidence.rows(view, group, score=score, success=success, cluster=cluster)
    return _performed(evidence, requested=len(cluster), performed=len(assigned))


def same_people(truth: Mapping[Key, Cohort]) -> list[int]:
    """The cluster number of each exchange. Exchanges that share a person are one cluster, such as a client's rounds."""
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
"""A reconstructed number counts as right if it differs by at most this much.

The unit is the distance between the column's 1 % and 99 % quantiles.
"""


def cells(
    claim: Reconstruction,
    truth: Mapping[Key, Cohort],
    blocks: Sequence[int],
    view: Cell,
    group: Group,
    similarity: Similarities = SQUARED_DISTANCE,
    crowd: Array | None = None,
) -> tuple[Evidence, Array]:
    """Evidence about table rows, whose success is the share of a record's cells that are right; and the rate by column.

    A category must be the same, a number within `CELL_TOLERANCE`. `blocks` gives each column's number of features.
    Reconstructions are assigned to records as in `reconstruction`; `crowd` (n, features) are records that give the
    scale of a standardised similarity. All cells of a record without a reconstruction are wrong.
    """
    right: list[Array] = []
    cluster: list[int] = []
    performed = 0
    for number, (key, people) in zip(same_people(truth), truth.items(), strict=True):
        rebuilt = np.asarray(claim.batches.get(key, np.empty((0, people.x.shape[1]))), dtype=np.float64)
        rebuilt = rebuilt[np.isfinite(rebuilt).all(1)]
        matched = _match(rebuilt, flat(people.x), _of(similarity, key), crowd)
        performed += len(matched)
        for i in range(len(people)):
            cluster.append(number)
            guessed = i in matched
            right.append(same_cells(rebuilt[matched[i]], people.x[i], blocks) if guessed else np.zeros(len(blocks)))
    table = np.array(right)
    evidence = Evidence.rows(view, group, score=table.mean(1), success=table.mean(1), cluster=cluster)
    return _performed(evidence, requested=len(table), performed=min(performed, len(table))), table.mean(0)


def tokens(
    claim: Reconstruction,
    truth: Mapping[Key, Cohort],
    view: Cell,
    group: Group,
) -> tuple[Evidence, Array]:
    """Evidence about text, whose success is the share of a sentence's words that are right; and the rate by position.

    Records are word numbers, with 0 after the end. A word must stand at its own position. The score is 1 if the whole
    sentence is right, else 0. Reconstructions are assigned to sentences so that most words are equal. All words of a
    sentence without a reconstruction are wrong.
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
            same = equal[i, matched[i]] if i in matched else np.zeros(len(record), bool)
            right.append(np.where(record != 0, same, np.nan))
            success.append(float(same.sum() / max(1, (record != 0).sum())))
            whole.append(float(i in matched and (rebuilt[matched[i]] == record).all()))
    evidence = Evidence.rows(view, group, score=whole, success=success, cluster=cluster)
    table = np.array(right)
    used = np.maximum(np.isfinite(table).sum(0), 1)
    return _performed(evidence, requested=len(table), performed=min(performed, len(table))), np.nansum(table, 0) / used


NONE = -1
"""The code of a category that is none of the listed ones: all its features are zero."""


def same_cells(one: Array, other: Array, blocks: Sequence[int]) -> Array:
    """Which cells (k,) of two records in one-hot coding are the same, as 0 or 1.

    A category with no feature above one half, and some feature above the tolerance, is unclear and counts as different.
    """
    same: list[bool] = []
    start = 0
    for width in blocks:
        parts = [np.asarray(r[start : start + width], dtype=np.float64) for r in (one, other)]
        start += width
        if width == 1:
            same.append(bool(abs(parts[0][0] - parts[1][0]) <= CELL_TOLERANCE))
        else:
            picked = [int(p.argmax()) if p.max() > 0.5 else NONE if p.max() <= CELL_TOLERANCE else None for p in parts]
            same.append(picked[0] == picked[1] is not None)
    return np.array(same, dtype=np.float64)


def pairs(rebuilt: Array, people: Cohort, otherwise: float | None = None) -> list[tuple[Array, Array]]:
    """Each record with the reconstruction assigned to it, for people to look at.

    Records without a reconstruction are left out. If `otherwise` is a number, they stand last instead, each beside a
    record that has this value everywhere.
    """
    matched = _match(flat(rebuilt), flat(people.x))
    both = [(people.x[record], rebuilt[guess]) for record, guess in matched.items()]
    if otherwise is not None:
        left = (x for record, x in enumerate(people.x) if record not in matched)
        both += [(x, np.full(x.shape, otherwise)) for x in left]
    return both


def _of(similarity: Similarities, key: Key) -> Similarity:
    return similarity if isinstance(similarity, Similarity) else similarity[key]


def _match(
    rebuilt: Array, records: Array, by: Similarity = SQUARED_DISTANCE, crowd: Array | None = None
) -> dict[int, int]:
    """The assignment with the smallest total distance: from a record's number to its reconstruction's number."""
    if not len(rebuilt):
        return {}
    cost = by.distances(rebuilt, records, records if crowd is None else crowd).T
    rows, columns = optimize.linear_sum_assignment(cost)
    return dict(zip((int(r) for r in rows), (int(c) for c in columns), strict=True))


def _performed(evidence: Evidence, *, requested: int, performed: int) -> Evidence:
    return replace(evidence, requested=requested, performed=performed)
