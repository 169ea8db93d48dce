"""The record of a person who joined another hospital's table, from pooled histograms minus one's own."""

from __future__ import annotations

import numpy as np

from testbed.attacks.joiners import Ends, ends, joiner, people
from testbed.attacks.registry import attack
from testbed.core import Array, Batch, Parameters, Reconstruction, Transcript, Unavailable
from testbed.models.summaries import HISTOGRAM, PEOPLE, told_of


@attack(
    subject="transcript",
    rule="TB-RECONSTRUCTION-011",
    risk="reconstruction",
    claim=Reconstruction,
    needs=set(),
    position="client",
    reference="https://arxiv.org/abs/2412.20495",
    suits="statistics",
)
def pooled_difference(view: Transcript, question: Batch, auxiliary: None, rng: np.random.Generator) -> Reconstruction:
    """State in which bin of each column the person stands who joined another hospital between two rounds.

    Threat model: a curious hospital in federated analytics, which is sent the sum of all hospitals' histograms. It
    subtracts its own counts, and then compares two rounds. With one other hospital these are that hospital's counts.
    With more of them it sees the sum of all who joined, and states their mean for each. It knows nothing beforehand.
    Raises `Unavailable` without two pooled histograms that follow each other.
    """
    own = {e.round: e.returned for e in view.exchanges if e.returned is not None}
    pooled = {e.round - 1: e.sent for e in view.exchanges if e.sent is not None and HISTOGRAM in e.sent}
    if view.final is not None and own:
        pooled[max(own)] = view.final
    clients = {e.client for e in view.exchanges}
    rest: dict[int, tuple[Ends, float]] = {}
    for round_ in sorted(pooled.keys() & own.keys()):
        mine, everybody = told_of(own[round_], HISTOGRAM), told_of(pooled[round_], HISTOGRAM)
        others: Parameters = {
            HISTOGRAM: everybody[HISTOGRAM] - mine[HISTOGRAM],
            PEOPLE: everybody[PEOPLE] - mine[PEOPLE],
        }
        rest[round_] = ends(others, None), people(others)
    found: dict[tuple[int, int], Array] = {}
    for round_, client in question.keys:
        if client not in clients and {round_ - 1, round_} <= rest.keys():
            (before, fewer), (after, more) = rest[round_ - 1], rest[round_]
            found[round_, client] = joiner(before, after, more - fewer).reshape(1, *question.shape)
    if not found:
        raise Unavailable("no_pooled_rounds", "pooled histograms of two rounds that follow each other, and one's own")
    return Reconstruction(found)
