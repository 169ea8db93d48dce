"""Membership by an attacker who has the generator: what does it release with this person, and what without?

Each shadow original holds a random half of the people asked about, filled up with the attacker's own records. Everybody
asked about is in exactly half of them, so that the same shadows serve all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from testbed.attacks.registry import attack
from testbed.attacks.release.density import bandwidth, log_density, sampled
from testbed.core import Array, Recipe, Records, Release, Scores, Table, Unavailable
from testbed.core.tables.neighbours import nearest
from testbed.core.tables.rows import row_keys
from testbed.core.tables.scale import Scale

NEAR = 0.05
"""Numbers that differ by at most this much, in widths of the released column, count as equal in a query."""
WIDEST = 4
"""The largest number of columns of a query."""
FEWEST = 4
"""The smallest number of shadow releases: with two, each person would be compared with a single release."""


@dataclass(frozen=True, slots=True)
class _Shadows:
    """The records asked about, sorted by contents, and the shadow releases; `order` (n,) are the places asked about.

    `included` (shadows, n) bool says which record was in which shadow original.
    """

    targets: Table
    order: Array
    included: Array
    released: list[Table]
    scale: Scale
    width: float
    seed: int

    @staticmethod
    def made(
        view: Release,
        question: Records,
        auxiliary: Table | None,
        rng: np.random.Generator,
        recipe: Recipe | None,
        count: int,
    ) -> _Shadows:
        """Makes `count` shadow releases.

        Raises `Unavailable` without a recipe, without others' records, or for a `count` that is odd or below 4.
        """
        if recipe is None:
            raise Unavailable("no_recipe", "the generator, to be run again on other people")
        if auxiliary is None or len(auxiliary) < 2:
            raise Unavailable("no_reference", "records of other people of the same population")
        if count < FEWEST or count % 2:
            raise Unavailable("few_shadows", f"an even number of shadow releases, {FEWEST} or more")
        assert isinstance(question.people, Table)
        seed = int(rng.integers(2**62))
        order = np.argsort(row_keys(question.people, seed), kind="stable")
        targets = question.people.take(order)
        # Either all rows of a person are in a shadow original, or none. People are ordered by their first rows.
        _, first, place = np.unique(targets.persons, return_index=True, return_inverse=True)
        person, people = np.argsort(np.argsort(first))[place], len(first)
        included = np.zeros((count, len(targets)), bool)
        released: list[Table] = []
        for i in range(count):
            included[i] = ~included[i - 1] if i % 2 else (rng.permutation(people) < people / 2)[person]
            mine = targets.take(np.flatnonzero(included[i]))
            rest = auxiliary.take(rng.permutation(len(auxiliary))[: max(0, len(view.table) - len(mine))])
            made = recipe(_joined(mine, rest), rng)
            assert isinstance(made, Release)
            released.append(made.table)
        scale = Scale.of(view.table)
        return _Shadows(targets, order, included, released, scale, bandwidth(sampled(auxiliary, seed), scale), seed)

    def density(self, table: Table) -> Array:
        return log_density(self.targets, sampled(table, self.seed), self.scale, self.width)


def _joined(first: Table, second: Table) -> Table:
    values = (np.concatenate(pair) for pair in zip(first.values, second.values, strict=True))
    return Table(first.columns, tuple(values), np.concatenate([first.persons, second.persons]))


def _as_asked(values: Array, order: Array) -> Scores:
    scores = np.empty(len(order))
    scores[order] = values
    return Scores(scores)


@attack(
    subject="release",
    rule="TB-MEMBERSHIP-006",
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
    """Score a record by features that distinguish shadow releases with it from those without (Stadler 2022; TAPAS).

    Threat model: the recipient holds the release, the records asked about, other people's records, and the generator,
    which can be run on own records (`recipe`). Features are computed for each record: its distance to the nearest
    released rows, the density around it, and how many released rows agree with it on random sets of columns (Houssiau
    et al. 2022, Meeus et al. 2023). They are standardised for each record over the shadows. One logistic regression is
    trained for all records; the authors train one for each, on a thousand shadows. Raises `Unavailable` without a
    recipe or other people.
    """
    made = _Shadows.made(view, question, auxiliary, rng, recipe, shadows)
    width = len(made.targets.columns)
    sets = [rng.permutation(width)[: rng.integers(1, min(WIDEST, width) + 1)] for _ in range(queries)]
    features = np.stack([_features(made, table, sets) for table in (*made.released, view.table)])
    middle, spread = features[:-1].mean(0), features[:-1].std(0)
    standard = (features - middle) / np.where(spread > 0, spread, 1.0)
    model = LogisticRegression(C=0.1, max_iter=1000)
    model.fit(standard[:-1].reshape(-1, standard.shape[2]), made.included.reshape(-1))
    return _as_asked(np.asarray(model.decision_function(standard[-1])), made.order)


def _features(made: _Shadows, released: Table, sets: list[Array]) -> Array:
    """Features (n, f) of each record asked about in one release."""
    _, distances, _ = nearest(made.targets, released, made.scale, made.seed, min(5, len(released)))
    pool = sampled(released, made.seed)
    agrees: list[Array] = []
    for column, asked, known in zip(made.targets.columns, made.targets.values, pool.values, strict=True):
        if column.kind == "categorical":
            agrees.append(asked[:, None] == known[None, :])
        else:
            axis = made.scale.axes[column.name]
            near = np.abs(axis.places(asked)[:, None] - axis.places(known)[None, :]) <= (NEAR if axis.width else 0.0)
            agrees.append(near | (np.isnan(asked)[:, None] & np.isnan(known)[None, :]))
    answers = [np.log1p(np.logical_and.reduce([agrees[c] for c in s]).sum(1)) for s in sets]
    near = np.log(distances[:, [0, -1]] + 1e-6)
    return np.column_stack([near, made.density(released), *answers])


@attack(
    subject="release",
    rule="TB-MEMBERSHIP-007",
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
    """Score a record by its density in the release over its mean density in the shadows (RMIA; Zarifzadeh 2024).

    Threat model: as `shadow_features`. The authors then count the population's records with a smaller ratio. With one
    threshold for all records, this gives the same order as the ratio itself, which is used here.
    """
    made = _Shadows.made(view, question, auxiliary, rng, recipe, shadows)
    others = np.stack([made.density(table) for table in made.released])
    mean = logsumexp(others, axis=0) - np.log(len(others))
    return _as_asked(made.density(view.table) - mean, made.order)
