"""The record of a person who joined a hospital's table, from its histograms before and after."""

from __future__ import annotations

import numpy as np

from testbed.attacks.joiners import ends, joiner, people
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Reconstruction, Transcript, Unavailable
from testbed.models.summaries import HISTOGRAM, told_of


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-010",
    risk="reconstruction",
    claim=Reconstruction,
    needs=set(),
    uses={"defence"},
    position="server",
    reference="https://arxiv.org/abs/2412.20495",
    suits="statistics",
)
def round_difference(view: Transcript, question: Batch, auxiliary: None, rng: np.random.Generator) -> Reconstruction:
    """State in which bin of each column the person stands who joined a hospital between two rounds.

    Threat model: a curious coordinator of federated analytics, which sees each hospital's histograms in each round. The
    counts before and after differ by the person who joined or left. It knows nothing beforehand. If it knows the
    defence, it uses the bounds of counts that are not told, and that all counts of a column add up to the people. If
    several people joined, it states their mean. Raises `Unavailable` without two rounds of one hospital.
    """
    told = {e.key: e.returned for e in view.exchanges if e.returned is not None}
    found: dict[tuple[int, int], Array] = {}
    for round_, client in question.keys:
        if (round_ - 1, client) not in told or (round_, client) not in told:
            continue
        before, after = (told_of(told[r, client], HISTOGRAM) for r in (round_ - 1, round_))
        limits = [ends(t, question.defences) for t in (before, after)]
        record = joiner(limits[0], limits[1], people(after) - people(before))
        found[round_, client] = record.reshape(1, *question.shape)
    if not found:
        raise Unavailable("one_round", "histograms of one hospital in two rounds that follow each other")
    return Reconstruction(found)
