"""Membership by an attack model over a record's signals, trained on federations that the server runs itself."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from testbed.attacks.membership.signals import Signals, over_rounds, signals
from testbed.attacks.membership.update_signals import FEWEST_OTHERS, standing_out
from testbed.attacks.registry import attack
from testbed.core import Array, Cohort, Recipe, Records, Scores, Transcript, Unavailable


@attack(
    subject="transcript",
    rule="TB-MEMBERSHIP-508",
    risk="membership",
    claim=Scores,
    needs={"architecture", "target_records", "recipe"},
    position="server",
    reference="https://arxiv.org/abs/1812.00910",
)
def white_box(
    view: Transcript,
    question: Records,
    auxiliary: Cohort | None,
    rng: np.random.Generator,
    recipe: Recipe | None,
    *,
    shadows: int = 2,
    last_only: bool = False,
) -> Scores:
    """Score each record by an attack model over its loss, gradient and updates in every round (Nasr et al. 2019).

    Threat model: a curious server as in `update_product`, which can also run the federation itself (`recipe`). It runs
    `shadows` federations, each on a random half of the records asked about, whose membership it knows there. On these
    it trains boosted trees. Features are the losses before and after, the gradient's length, the inner product, the
    cosine, and how much the suspected client differs from the others in each; as means over all rounds and over either
    half of the rounds. Nasr et al. know some of the real members instead, and train a network. `last_only` uses the
    last round alone (their stand-alone attacker). Raises `Unavailable` without a recipe or a suspected client.
    """
    if recipe is None:
        raise Unavailable("no_recipe", "a way to run such a federation again (a scenario has one)")
    if question.suspected is None:
        raise Unavailable("no_client_suspected", "a client that is asked about")
    if shadows < 2 or shadows % 2:
        raise Unavailable("few_shadows", "an even number of shadow federations, 2 or more")
    people = question.people
    assert isinstance(people, Cohort)
    order = np.lexsort((question.suspected, people.y, *people.x.reshape(len(people), -1).T))
    targets, suspected = people.take(order), question.suspected[order]
    clients = np.unique(suspected)
    several = len(clients) > FEWEST_OTHERS  # the shadows have these clients only
    known: list[Array] = []
    member: list[Array] = []
    inside = np.zeros(len(targets), bool)
    for i in range(shadows):
        inside = ~inside if i % 2 else _half(suspected, rng)
        parts = [targets.take(np.flatnonzero(inside & (suspected == c))) for c in clients]
        made = recipe(parts, rng)
        assert isinstance(made, Transcript)
        place = np.searchsorted(clients, suspected)
        known.append(_features(signals(made, Records(targets)), place, last_only, several))
        member.append(inside)
    learner = HistGradientBoostingClassifier(
        learning_rate=0.05, max_leaf_nodes=8, early_stopping=cast(Any, False), random_state=0
    ).fit(np.concatenate(known), np.concatenate(member))
    said = learner.decision_function(_features(signals(view, Records(targets)), suspected, last_only, several))
    scores = np.empty(len(targets))
    scores[order] = said
    return Scores(scores)


def _half(suspected: Array, rng: np.random.Generator) -> Array:
    """A mask (n,) of a random half of the records asked about for each client."""
    chosen = np.zeros(len(suspected), bool)
    for client in np.unique(suspected):
        mine = rng.permutation(np.flatnonzero(suspected == client))
        chosen[mine[: (len(mine) + 1) // 2]] = True
    return chosen


def _features(made: Signals, suspected: Array, last_only: bool, several: bool) -> Array:
    """Features (n, features): each signal of the suspected client, and its difference from others', averaged."""
    parts = [made.before, made.norm, made.product, made.cosine]
    if made.view.protocol.kind == "fedavg":
        parts += [made.after, made.before - made.after]
    columns: list[Array] = []
    for signal in parts:
        own = [made.of_suspected(signal, suspected)]
        if several:
            own.append(np.clip(standing_out(made, signal, suspected), -10, 10))
        for values in own:
            half = len(values) // 2
            stages = [values[-1:]] if last_only else [values, values[:half], values[half:]]
            columns += [over_rounds(stage) for stage in stages]
    return np.stack(columns, 1)
