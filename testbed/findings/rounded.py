# pyright: strict
"""Numbers of a result: finite, and rounded to four significant digits."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import AfterValidator


def four_digits(value: float) -> float:
    """The value rounded to four significant digits: enough for any decision, too few to identify a measurement."""
    return value if value == 0 or not math.isfinite(value) else round(value, 3 - math.floor(math.log10(abs(value))))


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("a statistic must be finite")
    return four_digits(value)


Statistic = Annotated[float, AfterValidator(_finite)]
"""A finite number that describes many guesses, rounded; the disclosure gate does not search such numbers."""
