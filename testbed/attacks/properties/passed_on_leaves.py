"""The first tree of another client, read from the model that a client is sent."""

from __future__ import annotations

import numpy as np

from testbed.attacks.grown_trees import stated
from testbed.attacks.registry import attack
from testbed.attacks.tree_sums import settings_of
from testbed.core import Batch, Cohort, Groups, Transcript, Unavailable
from testbed.models.boosters import packed, read


@attack(
    subject="transcript",
    rule="TB-PROPERTY-006",
    risk="property",
    claim=Groups,
    needs=set(),
    uses={"hyper_parameters", "auxiliary", "defence"},
    position="client",
    reference="https://arxiv.org/abs/2506.07605",
    suits="trees",
    meets=("leaf_noise", "round_thresholds"),
)
def passed_on_leaves(view: Transcript, question: Batch, auxiliary: Cohort | None, rng: np.random.Generator) -> Groups:
    """Say how many people, and how many of them ill, stand in each leaf of the first hospital's first tree.

    Threat model: a curious client of a federation of boosted trees (Di Gennaro et al. 2025). The model that it is sent
    begins with the tree of the hospital that trained first (cyclic), or whose answer came first (bagging), and holds
    that hospital's base score. Its sums give exact numbers, and known defences are met, as in `tree_leaves`. Raises
    `Unavailable` if the client was itself the first one, or was never sent trees.
    """
    seen = sorted((e for e in view.exchanges if packed(e.sent) is not None), key=lambda e: e.key)
    if not seen:
        raise Unavailable("no_trees", "a model with trees that the client was sent")
    key = min(question.keys)
    if key[1] in {e.client for e in view.exchanges} or key[0] >= seen[0].round:
        raise Unavailable("own_trees", "a first tree of another client, grown before the client was sent the model")
    model = read(seen[0].sent)
    settings = settings_of([model.trees[0]], view.protocol.learning_rate)
    bounds, numbers = stated(model, settings, None, question, auxiliary)
    return Groups({key: bounds}, {key: numbers})
