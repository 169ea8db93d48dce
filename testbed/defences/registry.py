"""The registry of defences: each is a function with what it puts into a federation, its parameters, its guarantee.

A defence's noise is drawn from the federation's seed, so a run can be repeated. Anybody who knows the seed can remove
the noise. Scenarios run on public data and print their seed. For patients' data, draw a seed with the standard
library's `secrets` and keep it secret.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from testbed.core import parameters
from testbed.core.defence import Bounds, Defence, Exposure, Guarantee, Where
from testbed.core.errors import UsageError
from testbed.core.registry import Registry

REQUIRED = inspect.Parameter.empty
GIVEN = ("seed", "exposure")
"""What a federation gives a defence: these are no parameters of it."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered defence. Called with parameters, it gives the configured `Defence`."""

    name: str
    make: Callable[..., Any]
    defaults: Mapping[str, Any]
    """Each parameter with its default, or `REQUIRED`."""
    summary: str
    promise: Callable[..., Guarantee | None] | None = None
    where: Where = "update"
    bounds: Callable[..., Bounds] | None = None
    mixes: bool = False
    exposed: bool = False
    bits: Callable[..., float] | None = None

    def __call__(self, **params: Any) -> Defence:
        """The configured defence. Raises `UsageError` for a parameter that is unknown, missing or out of range."""
        if unknown := set(params) - set(self.defaults):
            raise UsageError(
                "TB-DEFENCE-002",
                f"{self.name} has no parameter {', '.join(sorted(unknown))}.",
                "A misspelt option would be ignored in silence.",
                f"It takes: {', '.join(sorted(self.defaults)) or 'none'}.",
            )
        chosen = {**self.defaults, **params}
        if missing := [name for name, value in chosen.items() if value is REQUIRED]:
            raise UsageError(
                "TB-DEFENCE-003",
                f"{self.name} needs a value for {', '.join(missing)}.",
                "This parameter has no default that suits everybody.",
                f"Give {', '.join(f'{name}=...' for name in missing)}, or {self.name}:VALUE.",
            )
        for key, value in params.items():
            default = self.defaults[key]
            parameters.check(key, value, 0.0 if default is REQUIRED else default, "TB-DEFENCE-004")
        made = Defence(
            self.name,
            chosen,
            self.make,
            self.promise,
            self.where,
            bounds=self.bounds,
            mixes=self.mixes,
            bits=self.bits,
            exposed=self.exposed,
        )
        made.guarantee(Exposure())  # a guarantee that promises nothing is refused here, before anything runs
        return made


def defence(
    *,
    guarantee: Callable[..., Guarantee | None] | None = None,
    where: Where = "update",
    bounds: Callable[..., Bounds] | None = None,
    mixes: bool = False,
    bits: Callable[..., float] | None = None,
) -> Callable[[Callable[..., Any]], Registered]:
    """A decorator that registers a function `(*, seed, **params)` as a defence.

    `where` says what it changes, and so what the function returns (`testbed.core.defence.Where`). The function's
    parameters are the defence's configuration. If one of them is called `exposure`, the federation gives it.
    """

    def register(make: Callable[..., Any]) -> Registered:
        signature = inspect.signature(make)
        defaults = {name: p.default for name, p in signature.parameters.items() if name not in GIVEN}
        exposed = "exposure" in signature.parameters
        summary = inspect.getdoc(make) or ""
        made = Registered(make.__name__, make, defaults, summary, guarantee, where, bounds, mixes, exposed, bits)
        return REGISTRY.add(made)

    return register


REGISTRY = Registry("defence", Registered, lambda d: d.make, "TB-DEFENCE-005")


def defences() -> list[Registered]:
    """All defences of the package and of the user's own folders, sorted by name."""
    return list(REGISTRY.load())


def find(name: str) -> Registered:
    """The defence of this name, or a user's own (`module:function`, `file.py:name`).

    Raises `UsageError` if it does not exist, and `ModuleNotFoundError` if its libraries are not installed.
    """
    return REGISTRY.find(name)
