"""The tables that the disclosure gate protects, and the smallest group of people that may be described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MIN_CELL = 10
"""The smallest number of people that a report may describe, where no policy says otherwise."""


@dataclass(frozen=True, slots=True)
class People:
    """The raw tables (pandas) whose values must not be disclosed; `person` names the column of the person, if any."""

    tables: Sequence[Any]
    person: str | None = None

    def __repr__(self) -> str:
        return f"People({len(self.tables)} tables)"
