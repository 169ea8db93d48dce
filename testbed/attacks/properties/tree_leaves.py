"""How many people of each class stand in each leaf of a client's first tree."""

from __future__ import annotations

import numpy as np

from testbed.attacks.grown_trees import stated
from testbed.attacks.registry import attack
from testbed.attacks.tree_sums import first_trees, settings_of
from testbed.core import Array, Batch, Cohort, Groups, Transcript


@attack(
    subject="transcript",
    rule="TB-PROPERTY-004",
    risk="property",
    claim=Groups,
    needs=set(),
    uses={"hyper_parameters", "auxiliary", "defence"},
    position="server",
    reference="https://arxiv.org/abs/2506.07605",
    suits="trees",
    meets=("bare_trees", "leaf_noise", "round_thresholds"),
)
def tree_leaves(view: Transcript, question: Batch, auxiliary: Cohort | None, rng: np.random.Generator) -> Groups:
    """Say how many people with which values a hospital has, and how many of them are ill (Di Gennaro et al. 2025).

    Threat model: a curious server of a federation of boosted trees (XGBoost's `binary:logistic`), which knows nothing
    beforehand. Before the first tree everybody has the same prediction, the base score in the model. So the sums of
    gradients and Hessians that a leaf holds give its people and its diagnoses, as exact numbers. Learning rate and
    regularisation follow from the same sums. If the client left the sums out, the numbers are searched that give each
    leaf's value, with the learning rate of the protocol.

    If it knows the defence: noise on leaves is met by the most probable whole numbers that add up to what the base
    score says of all people, and rounded thresholds by the values of other people, if it has some. Raises
    `Unavailable` without such trees.
    """
    first = {key: model for key, model in first_trees(view).items() if key in question.keys}
    settings = settings_of([model.trees[0] for model in first.values()], view.protocol.learning_rate)
    told = {e.key: e.metrics.get("num-examples", 0) for e in view.exchanges}
    bounds: dict[tuple[int, int], Array] = {}
    sizes: dict[tuple[int, int], Array] = {}
    for key, model in first.items():
        bounds[key], sizes[key] = stated(model, settings, int(told[key]) or None, question, auxiliary)
    return Groups(bounds, sizes)
