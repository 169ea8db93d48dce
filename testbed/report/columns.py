# pyright: strict
"""The column view of a report: one row a column, from the result alone."""

from __future__ import annotations

from typing import NamedTuple

from testbed.findings.schema import Finding, Measure, Result, TableColumn, Unmeasured
from testbed.findings.wording import RARE_VALUES

NOT_ASKED = Unmeasured(unmeasured="not_asked", needs="this column as a secret (--secrets)")


class Row(NamedTuple):
    """A column as it was read, and what was found of it. What was not measured is an `Unmeasured`."""

    column: TableColumn
    inference: Measure
    """The excess of attribute inference, and that of people with a rare value (`rare`)."""
    rare: Measure
    identifiers: bool
    likeness: Measure
    copies: Measure
    control_copies: Measure


def rows(result: Result) -> list[Row]:
    """One row for each column of a released table, in the table's order."""
    inferred = {f.target: f for f in result.findings if f.attack.name == "attribute_inference" and not f.primary}
    identified = {
        name
        for f in result.findings
        if f.attack.name == "direct_identifiers" and f.target
        for name in (f.target, *f.target.split(", "))  # a name may hold a comma
    }
    return [
        Row(
            column,
            _excess(inferred.get(column.name)),
            _excess(inferred.get(f"{RARE_VALUES}{column.name}")),
            column.name in identified,
            column.likeness or NOT_ASKED,
            column.copies or NOT_ASKED,
            column.control_copies or NOT_ASKED,
        )
        for column in result.subject.table
    ]


def _excess(finding: Finding | None) -> Measure:
    return NOT_ASKED if finding is None else finding.excess
