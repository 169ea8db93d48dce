# pyright: strict
"""Rule ids (`TB-<RISK>-NNN`): one belongs to each attack, and further ones are derived from it."""

from __future__ import annotations

import re

RULE = re.compile(r"TB-([A-Z_]+)-(\d{3})")
LAST = 799
"""The largest number of an attack's own rule."""
DERIVED = {"auc": 100, "offline": 1, "paired": 220, "paired_clients": 280, "paired_turns": 340}
"""By how much the number of a rule that is derived from an attack's own rule is larger."""
RESERVED = frozenset({"TB-MEMBERSHIP-300", "TB-MEMBERSHIP-500"})
"""Rules of findings that the best of several attacks decides."""


def derived(rule: str, by: str) -> str:
    """The rule that follows from another one, such as that of an attack's area under the curve."""
    return numbered(rule, DERIVED[by])


def numbered(rule: str, place: int) -> str:
    """The rule `place` numbers after another one: an attack that asks about several secrets has a block of rules."""
    risk, _, number = rule.rpartition("-")
    return f"{risk}-{int(number) + place:03d}"
