"""The numbers that a parameter of a scenario or an attack may take, by its name and its default."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from testbed.core.errors import UsageError

if TYPE_CHECKING:
    pass

POSITIVE = {"learning_rate", "alpha", "clip", "epsilon", "delta", "threshold", "temperature"}
"""Parameters that must be above 0."""
SHARES = {"delta", "threshold", "few", "many", "planted_share", "share", "fraction"}
"""Parameters that must be at most 1."""
SWITCHED_OFF = {"momentum", "noise", "weight_decay", "jitter"}
"""Parameters that may be 0, which switches them off, even if their default is a whole number of 1 or more."""


def check(key: str, value: Any, default: Any, id: str) -> None:
    """Raises `UsageError` if the value is not a finite number or lies outside the parameter's range.

    Nothing is checked if the default is not a number, or is negative.
    """
    if isinstance(default, bool) or not isinstance(default, int | float) or default < 0:
        return
    if not isinstance(value, int | float):
        raise _out(key, f"a number, such as {default}", id)
    if not math.isfinite(value):
        raise _out(key, "a finite number", id)
    if isinstance(default, int) and default >= 1 and key not in SWITCHED_OFF and value < 1:
        raise _out(key, "1 or more", id)
    if value < 0 or (key in POSITIVE and value == 0):
        raise _out(key, "above 0" if key in POSITIVE else "0 or more", id)
    if key in SHARES and value > 1:
        raise _out(key, "at most 1", id)


def _out(key: str, range: str, id: str) -> UsageError:
    return UsageError(
        id, f"{key} must be {range}.", "No run is possible with another value.", "Choose one in that range."
    )


def typed(key: str, text: str, default: Any) -> Any:
    """A parameter's value read from text, of the same type as its default. Raises `UsageError` for any other text."""
    try:
        if isinstance(default, bool):
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        return type(default)(text)
    except (KeyError, ValueError):
        raise UsageError(
            "TB-SCENARIO-003",
            f"The parameter {key} does not take this value.",
            f"It must be of the kind {type(default).__name__}.",
            f"Its default is {default!r}.",
        ) from None
