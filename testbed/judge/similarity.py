# pyright: strict, reportMissingTypeStubs=false
"""Similarities between a reconstruction and a record: several measures, declared before any claim is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from testbed.core import Array

FLAT = 1e-9
"""A record whose values vary by less than this share of the largest one is constant: the rest is rounding error."""
EQUAL = 1e-9
"""Two distances that differ by less than this share are equal: the rest is rounding error."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """A measure of how similar claims and records are; `words` name it in a report.

    `apart(claims, records)` gives distances (m, n) of m claims to n records; 0 is a perfect match. If `standardised`,
    each feature is first standardised by the look-alikes' mean and standard deviation, and a feature that is constant
    among them is left out.
    """

    name: str
    words: str
    apart: Callable[[Array, Array], Array]
    standardised: bool = False

    def distances(self, claims: Array, records: Array, crowd: Array) -> Array:
        """Distances (m, n) of claims (m, d) to records (n, d); look-alikes `crowd` (k, d) give the standard scale."""
        claims, records = np.asarray(claims, np.float64), np.asarray(records, np.float64)
        if self.standardised and len(crowd):
            mean, spread = crowd.mean(0), crowd.std(0)
            scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > FLAT * np.abs(crowd).max(0))
            claims, records = (claims - mean) * scale, (records - mean) * scale
        return self.apart(claims, records)


def _squared(claims: Array, records: Array) -> Array:
    # Row by row, so that equal records have exactly equal distances.
    return np.stack([((records - claim) ** 2).sum(1) for claim in claims]).reshape(len(claims), len(records))


def _uncorrelated(claims: Array, records: Array) -> Array:
    """1 minus Pearson's correlation over features; 1 if the claim or the record is constant."""
    one, other = _shape(claims), _shape(records)
    return 1 - np.stack([(other * claim).sum(1) for claim in one]).reshape(len(claims), len(records))


def _shape(rows: Array) -> Array:
    """Rows (n, d) shifted to mean 0 and scaled to length 1, which removes brightness and contrast. Constant rows: 0."""
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
    """The similarities declared for records of this shape. The first one judges if none can be chosen.

    Several are needed because a claim that is shrunken, shifted or noisy is far from every record by squared distance,
    while its pattern still identifies the record. Table columns have different scales, pixels share one; so only tables
    have standardised similarities.
    """
    return OF_TABLES if len(shape) == 1 else OF_PICTURES


def picked(own: float, others: Array) -> float:
    """Success in a line-up, from distances to the claim: 0 if a look-alike is nearer than the record itself.

    Otherwise it is 1 / (1 + d), where d look-alikes are equally near.
    """
    slack = EQUAL * max(own, 1e-3)
    if bool((others < own - slack).any()):
        return 0.0
    return 1.0 / (1 + int((others <= own + slack).sum()))
