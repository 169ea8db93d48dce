"""The random directions in which canaries move a model."""

from __future__ import annotations

import numpy as np

from testbed.core import Array, Parameters
from testbed.core.randomness import keyed_rng


def direction(seed: int, number: int, like: Parameters) -> Array:
    """The canary's direction: a random unit vector over all parameters, in their order."""
    made = keyed_rng(seed, "direction", number).standard_normal(sum(v.size for v in like.values()))
    return made / np.linalg.norm(made)
