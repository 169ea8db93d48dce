"""The numbers of people behind the steps of a survival curve."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from testbed.core import Array, Parameters
from testbed.models.summaries import PEOPLE, SURVIVAL, TIMES

EXACT = 1e-9
"""How far a step may lie from a fraction of whole numbers: rounding of 64-bit floats over a long curve."""


def groups(told: Parameters, features: int) -> tuple[Array, Array]:
    """The bounds (steps + 1, features, 2) of the times between steps, and how many were last seen, and died, in each.

    A step's relative height is a fraction of whole numbers: deaths over people at risk. The curve gives it in lowest
    terms. It is multiplied by the largest number that the people left allow, so that as few as possible were lost from
    sight. If a step is no such fraction, nobody is lost before it, and the deaths are the nearest whole number above 0.
    """
    starts = np.concatenate([[-np.inf], np.asarray(told[TIMES], np.float64)])
    left = float(told[PEOPLE][0])
    counts = np.zeros((len(starts), 2))
    last = 1.0
    for step, value in enumerate(np.asarray(told[SURVIVAL], np.float64).tolist(), 1):
        fell = 1 - value / last if last > 0 else 0.0
        exact = _step(fell, round(left))
        if exact is None:
            counts[step, 1] = max(1, round(fell * left))
            left *= 1 - fell
        else:
            deaths, at_risk = exact
            counts[step - 1, 0] = max(0, round(left) - at_risk)
            counts[step, 1] = deaths
            left = at_risk - deaths
        last = value
    counts[-1, 0] = round(left)
    bounds = np.tile(np.array([-np.inf, np.inf]), (len(starts), features, 1))
    bounds[:, 0, 0] = starts
    bounds[:-1, 0, 1] = starts[1:]
    return bounds, counts


def _step(fell: float, left: int) -> tuple[int, int] | None:
    """The deaths, and the people at risk of them, behind a step of this relative height with so many people left.

    None if no whole numbers give it.
    """
    lowest = Fraction(fell).limit_denominator(max(1, left))
    if abs(float(lowest) - fell) > EXACT or lowest <= 0 or left < 1:
        return None
    times = left // lowest.denominator
    return times * lowest.numerator, times * lowest.denominator
