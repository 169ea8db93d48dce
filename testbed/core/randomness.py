"""Randomness: generators that depend on a seed and on names, not on the order of the work."""

from __future__ import annotations

import zlib

import numpy as np


def keyed_rng(seed: int, *keys: str | int) -> np.random.Generator:
    """A random generator that depends only on the seed and the keys: the same ones give the same numbers."""
    return np.random.default_rng([seed, *(zlib.crc32(str(k).encode()) for k in keys)])


def private_rng(seed: int, data_class: str, *keys: str | int) -> np.random.Generator:
    """The generator of whatever makes noise or a release: `keyed_rng`, and on real people's records a secret one.

    Whoever knows a seed can repeat what was drawn by it, and a run's seed stands in its report.
    """
    return np.random.default_rng() if data_class == "real" else keyed_rng(seed, *keys)
