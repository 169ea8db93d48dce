"""The findings of a fixed set of commands are what they were before the house was rebuilt (`tests/golden`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden.runs import HERE, NAMES, golden

RELATIVE, ABSOLUTE = 1e-3, 2e-3
"""Room for a processor's rounding, which long optimisations carry on."""


def without_rules(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings in an order that does not depend on rule ids, which may be renamed."""
    bare = [{k: v for k, v in row.items() if k != "rule"} for row in rows]
    return sorted(bare, key=lambda row: json.dumps(row, sort_keys=True))


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
    if isinstance(one, float) or isinstance(other, float):
        return one == pytest.approx(other, rel=RELATIVE, abs=ABSOLUTE)
    return one == other


def test_a_number_or_a_flag_that_moved_is_noticed() -> None:
    kept = json.loads((HERE / "audit-answers.json").read_text())
    assert alike(kept, json.loads(json.dumps(kept)))
    moved = json.loads(json.dumps(kept))
    moved[0]["excess"]["value"] = 0.5
    assert not alike(kept, moved)
    flagged = json.loads(json.dumps(kept))
    flagged[0]["flags"] = ["no_control"]
    assert not alike(kept, flagged)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_findings_are_what_they_were(name: str, tmp_path: Path) -> None:
    kept = json.loads((HERE / f"{name}.json").read_text())
    now = golden(name, tmp_path)
    for before, after in zip(without_rules(kept), without_rules(now), strict=True):
        assert alike(before, after), (before, after)
