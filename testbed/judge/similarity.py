# pyright: strict, reportMissingTypeStubs=false
"""How alike a reconstruction and a record are: several measures, declared before any claim is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from testbed.core import Array

FLAT = 1e-9
"""A spread of this share of a record's largest value is rounding: the record is constant, and has no correlation."""
EQUAL = 1e-9
"""Two records are equally far from a claim where their distances differ by this share, which is rounding."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """One way to say which record a claim is most like; `words` name it in a report.

    `apart(claims, records)` gives the distance (m, n) of m claims to n records, and 0 is perfect. With `standardised`
    each feature is first shifted and scaled by the look-alikes' mean and standard deviation; a feature in which they
    do not differ is left out.
    """

    name: str
    words: str
    apart: Callable[[Array, Array], Array]
    standardised: bool = False

    def distances(self, claims: Array, records: Array, crowd: Array) -> Array:
        """Distances (m, n) of claims (m, d) to records (n, d), on the scale of look-alikes (k, d)."""
        claims, records = np.asarray(claims, np.float64), np.asarray(records, np.float64)
        if self.standardised and len(crowd):
            mean, spread = crowd.mean(0), crowd.std(0)
            scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > FLAT * np.abs(crowd).max(0))
            claims, records = (claims - mean) * scale, (records - mean) * scale
        return self.apart(claims, records)


def _squared(claims: Array, records: Array) -> Array:
    # Row by row, so that equal records are equally far to the last bit.
    return np.stack([((records - claim) ** 2).sum(1) for claim in claims]).reshape(len(claims), len(records))


def _uncorrelated(claims: Array, records: Array) -> Array:
    """1 - Pearson's correlation over features; 1 where a claim or a record is constant."""
    one, other = _shape(claims), _shape(records)
    return 1 - np.stack([(other * claim).sum(1) for claim in one]).reshape(len(claims), len(records))


def _shape(rows: Array) -> Array:
    """Rows (n, d) with mean 0 and length 1: brightness and contrast are taken off. Constant rows become 0."""
    centred = rows - rows.mean(1, keepdims=True)
    length = np.sqrt((centred**2).sum(1, keepdims=True))
    constant = length <= FLAT * np.abs(rows).max(1, keepdims=True, initial=0.0) * np.sqrt(rows.shape[1])
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, length))


SQUARED_DISTANCE = Similarity("squared_distance", "squared distance", _squared)
CORRELATION = Similarity("correlation", "correlation, free of brightness and contrast", _uncorrelated)
STANDARDISED_DISTANCE = Similarity(
    "standardised_distance", "squared distance on standardised columns", _squared, standardised=True
)
STANDARDISED_CORRELATION = Similarity(
    "standardised_correlation", "correlation of standardised columns", _uncorrelated, standardised=True
)

OF_PICTURES = (SQUARED_DISTANCE, CORRELATION)
OF_TABLES = (SQUARED_DISTANCE, CORRELATION, STANDARDISED_DISTANCE, STANDARDISED_CORRELATION)


def declared(shape: tuple[int, ...]) -> tuple[Similarity, ...]:
    """What claims about records of this shape are judged by; the first one where none can be chosen.

    A claim that is shrunken, shifted or noisy is far from every record, and nearest to the darkest one, though its
    pattern still says whose it is. Columns of a table have scales of their own, pixels share one.
    """
    return OF_TABLES if len(shape) == 1 else OF_PICTURES


def picked(own: float, others: Array) -> float:
    """Success in a line-up: 0 if a look-alike is nearer to the claim, else 1 / (1 + the look-alikes as near)."""
    slack = EQUAL * max(own, 1e-3)
    if bool((others < own - slack).any()):
        return 0.0
    return 1.0 / (1 + int((others <= own + slack).sum()))
