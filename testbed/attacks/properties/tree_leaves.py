"""How many people of each class stand in each leaf of a client's first tree."""

from __future__ import annotations

import numpy as np

from testbed.attacks.registry import attack
from testbed.attacks.tree_sums import counts, first_trees, settings_of
from testbed.core import Array, Batch, Groups, Transcript


@attack(
    subject="transcript",
    rule="TB-PROPERTY-004",
    risk="property",
    claim=Groups,
    needs=set(),
    uses={"hyper_parameters"},
    position="server",
    reference="https://arxiv.org/abs/2506.07605",
    suits="trees",
)
def tree_leaves(view: Transcript, question: Batch, auxiliary: None, rng: np.random.Generator) -> Groups:
    """Say how many people with which values a hospital has, and how many of them are ill (Di Gennaro et al. 2025).

    Threat model: a curious server of a federation of boosted trees (XGBoost's `binary:logistic`), which knows nothing
    beforehand. Before the first tree everybody has the same prediction, the base score in the model. So the sums of
    gradients and Hessians that a leaf holds give its people and its diagnoses, as exact numbers. Learning rate and
    regularisation follow from the same sums. If the client left the sums out, the numbers are searched that give each
    leaf's value, with the learning rate of the protocol. Raises `Unavailable` without such trees.
    """
    first = {key: model for key, model in first_trees(view).items() if key in question.keys}
    settings = settings_of([model.trees[0] for model in first.values()], view.protocol.learning_rate)
    told = {e.key: e.metrics.get("num-examples", 0) for e in view.exchanges}
    bounds: dict[tuple[int, int], Array] = {}
    sizes: dict[tuple[int, int], Array] = {}
    for key, model in first.items():
        tree = model.trees[0]
        bounds[key] = tree.boxes(model.features)
        sizes[key] = np.maximum(0, np.round(counts(tree, model, settings, int(told[key]) or None)))
    return Groups(bounds, sizes)
