"""Randomness that is passed in: a generator that depends on a seed and on names, not on the order of the work."""

from __future__ import annotations

import zlib

import numpy as np


def keyed_rng(seed: int, *keys: str | int) -> np.random.Generator:
    """A generator that depends on the seed and on names, not on the order in which things are done."""
    return np.random.default_rng([seed, *(zlib.crc32(str(k).encode()) for k in keys)])
