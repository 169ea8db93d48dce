"""One register for attacks, scenarios, defences and guards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from testbed.attacks import registry as attacks
from testbed.core.registry import Registry
from testbed.defences import registry as defences
from testbed.defences.guards import registry as guards


def elsewhere(*_: Any, **__: Any) -> None:
    """A function of another file."""


@pytest.mark.parametrize(
    ("registry", "name", "part"),
    [
        (attacks.REGISTRY, "lira", "read"),
        (defences.REGISTRY, "clip", "make"),
        (guards.REGISTRY, "lone_records", "read"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_second_one_of_a_name_from_another_file_is_refused(registry: Registry[Any], name: str, part: str) -> None:
    known = registry.find(name)
    with pytest.raises(ValueError, match=f"there are two {registry.kind}s called {name}"):
        registry.add(replace(known, **{part: elsewhere}))
    assert registry.add(replace(known)) == known
    assert registry.find(name) == known
