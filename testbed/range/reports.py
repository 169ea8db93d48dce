# pyright: strict
"""Whether a report that blue hands in is what it should be: unaltered, and about the tables on its desk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from testbed.findings import proof
from testbed.findings.schema import Result


def unfit(report: Mapping[str, Any], tables: Mapping[str, str]) -> str | None:
    """What is wrong with a report on the `tables` with these digests, by role; None if nothing."""
    try:
        result = Result.model_validate(report)
    except ValidationError:
        return "The report is no result.json of testbed evaluate."
    altered = proof.altered(report)
    if altered is None or altered:
        return f"The report was altered after it was made: {', '.join(altered or ('it has no digests',))}."
    given = {i.role: i for i in result.proof.inputs} if result.proof is not None else {}
    for role, digest in tables.items():
        if role not in given:
            return f"The report names no {role} table. Hand in one of testbed evaluate."
        if given[role].keyed:
            return "The report keeps its tables' digests secret. Give --data-class synthetic to testbed evaluate."
        if given[role].digest != digest:
            return f"The report is about another {role} table than the one on your desk."
    return None
