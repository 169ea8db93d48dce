"""The registry of guards: each is a function of what its position sees, with its side, threshold and source."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from testbed.core import parameters
from testbed.core.errors import UsageError
from testbed.core.guard import Action, Guard, Side, Signal
from testbed.core.registry import Registry


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered guard. Called with parameters, it gives the configured `Guard`."""

    name: str
    side: Side
    read: Callable[..., Signal]
    threshold: float
    defaults: Mapping[str, Any]
    reference: str
    notices: frozenset[str]
    """Names of the attacks that it is meant to notice."""
    summary: str

    def __call__(self, *, action: Action = "refuse", threshold: float | None = None, **params: Any) -> Guard:
        """The configured guard. Raises `UsageError` for an unknown action, or a parameter unknown or out of range."""
        if action not in ("refuse", "warn"):
            raise UsageError(
                "TB-GUARD-002",
                f"A guard cannot {action!r}.",
                "It either refuses the round, or warns and goes on.",
                "Use action refuse or warn.",
            )
        if unknown := set(params) - set(self.defaults):
            raise UsageError(
                "TB-GUARD-003",
                f"{self.name} has no parameter {', '.join(sorted(unknown))}.",
                "A misspelt option would be ignored in silence.",
                f"It takes: {', '.join(['action', 'threshold', *sorted(self.defaults)])}.",
            )
        for key, value in params.items():
            parameters.check(key, value, self.defaults[key], "TB-GUARD-004")
        least = self.threshold if threshold is None else float(threshold)
        return Guard(self.name, self.side, {**self.defaults, **params}, least, self.read, action)


def guard(
    *, side: Side, threshold: float, reference: str, notices: set[str] | frozenset[str] = frozenset()
) -> Callable[[Callable[..., Signal]], Registered]:
    """A decorator that registers a function `(seen, memory, **params) -> signal` as a guard.

    `seen` is a `Received` (side client) or a `Gathered` (side server). Above `threshold` the guard raises an alarm. The
    function's keyword parameters are the guard's configuration. `notices` names the attacks that it is meant for.
    """

    def register(read: Callable[..., Signal]) -> Registered:
        found = inspect.signature(read).parameters.values()
        defaults = {p.name: p.default for p in found if p.kind is inspect.Parameter.KEYWORD_ONLY}
        summary = inspect.getdoc(read) or ""
        made = Registered(read.__name__, side, read, threshold, defaults, reference, frozenset(notices), summary)
        return REGISTRY.add(made)

    return register


REGISTRY = Registry("guard", Registered, lambda g: g.read, "TB-GUARD-005", "docs/guards.md")


def guards(side: Side | None = None) -> list[Registered]:
    """All guards of the package and of the user's own folders, of one side or of both, sorted by name."""
    return [g for g in REGISTRY.load() if side in (None, g.side)]


def find(name: str) -> Registered:
    """The guard of this name, or a user's own (`module:function`, `file.py:name`).

    Raises `UsageError` if it does not exist, and `ModuleNotFoundError` if its libraries are not installed.
    """
    return REGISTRY.find(name)
