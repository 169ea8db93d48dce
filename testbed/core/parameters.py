"""Which numbers a parameter takes, by its name and its default: one place for scenarios' and attacks' parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from testbed.core.errors import UsageError

if TYPE_CHECKING:
    pass

POSITIVE = {"learning_rate", "alpha", "clip", "epsilon", "delta", "threshold", "temperature"}
SHARES = {"delta", "threshold", "few", "many", "planted_share", "share", "fraction"}
SWITCHED_OFF = {"momentum", "noise", "weight_decay", "jitter"}
"""What may be 0 though it is not by default."""


def check(key: str, value: Any, default: Any, id: str) -> None:
    """Raises `UsageError` for a number that is not finite, or of which there cannot be so few or so many."""
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
    return UsageError(id, f"{key} must be {range}.", "Another value describes no such run.", "Give one in that range.")


def typed(key: str, text: str, default: Any) -> Any:
    """A parameter's value from the command line, of its default's kind. Raises `UsageError` for any other."""
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
