"""Why a user's table is refused: the errors that several readers of tables raise, and names that may be quoted."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from testbed.core.errors import InputError, UsageError

SUSPICIOUS = "(some look like values, not names: is there a header?)"
ALIKE = 0.75
"""From this similarity on, two names of columns are probably one."""


def refuse(number: int, what: str, why: str, fix: str) -> InputError:
    """The `InputError` with the id TB-DATA-number."""
    return InputError(f"TB-DATA-{number:03d}", what, why, fix)


def no_person(person: str, hint: str) -> UsageError:
    """The error for a person column that the original does not have."""
    return UsageError(
        "TB-DATA-041",
        f"The original has no column {person!r}.",
        "It was named as the person's identifier.",
        f"{hint} Leave --person out if each row is one person.",
    )


def empty(role: str) -> InputError:
    """The error for a table without rows or columns."""
    return refuse(
        34, f"The {role} table is empty.", "It has no rows or no columns.", "Give a table with a header and rows."
    )


def named(names: Iterable[str], most: int = 5) -> str:
    """Names of columns for a message. If they look like values, a header may be missing, and they are not quoted."""
    listed = list(names)
    shown = [n for n in listed[:most] if len(n) <= 40 and not re.search(r"\d{3}|^\W*\d", n)]
    return ", ".join(shown) if len(shown) == len(listed[:most]) else SUSPICIOUS


def renamed(missing: Iterable[str], extra: Iterable[str], least: float = ALIKE) -> str:
    """What was probably renamed: columns that one table lacks, each beside the most similar column that it has more.

    Names are alike without case and signs (icd10, ICD-10), if one begins the other (lat, Latitude), or by letters.
    Only pairs at least as alike as `least` are named: 1 is for the same letters.
    """
    left = list(extra)
    pairs: list[tuple[str, str]] = []
    for name in missing:
        best = max(left, key=lambda other: _alike(name, other), default="")
        if best and _alike(name, best) >= least:
            left.remove(best)
            pairs.append((name, best))
    told = [f"{b} is {a}" for a, b in pairs[:5] if SUSPICIOUS not in named((a, b))]
    return f"Did you mean that {', '.join(told)}? Then write the names as the original does. " if told else ""


def _alike(one: str, other: str) -> float:
    a, b = (re.sub(r"[\W_]", "", name.casefold()) for name in (one, other))
    if a == b or (min(len(a), len(b)) >= 3 and (a.startswith(b) or b.startswith(a))):
        return 1.0 if a == b else 0.9
    return difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()


def unique(names: Iterable[str], role: str) -> None:
    """Raises `InputError` for two columns of one name."""
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        if seen.setdefault(name, i) != i:
            raise duplicate(role, seen[name], i)


def duplicate(role: str, first: int, second: int) -> InputError:
    """The error for two columns of the same name, given their positions from 0."""
    return refuse(
        36,
        f"The {role} table has two columns of the same name, number {first + 1} and number {second + 1}.",
        "It is unclear which one is meant.",
        "Rename or drop one of them.",
    )
