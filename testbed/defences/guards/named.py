"""Several guards from one text, as a scenario's `guards=` takes it: `nested_neurons+layer_drift:3`.

Guards are separated by `+`. Values follow the name after a colon, separated by commas: the threshold first
(`layer_drift:3`), all others by name (`layer_drift:action=warn`).
"""

from __future__ import annotations

from typing import Any

from testbed.core import catalogue, parameters, user_code
from testbed.core.errors import UsageError
from testbed.core.guard import Guard
from testbed.defences import named
from testbed.defences.guards import registry
from testbed.defences.guards.registry import Registered

NONE = named.NONE


def check(text: str) -> None:
    """Stops at a misspelt name before anything is imported. Raises `UsageError`."""
    for name, _ in named.split(text, "guard"):
        if name != NONE and not user_code.named(name):
            catalogue.known("guard", name)


def configured(text: str) -> tuple[Guard, ...]:
    """The guards that a text names. Raises `UsageError` for a name or value that does not exist, and for one twice."""
    parts = named.split(text, "guard")
    names = [name for name, _ in parts]
    if NONE in names or len(set(names)) < len(names):
        raise UsageError(
            "TB-GUARD-008",
            "A guard is named twice, or none stands beside another guard.",
            "Each guard has one memory, and a federation has guards or none.",
            "Name each guard once, as in nested_neurons+weight_law, or none alone.",
        )
    return tuple(_one(registry.find(name), values) for name, values in parts)


def _one(found: Registered, text: str) -> Guard:
    usual: dict[str, Any] = {"threshold": found.threshold, "action": "refuse", **found.defaults}
    given: dict[str, Any] = {}
    for place, value in enumerate(v for v in text.split(",") if v):
        name, equals, rest = value.partition("=")
        if not equals:
            if place:
                raise UsageError(
                    "TB-GUARD-009",
                    f"A value of {found.name} has no name.",
                    "Only the threshold, which stands first, needs none.",
                    f"It takes: {', '.join(usual)}. Write {found.name}:{found.threshold:g},action=warn.",
                )
            name, rest = "threshold", value
        given[name] = parameters.typed(name, rest, _like(usual.get(name, "")), found.name)
    return found(**given)


def _like(usual: Any) -> Any:
    """The default whose type a value takes; a whole-number threshold is a number like any other."""
    return float(usual) if isinstance(usual, int) and not isinstance(usual, bool) else usual


def text_of(guards: tuple[Guard, ...]) -> str:
    """The text that names these guards with all their values; `none` if there are none."""
    return "+".join(_text(g) for g in guards) or NONE


def _text(one: Guard) -> str:
    values = {"threshold": one.threshold, "action": one.action, **one.params}
    return f"{one.name}:{','.join(f'{k}={v}' for k, v in values.items())}"
