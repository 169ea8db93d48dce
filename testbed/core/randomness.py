"""Randomness: generators that depend on a seed and on names, not on the order of the work."""

from __future__ import annotations

import zlib

import numpy as np


def keyed_rng(seed: int, *keys: str | int) -> np.random.Generator:
    """A random generator that depends only on the seed and the keys: the same ones give the same numbers."""
    return np.random.default_rng([seed, *(zlib.crc32(str(k).encode()) for k in keys)])
