"""Linkability: can two tables about the same people be joined with the release's help?"""

from __future__ import annotations

import numpy as np

from testbed.attacks.registry import attack
from testbed.core import Halves, Links, Release
from testbed.core.tables.neighbours import nearest
from testbed.core.tables.scale import Scale


@attack(
    subject="release",
    rule="TB-LINKABILITY-001",
    risk="linkability",
    claim=Links,
    needs={"known_columns"},
    position="recipient",
    access="score",
    reference="https://arxiv.org/abs/2211.10459",
)
def linkability(
    view: Release, question: Halves, auxiliary: None, rng: np.random.Generator, *, neighbours: int = 1
) -> Links:
    """Point each half of a person's row at its nearest released rows; halves that meet are linked.

    Threat model: the recipient holds two data sets with different columns about overlapping people and uses the
    released table as the bridge (Giomi et al. 2023, section 3.2.2). Ties are settled by chance, independently for
    the two halves, and reported as a share.
    """
    scale = Scale.of(view.table)
    sides, ties = [], []
    for half in (question.left, question.right):
        found, _, tied = nearest(half, view.table, scale, int(rng.integers(2**62)), neighbours)
        sides.append(found)
        ties.append(tied)
    return Links(sides[0], sides[1], float(np.mean(np.concatenate(ties))))
