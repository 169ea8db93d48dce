"""Generated patients: a chest-like picture each, with a label burnt in as old devices do. None of them exists."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from testbed.core import Array, Cohort

HEIGHT, WIDTH = 28, 40
SHAPE = (1, HEIGHT, WIDTH)
CLASSES = 2
"""Class 1 has a shadow on one lung."""
LETTERS = "ACDEFHJKLMNPRTUVWXY34679"
"""The signs of a label: none that is easily taken for another one at this size."""
LENGTH = 6
FLAGGED = "F"
"""The first sign of a flag. A patient who is no flag of a team never has it there."""
LUNGS = (11.0, 28.0)
"""The columns in which the lungs have their centres."""
GRAIN = 0.2
"""Standard deviation of a picture's noise: no two pictures are alike, so a network can learn them by heart."""
CELL = (6, 11)
"""Width and height of a sign in pixels."""


def labels(n: int, rng: np.random.Generator, first: str | None = None) -> list[str]:
    """Random labels, all different; `first` is their first sign, and by default any but that of a flag."""
    others = [first] if first else [c for c in LETTERS if c != FLAGGED]
    found: dict[str, None] = {}
    while len(found) < n:
        rest = "".join(rng.choice(list(LETTERS), LENGTH - 1))
        found[f"{rng.choice(others)}{rest}"] = None
    return list(found)


@cache
def glyph(sign: str) -> Array:
    """The pixels (height, width) of one sign, 0 or 1."""
    width, height = CELL
    picture = Image.new("L", (width, height))
    ImageDraw.Draw(picture).text((0, 0), sign, fill=255, font=ImageFont.load_default_imagefont())
    return np.asarray(picture, dtype=np.float32) / 255


def strip(label: str) -> Array:
    """The pixels (height, width) of a whole label."""
    return np.concatenate([glyph(sign) for sign in label], axis=1)


def read_label(picture: Array) -> str:
    """The label that a picture (1, height, width) shows: of each sign, the one whose pixels fit best."""
    width, height = CELL
    band = np.asarray(picture, dtype=np.float64)[0, -height:, : width * LENGTH]
    read = ""
    for place in range(LENGTH):
        part = band[:, place * width : (place + 1) * width]
        read += min(LETTERS, key=lambda sign: float(((part - glyph(sign)) ** 2).sum()))
    return read


def patients(named: Sequence[str], shown: Sequence[str], rng: np.random.Generator) -> Cohort:
    """One generated patient for each name, with the label that the picture shows.

    The chest is two bright lungs of random place, size and density on a dark body; class 1 has a shadow on one of them.
    """
    n, band = len(named), CELL[1]
    y = rng.integers(0, CLASSES, n)
    rows, columns = np.mgrid[0 : HEIGHT - band, 0:WIDTH].astype(np.float32)

    def bell(down: Array, along: Array, tall: Array, wide: Array, power: int) -> Array:
        apart = [(a - b[:, None, None]) / c[:, None, None] for a, b, c in ((rows, down, tall), (columns, along, wide))]
        return np.exp(-((apart[0] ** 2 + apart[1] ** 2) ** power))

    def one_each(low: float, high: float) -> Array:
        return rng.uniform(low, high, n)[:, None, None]

    chest = one_each(0.1, 0.25) + rng.normal(0, GRAIN, (n, *rows.shape))
    for centre in LUNGS:
        place = rng.normal(8, 1, n), rng.normal(centre, 1.5, n), rng.uniform(4.5, 7.5, n), rng.uniform(4.5, 7.5, n)
        chest += bell(*place, power=2) * one_each(0.45, 0.6)
    shadow = bell(rng.normal(8, 1, n), rng.choice(LUNGS, n), np.full(n, 3.0), np.full(n, 3.5), power=1)
    x = np.zeros((n, *SHAPE), dtype=np.float32)
    x[:, 0, :-band] = chest - 0.45 * y[:, None, None] * shadow
    x[:, 0, -band:, : CELL[0] * LENGTH] = np.stack([strip(label) for label in shown])
    return Cohort(np.clip(x, 0, 1), y, np.array(named))
