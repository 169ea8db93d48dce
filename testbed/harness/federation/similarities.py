# pyright: strict
"""The choice of the similarity that judges claims: chosen on one half of the batches, used on the other half."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from testbed.core import Array, Cohort, Evidence, Group
from testbed.core.randomness import keyed_rng
from testbed.findings.schema import Series
from testbed.judge.reconstructions import Key, same_people
from testbed.judge.similarity import Similarity

CROSSED = 0.36
"""Largest growth of the variance by cross-fitting. If both halves choose the same similarity, their results are
correlated: for k unrelated choices of equal worth by E[max]^2 / (k - 1), largest at three or four choices."""
FEWEST = 2
"""Groups of batches without a common person that a choice needs: one to choose on, and one to judge."""

Judge = Callable[[Mapping[Key, Cohort], Group, Similarity], Evidence]
"""A function that judges the attack's claim on the true view, from these people, their group and a similarity."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The similarity for each exchange, the design effect of the choice, and a chart of all declared similarities.

    `unchosen` is True if there were too few batches for a choice, and another similarity than the first one declared
    finds more.
    """

    by_exchange: Mapping[Key, Similarity]
    design: float
    series: Series
    unchosen: bool = False

    @property
    def words(self) -> str:
        """A sentence for the finding."""
        names = dict.fromkeys(s.words for s in self.by_exchange.values())
        return f" Likeness is judged by {', or in the other half of the batches by '.join(names)}."

    def of(self, keys: Iterable[Key]) -> dict[Key, Similarity]:
        """The similarity for each of these exchanges. Those of another federation get the two chosen ones in turn."""
        both = list({s.name: s for s in self.by_exchange.values()}.values())
        return {key: self.by_exchange.get(key, both[i % len(both)]) for i, key in enumerate(keys)}


def choose(
    judge: Judge,
    held: Mapping[Key, Cohort],
    control: Mapping[Key, Cohort],
    declared: Sequence[Similarity],
    seed: int,
) -> Choice:
    """The choice for each half of the batches: the similarity with the largest excess in the other half.

    Halves are drawn at random, and batches that share a person stay together. If similarities tie, or if there are
    fewer than two separate batches, the first one declared decides.
    """
    halves = _halves(held, seed)
    rows = {
        s.name: [
            [
                judge({k: people[k] for k in half}, group, s) if half else None
                for group, people in _groups(held, control)
            ]
            for half in halves
        ]
        for s in declared
    }
    best = [max(declared, key=lambda s: round(_excess(rows[s.name][i]), 9)) for i in (0, 1)]
    everybody = [s for s in declared if _excess_of_all(rows[s.name]) > _excess_of_all(rows[declared[0].name]) + 1e-9]
    few = not all(halves)
    chosen = (declared[0], declared[0]) if few else (best[1], best[0])
    by_exchange = {key: chosen[i] for i, half in enumerate(halves) for key in half}
    return Choice(
        {key: by_exchange[key] for key in held},
        1 + CROSSED * _apart([rows[s.name] for s in declared]) if not few else 1.0,
        _series(declared, rows),
        unchosen=few and bool(everybody),
    )


def _groups(
    held: Mapping[Key, Cohort], control: Mapping[Key, Cohort]
) -> tuple[tuple[Group, Mapping[Key, Cohort]], tuple[Group, Mapping[Key, Cohort]]]:
    return ("used", held), ("unused", control)


def _halves(held: Mapping[Key, Cohort], seed: int) -> tuple[list[Key], list[Key]]:
    batch = dict(zip(held, same_people(held), strict=True))
    several = sorted(set(batch.values()))
    if len(several) < FEWEST:
        return list(held), []
    drawn = set(keyed_rng(seed, "halves of batches").permutation(several)[: len(several) // 2].tolist())
    return [k for k in held if batch[k] in drawn], [k for k in held if batch[k] not in drawn]


def _excess(groups: Sequence[Evidence | None]) -> float:
    used, unused = groups
    return float(used.success.mean() - unused.success.mean()) if used is not None and unused is not None else -np.inf


def _success(halves: Sequence[Sequence[Evidence | None]], group: int) -> Array:
    """The mean success of each batch of a group, over both halves."""
    found: list[float] = []
    for half in halves:
        rows = half[group]
        if rows is not None:
            found += [float(rows.success[rows.cluster == c].mean()) for c in np.unique(rows.cluster)]
    return np.array(found)


def _excess_of_all(halves: Sequence[Sequence[Evidence | None]]) -> float:
    return float(_success(halves, 0).mean() - _success(halves, 1).mean())


def _apart(by_similarity: Sequence[Sequence[Sequence[Evidence | None]]]) -> float:
    """The largest value of 1 minus the correlation between two similarities' successes over batches, in [0, 1]."""
    most = 0.0
    for one, other in combinations(by_similarity, 2):
        difference, both = 0.0, 0.0
        for group in (0, 1):
            a, b = _success(one, group), _success(other, group)
            difference += float(((a - b) ** 2).sum()) - len(a) * float((a - b).mean()) ** 2
            both += len(a) * float(a.var() + b.var())
        most = max(most, difference / both if both > 0 else 0.0)
    return min(1.0, most)


def _series(declared: Sequence[Similarity], rows: Mapping[str, Sequence[Sequence[Evidence | None]]]) -> Series:
    """Chart of the success by each declared similarity alone. It informs."""
    labels = [f"{s.words}, {name}" for s in declared for name in ("sent", "never sent")]
    values = [float(_success(rows[s.name], group).mean()) for s in declared for group in (0, 1)]
    return Series(
        name="What each declared similarity finds",
        kind="bars",
        x_label="success",
        y_label="similarity",
        labels=labels,
        x=values,
        low=values,
        high=values,
    )
