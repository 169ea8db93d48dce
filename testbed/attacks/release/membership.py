"""Membership in the original of a release, by attackers with the release, some also with reference records."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier

from testbed.attacks.registry import attack
from testbed.attacks.release.density import bandwidth, log_density, sampled
from testbed.attacks.release.features import ranked
from testbed.core import Records, Release, Scores, Table, Unavailable
from testbed.core.tables.neighbours import nearest
from testbed.core.tables.scale import Scale

FARTHEST = 1e3
"""The largest distance used, in widths of the kernel: the kernel is zero there, and its square must not overflow."""
COPY = 1e-6
"""A distance that counts as zero, in widths of a column."""
WIDER, LEAST = 8, 1e-3
"""The width of the second kernel, in widths of the first, and the largest change that it makes to a score."""


def _people(question: Records) -> Table:
    assert isinstance(question.people, Table)
    return question.people


def _reference(auxiliary: Table | None) -> Table:
    if auxiliary is None or len(auxiliary) < 2:
        raise Unavailable(
            "no_reference", "records of other people of the same population (a control to take them from)"
        )
    return auxiliary


@attack(
    subject="release",
    rule="TB-MEMBERSHIP-002",
    risk="membership",
    claim=Scores,
    needs={"target_records"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/1909.03935",
)
def nearest_release_row(view: Release, question: Records, auxiliary: Table | None, rng: np.random.Generator) -> Scores:
    """Score a record by minus its distance to the nearest released row (GAN-Leaks, full black box; Chen et al. 2020).

    Threat model: the recipient holds the release and the records asked about, but no other records. It finds copies,
    but it also accuses people with common records, which are near to every release.
    """
    _, distances, _ = nearest(_people(question), view.table, Scale.of(view.table), int(rng.integers(2**62)))
    return Scores(-distances[:, 0])


@attack(
    subject="release",
    rule="TB-MEMBERSHIP-001",
    risk="membership",
    claim=Scores,
    needs={"target_records", "auxiliary"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/1909.03935",
)
def nearer_than_reference(
    view: Release, question: Records, auxiliary: Table | None, rng: np.random.Generator
) -> Scores:
    """Score a record by its distance to the nearest other person over that to the nearest released row (Chen 2020).

    Threat model: the recipient also holds records of other people of the same population. The score is the logarithm of
    this ratio. The authors subtract the two distances; a ratio ranks copies above records that are only far from
    everybody. If release and reference differ in size, all scores shift alike.
    """
    reference, scale = _reference(auxiliary), Scale.of(view.table)
    seed = int(rng.integers(2**62))
    _, other, _ = nearest(_people(question), reference, scale, seed)
    _, own, _ = nearest(_people(question), view.table, scale, seed)
    return Scores(np.log(other[:, 0] + COPY) - np.log(own[:, 0] + COPY))


@attack(
    subject="release",
    rule="TB-MEMBERSHIP-003",
    risk="membership",
    claim=Scores,
    needs={"target_records", "auxiliary"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2302.12580",
)
def density_ratio(view: Release, question: Records, auxiliary: Table | None, rng: np.random.Generator) -> Scores:
    """Score a record by the log ratio of the release's density to the population's (DOMIAS; van Breugel et al. 2023).

    Threat model: the recipient also holds records of other people of the same population. Densities use a Gaussian
    kernel on Gower's distance and at most 5,000 rows of each table; the authors use a kernel on numbers, or a flow. A
    narrow kernel finds near copies and gives the score; a kernel eight times as wide orders the records with equal
    scores.
    """
    reference, scale, seed = _reference(auxiliary), Scale.of(view.table), int(rng.integers(2**62))
    sides = [sampled(t, seed) for t in (view.table, reference)]
    width = bandwidth(sides[1], scale)
    narrow, wide = (
        np.subtract(*(log_density(_people(question), t, scale, w) for t in sides)) for w in (width, WIDER * width)
    )
    return Scores(narrow + LEAST * wide / (1 + np.abs(wide)))


@attack(
    subject="release",
    rule="TB-MEMBERSHIP-004",
    risk="membership",
    claim=Scores,
    needs={"target_records", "auxiliary"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2508.21146",
)
def gen_lra(
    view: Release, question: Records, auxiliary: Table | None, rng: np.random.Generator, *, neighbours: int = 10
) -> Scores:
    """Score a record by how much more likely it makes the released rows around it (Gen-LRA; Ward et al. 2025).

    Threat model: as `density_ratio`. The score is the log-likelihood of the nearest released rows under the reference
    with the record added, minus that without it. Kernels are those of `density_ratio`.
    """
    reference, scale, seed = _reference(auxiliary), Scale.of(view.table), int(rng.integers(2**62))
    released, reference = sampled(view.table, seed), sampled(reference, seed)
    width = bandwidth(reference, scale)
    found, distances, _ = nearest(_people(question), released, scale, seed, neighbours)
    around = np.exp(log_density(released, reference, scale, width))
    kernel = np.exp(-(np.minimum(distances / width, FARTHEST) ** 2))
    n = len(reference)
    gain = np.log((n * around[found] + kernel) / ((n + 1) * around[found]))
    return Scores(gain.sum(1))


@attack(
    subject="release",
    rule="TB-MEMBERSHIP-005",
    risk="membership",
    claim=Scores,
    needs={"target_records", "auxiliary"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/1705.07663",
)
def release_classifier(
    view: Release, question: Records, auxiliary: Table | None, rng: np.random.Generator, *, trees: int = 200
) -> Scores:
    """Score a record by a classifier that distinguishes released rows from other people's (LOGAN-like; Hayes 2019).

    Threat model: as `density_ratio`. Fully grown random trees replace the authors' discriminator; they recognise the
    rows that they memorised.
    """
    reference, seed = _reference(auxiliary), int(rng.integers(2**62))
    released, reference = sampled(view.table, seed), sampled(reference, seed)
    x = np.concatenate([ranked(released, released), ranked(reference, released)])
    y = np.arange(len(x)) < len(released)
    forest = ExtraTreesClassifier(trees, max_features="sqrt", random_state=seed % 2**32, class_weight="balanced")
    forest.fit(x, y)
    return Scores(np.asarray(forest.predict_proba(ranked(_people(question), released)))[:, 1])
