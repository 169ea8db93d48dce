"""Linkability: can two tables about the same people be joined with the help of the release?"""

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
    """Find the released rows nearest to each half of a person's row; halves with a common released row are linked.

    Threat model: the recipient holds two data sets with different columns about the same people, and uses the released
    table as a bridge (Giomi et al. 2023, section 3.2.2). Between equally near rows chance decides, independently for
    the two halves; the share of such rows is reported.
    """
    scale = Scale.of(view.table)
    sides, ties = [], []
    for half in (question.left, question.right):
        found, _, tied = nearest(half, view.table, scale, int(rng.integers(2**62)), neighbours)
        sides.append(found)
        ties.append(tied)
    return Links(sides[0], sides[1], float(np.mean(np.concatenate(ties))))
