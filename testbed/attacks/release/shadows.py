"""Membership with the generator in hand: what would it have released with this person, and what without?

Shadow originals hold a random half of the people asked about, filled up with the attacker's own records; every
target is in exactly half of them, so that the same shadows serve all targets.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from testbed.attacks.kit import attack
from testbed.attacks.release.density import bandwidth, log_density, sampled
from testbed.attacks.release.neighbours import Scale, nearest
from testbed.core import Array, Recipe, Records, Release, Scores, Table, Unavailable
from testbed.matching import row_keys

NEAR = 0.05
"""Numbers this near, in ranges of the released column, answer a query alike."""
WIDEST = 4


def _shadows(
    view: Release, targets: Table, auxiliary: Table | None, rng: np.random.Generator, recipe: Recipe | None, count: int
) -> tuple[Array, list[Table]]:
    """Which target was in which shadow original (count, n) bool, and what the recipe released of each."""
    if recipe is None:
        raise Unavailable("no_recipe", "the generator, to be run again on other people")
    if auxiliary is None or len(auxiliary) < 2:
        raise Unavailable("no_reference", "records of other people of the same population")
    included = np.zeros((count, len(targets)), bool)
    made: list[Table] = []
    for i in range(count):
        half = rng.permutation(len(targets)) < len(targets) / 2 if i % 2 == 0 else ~included[i - 1]
        included[i] = half
        mine = targets.take(np.flatnonzero(half))
        rest = auxiliary.take(rng.permutation(len(auxiliary))[: max(0, len(view.table) - len(mine))])
        people = Table(
            mine.columns,
            tuple(np.concatenate(pair) for pair in zip(mine.values, rest.values, strict=True)),
            np.concatenate([mine.persons, rest.persons]),
        )
        released = recipe(people, rng)
        assert isinstance(released, Release)
        made.append(released.table)
    return included, made


def _ordered(question: Records, rng: np.random.Generator) -> tuple[Table, Array]:
    """The people in an order of their contents, and where each stood: the order of asking plays no part."""
    assert isinstance(question.people, Table)
    order = np.argsort(row_keys(question.people, int(rng.integers(2**62))), kind="stable")
    return question.people.take(order), order


def _as_asked(values: Array, order: Array) -> Scores:
    scores = np.empty(len(order))
    scores[order] = values
    return Scores(scores)


@attack(
    risk="membership",
    claim=Scores,
    needs={"target_records", "auxiliary", "recipe"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2011.07018",
)
def shadow_features(
    view: Release,
    question: Records,
    auxiliary: Table | None,
    rng: np.random.Generator,
    recipe: Recipe | None,
    *,
    shadows: int = 16,
    queries: int = 30,
) -> Scores:
    """Score a record by what tells shadow releases with it from those without (Stadler et al. 2022; TAPAS).

    Threat model: the recipient holds the release, the records asked about, others' records and the generator, run
    again on own records (`recipe`). The features are made for each target: its nearest released rows, the density
    around it, and how many released rows agree with it on random sets of columns (Houssiau et al. 2022, Meeus et
    al. 2023). They are standardised by target over the shadows and told apart by one logistic regression for all
    targets, where the authors fit one per target on a thousand shadows. Raises `Unavailable` without recipe or others.
    """
    targets, order = _ordered(question, rng)
    included, released = _shadows(view, targets, auxiliary, rng, recipe, shadows)
    width = len(targets.columns)
    sets = [rng.permutation(width)[: rng.integers(1, min(WIDEST, width) + 1)] for _ in range(queries)]
    scale, seed = Scale.of(view.table), int(rng.integers(2**62))
    assert auxiliary is not None
    kernel = bandwidth(sampled(auxiliary, seed), scale)
    made = np.stack([_features(targets, t, scale, kernel, sets, seed) for t in (*released, view.table)])
    middle, spread = made[:-1].mean(0), made[:-1].std(0)
    standard = (made - middle) / np.where(spread > 0, spread, 1.0)
    model = LogisticRegression(C=0.1, max_iter=1000)
    model.fit(standard[:-1].reshape(-1, standard.shape[2]), included.reshape(-1))
    return _as_asked(np.asarray(model.decision_function(standard[-1])), order)


def _features(targets: Table, released: Table, scale: Scale, kernel: float, sets: list[Array], seed: int) -> Array:
    """(n, f) features of each target in one release."""
    _, distances, _ = nearest(targets, released, scale, seed, min(5, len(released)))
    pool = sampled(released, seed)
    agrees: list[Array] = []
    for column, asked, known in zip(targets.columns, targets.values, pool.values, strict=True):
        if column.kind == "categorical":
            agrees.append(asked[:, None] == known[None, :])
        else:
            near = np.abs(asked[:, None] - known[None, :]) <= NEAR * scale.ranges[column.name]
            agrees.append(near | (np.isnan(asked)[:, None] & np.isnan(known)[None, :]))
    answers = [np.log1p(np.logical_and.reduce([agrees[c] for c in s]).sum(1)) for s in sets]
    near = np.log(distances[:, [0, -1]] + 1e-6)
    return np.column_stack([near, log_density(targets, pool, scale, kernel), *answers])


@attack(
    risk="membership",
    claim=Scores,
    needs={"target_records", "auxiliary", "recipe"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2312.03262",
)
def shadow_ratio(
    view: Release,
    question: Records,
    auxiliary: Table | None,
    rng: np.random.Generator,
    recipe: Recipe | None,
    *,
    shadows: int = 16,
) -> Scores:
    """Score a record by its density in the release over that in the mean shadow (RMIA on releases; Zarifzadeh 2024).

    Threat model: as `shadow_features`. The authors then count the population's records whose ratio is smaller; at
    one threshold for all records that orders them as the ratio itself does, which is given here.
    """
    targets, order = _ordered(question, rng)
    _, released = _shadows(view, targets, auxiliary, rng, recipe, shadows)
    scale, seed = Scale.of(view.table), int(rng.integers(2**62))
    assert auxiliary is not None
    kernel = bandwidth(sampled(auxiliary, seed), scale)
    own, *others = (log_density(targets, sampled(t, seed), scale, kernel) for t in (view.table, *released))
    return _as_asked(own - (logsumexp(np.stack(others), axis=0) - np.log(len(others))), order)
