"""Several defences from one text, as a scenario's `defence=` takes it: `topk:0.1+gaussian:1.2`.

Defences are separated by `+` and applied from left to right. Values follow the name after a colon, separated by commas:
in the order of the defence's parameters (`percentile:10,0.01`), or by name (`percentile:gamma=0.02`). A user's own
defence is named as everywhere (`my_defences.py:signs`); its values follow after one more colon.
"""

from __future__ import annotations

import re
from typing import Any

from testbed.core import catalogue, parameters, user_code
from testbed.core.defence import Defence
from testbed.core.errors import UsageError
from testbed.defences import registry
from testbed.defences.registry import REQUIRED, Registered

NONE = "none"
SEPARATOR = re.compile(r"\+(?!\d)")
"""A plus sign, but not that of a number such as 1e+5."""
OWN_FILE = re.compile(r"(?P<name>.+?\.py(?::[A-Za-z_]\w*)?)(?::(?P<values>.*))?")
"""A file of the user's own, perhaps with the name of one defence in it, and perhaps values."""


def split(text: str, kind: catalogue.Kind = "defence") -> list[tuple[str, str]]:
    """Each defence's, or guard's, name and the text of its values, in their order; empty for `none`."""
    return [_parts(part.strip(), kind) for part in SEPARATOR.split(text)] if text.strip() != NONE else []


def _parts(part: str, kind: catalogue.Kind) -> tuple[str, str]:
    if (own := OWN_FILE.fullmatch(part)) is not None:
        return own["name"], own["values"] or ""
    name, _, rest = part.partition(":")
    if name in catalogue_names(kind) or not rest:
        return name, rest
    place, _, values = rest.partition(":")  # module:function, or module:function:values
    return (f"{name}:{place}", values) if re.fullmatch(r"[A-Za-z_]\w*", place) else (name, rest)


def catalogue_names(kind: catalogue.Kind) -> set[str]:
    """The names of all that is listed of this kind, without importing it."""
    return {e.name for e in catalogue.entries(kind)}


def check(text: str) -> None:
    """Stops at a misspelt name before anything is imported. Raises `UsageError`."""
    for name, _ in split(text):
        if name != NONE and not user_code.named(name):
            catalogue.known("defence", name)


def configured(text: str) -> tuple[Defence, ...]:
    """The defences that a text names, in the order in which they are applied.

    Raises `UsageError` for a name or a value that does not exist, for `none` beside another one, and for two protocols.
    """
    named = split(text)
    if any(name == NONE for name, _ in named):
        raise UsageError(
            "TB-DEFENCE-006",
            f"defence={NONE} stands beside another defence.",
            "A federation has no defence, or it has some.",
            "Name the others alone.",
        )
    made = tuple(_one(registry.find(name), values) for name, values in named)
    if len(protocols := [d.name for d in made if d.where == "protocol"]) > 1:
        raise UsageError(
            "TB-DEFENCE-030",
            f"{protocols[1]} stands beside {protocols[0]}.",
            "Each is a protocol by which clients send their answers. A federation follows one.",
            "Name one of them.",
        )
    return made


def _one(found: Registered, text: str) -> Defence:
    order = list(found.defaults)
    given: dict[str, Any] = {}
    for place, value in enumerate(v for v in text.split(",") if v):
        name, equals, rest = value.partition("=")
        if not equals:
            if place >= len(order):
                raise UsageError(
                    "TB-DEFENCE-007",
                    f"{found.name} takes {len(order)} value{'s' * (len(order) != 1)}; more were given.",
                    "A value that belongs to no parameter would be ignored.",
                    f"It takes: {', '.join(order) or 'none'}.",
                )
            name, rest = order[place], value
        if apart := [sign for sign in ";& " if sign in rest.strip()]:
            raise UsageError(
                "TB-DEFENCE-028",
                f"A value of {found.name} holds the sign {apart[0]!r}.",
                "Several defences are joined by a plus sign.",
                "Write defence=topk:0.1+gaussian:1.2.",
            )
        default = found.defaults.get(name, REQUIRED)
        given[name] = parameters.typed(name, rest, 0.0 if default is REQUIRED else default, found.name)
    return found(**given)


def text_of(defences: tuple[Defence, ...]) -> str:
    """The text that names these defences with all their values; `none` if there are none."""
    return "+".join(_text(d) for d in defences) or NONE


def _text(one: Defence) -> str:
    values = ",".join(f"{k}={v}" for k, v in one.params.items())
    return f"{one.name}:{values}" if values else one.name
