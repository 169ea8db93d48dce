"""Whose records was the release made from? Attacks that hold the release, and some also a reference population."""

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
"""In widths of the kernel: there it is nought long since, and its square must not overflow."""
COPY = 1e-6
"""A distance that is as good as none, in ranges of a column."""
WIDER, LEAST = 8, 1e-3
"""How many times as wide the second kernel is, and the most that it moves a score."""


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

    Threat model: the recipient holds the release and the records asked about, and no reference. Common records are
    near to everything, so it accuses the ordinary; it sees copies.
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
    """Score a record by how many times nearer the release comes to it than other people do (Chen et al. 2020).

    Threat model: the recipient also holds records of other people of the same population. The authors subtract the
    two losses; a ratio puts what is copied above what is merely far from everybody. Where the release and the
    reference differ in size, all scores shift alike.
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

    Threat model: the recipient also holds a reference sample. Densities are Gaussian kernels on Gower's distance,
    of at most 5,000 rows a side, where the authors use a kernel on numbers or a flow. A narrow kernel, which sees what
    is nearly a copy, ranks first; records that it sees on neither side are ranked by one eight times as wide.
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
    """Score a record by how much likelier it makes the released rows around it (Gen-LRA; Ward et al. 2025).

    Threat model: as `density_ratio`. The likelihood of the nearest released rows under the reference with the
    record added is set against that without; kernels as there.
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
    """Score a record by a classifier that tells released rows from other people's (LOGAN-like; Hayes et al. 2019).

    Threat model: as `density_ratio`. Fully grown random trees stand in for the discriminator: what they learnt by
    heart they recognise.
    """
    reference, seed = _reference(auxiliary), int(rng.integers(2**62))
    released, reference = sampled(view.table, seed), sampled(reference, seed)
    x = np.concatenate([ranked(released, released), ranked(reference, released)])
    y = np.arange(len(x)) < len(released)
    forest = ExtraTreesClassifier(trees, max_features="sqrt", random_state=seed % 2**32, class_weight="balanced")
    forest.fit(x, y)
    return Scores(np.asarray(forest.predict_proba(ranked(_people(question), released)))[:, 1])
