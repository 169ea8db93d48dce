"""Digests of a result: whatever is altered shows, and nothing else does."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.findings.proof import ID_LENGTH, REMOVED, altered, sealed
from testbed.findings.schema import Result

EXAMPLE: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "docs" / "result.example.json").read_text(encoding="utf-8")
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field of a JSON value, containers too."""
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from places(inner, (*path, key))


def other(value: Any) -> Any:
    """A value of the same type that differs as little as possible."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1e-4 if isinstance(value, float) else value + 1
    if isinstance(value, str):
        return value[:-1] + ("x" if not value.endswith("x") else "y") if value else "x"
    if isinstance(value, list):
        return [*value, "x"]
    return {**value, "x": 1} if isinstance(value, dict) else "x"


def parent(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        content = content[key]
    return content


def test_the_example_is_as_it_was_made() -> None:
    assert altered(EXAMPLE) == ()


@pytest.mark.parametrize("part", sorted(EXAMPLE))
def test_every_altered_field_is_noticed(part: str) -> None:
    found = [p for p in places(EXAMPLE) if p[0] == part]
    assert found
    for path in found:
        changed = copy.deepcopy(EXAMPLE) if len(path) < 3 else {**EXAMPLE, part: copy.deepcopy(EXAMPLE[part])}
        holder = parent(changed, path)
        holder[path[-1]] = other(holder[path[-1]])
        assert altered(changed), path


@pytest.mark.parametrize("part", sorted(EXAMPLE))
def test_every_removed_field_is_noticed(part: str) -> None:
    for path in (p for p in places(EXAMPLE) if p[0] == part and len(p) < 6):
        changed = {**EXAMPLE, part: copy.deepcopy(EXAMPLE[part])}
        del parent(changed, path)[path[-1]]
        assert altered(changed), path


def test_it_is_said_which_part_was_altered() -> None:
    changed = copy.deepcopy(EXAMPLE)
    changed["findings"][0]["verdict"] = "pass"
    assert altered(changed) == ("the findings",)
    changed = copy.deepcopy(EXAMPLE)
    changed["decision"]["verdict"] = "pass"
    assert altered(changed) == ("the decision",)
    changed = copy.deepcopy(EXAMPLE)
    changed["run"]["created"] = "2020-01-01T00:00:00+00:00"
    assert altered(changed) == ("one of run.id, run.created, run.duration_s, run.environment",)


def test_removed_digests_are_noticed_and_an_earlier_version_has_none() -> None:
    without = {name: value for name, value in EXAMPLE.items() if name != "proof"}
    assert altered(without) == (REMOVED,)
    earlier = {**without, "run": {**EXAMPLE["run"], "id": "7eea25b59eb0"}}
    assert altered(earlier) is None


def test_the_order_of_fields_and_blanks_alter_nothing() -> None:
    assert altered(json.loads(json.dumps(EXAMPLE, sort_keys=True, indent=7))) == ()


def test_a_result_sealed_again_is_the_same_and_keeps_what_was_told_before() -> None:
    once = sealed(Result.model_validate(EXAMPLE), command="testbed run x", key="k")
    assert sealed(once) == once
    assert once.proof is not None
    assert (once.proof.command, once.proof.key) == ("testbed run x", "k")
    assert len(once.run.id) == ID_LENGTH
    assert altered(once.dump()) == ()


def test_results_that_differ_in_their_time_alone_differ_in_their_id_alone() -> None:
    one = sealed(Result.model_validate(EXAMPLE))
    later = one.run.model_copy(update={"created": "2030-01-01T00:00:00+00:00"})
    other_one = sealed(one.model_copy(update={"run": later}))
    assert one.run.id != other_one.run.id
    assert one.proof == other_one.proof
