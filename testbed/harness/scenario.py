"""Scenarios. Each has a question, parameters, and the trial that answers the question."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.core import catalogue, parameters, user_code
from testbed.core.errors import UsageError
from testbed.core.parameters import typed
from testbed.core.registry import Registry
from testbed.defences import named
from testbed.defences.guards import named as guards
from testbed.findings.schema import Defence, Subject, ThreatModel
from testbed.harness.outcome import Outcome, Progress


@dataclass(frozen=True, slots=True)
class Scenario:
    """A prepared scenario. `conduct(engine, progress, store)` runs it; `store` keeps finished parts for a resume."""

    subject: Subject
    threat: ThreatModel
    conduct: Callable[[str, Progress, Path | None], Outcome]
    defences: Sequence[Defence] = ()
    engines: Sequence[str] = ("in-process", "simulation", "deployment")


@dataclass(frozen=True, slots=True)
class Registered:
    """A scenario's function with its question. Called with parameters, it gives the prepared scenario."""

    name: str
    question: str
    make: Callable[..., Scenario]
    defaults: Mapping[str, Any]
    summary: str
    position: str = "server"
    malicious: bool = False

    def __call__(self, **params: Any) -> Scenario:
        """The prepared scenario. Raises `UsageError` for a number outside its range."""
        for key, value in params.items():
            if key in self.defaults and key != "seed":
                parameters.check(key, value, self.defaults[key], "TB-SCENARIO-017")
        return self.make(**{key: _own(key, value, self) for key, value in params.items()})

    def parse(self, pairs: Sequence[str]) -> dict[str, Any]:
        """The parameters in `key=value` texts, each in the type of its default.

        Raises `UsageError` for an unknown parameter or a value of another type.
        """
        return _parsed(self.name, self.defaults, pairs)


def parse(name: str, pairs: Sequence[str]) -> dict[str, Any]:
    """The parameters of a scenario, parsed without loading the scenario if possible.

    Raises `UsageError` for an unknown scenario, an unknown parameter, and an unknown attack or defence.
    """
    entry = None if user_code.named(name) else catalogue.entry("scenario", name)
    if entry is None or not entry.readable:
        return find(name).parse(pairs)
    given = _parsed(name, entry.defaults, pairs)
    guards.check(str(given.get("guards", guards.NONE)))
    for kind in NAMED:
        value = str(given.get(kind, "none"))
        if kind == "defence":
            named.check(value)
            continue
        if not entry.own and value not in ("none", entry.defaults.get(kind)) and not user_code.named(value):
            catalogue.known(kind, value)
    return given


NAMED: tuple[catalogue.Kind, ...] = ("attack", "defence")
"""Parameters whose value is the name of an attack, or of a defence."""


def _own(key: str, value: Any, asked: Registered) -> Any:
    """The value, or the name of a user's own attack, which is loaded and so registered.

    Raises `UsageError` for an attack with another claim or position than the scenario's own attack.
    """
    if key != "attack" or not isinstance(value, str) or not user_code.named(value):
        return value
    from testbed.attacks import registry as attacks

    attack, usual = attacks.find(value), attacks.find(str(asked.defaults[key]))
    if attack.claim is not usual.claim or attack.position != usual.position:
        raise UsageError(
            "TB-SCENARIO-023",
            f"The attack {attack.name} does not fit the scenario {asked.name}.",
            f"It claims {attack.claim.__name__} from the position {attack.position}; this scenario judges "
            f"{usual.claim.__name__} from the position {usual.position}.",
            "Choose a scenario whose attacks make that claim; testbed describe shows the claim.",
        )
    return attack.name


def is_own(attack: str) -> bool:
    """Is this attack a user's own? No scenario's list contains it."""
    return catalogue.entry("attack", attack) is None or catalogue.known("attack", attack).own


def _parsed(name: str, defaults: Mapping[str, Any], pairs: Sequence[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or key not in defaults or key == "seed":
            raise UsageError(
                "TB-SCENARIO-002",
                f"{name} has no parameter {key!r}, or no value was given.",
                "A misspelt parameter would be ignored in silence.",
                f"It takes: {', '.join(f'{k}={v}' for k, v in defaults.items() if k != 'seed')}.",
            )
        given[key] = typed(key, text, defaults[key])
    return given


REGISTRY = Registry("scenario", Registered, lambda s: s.make, "TB-SCENARIO-022")


def scenario(
    *, question: str, position: str = "server", malicious: bool = False
) -> Callable[[Callable[..., Scenario]], Registered]:
    """A decorator that registers a function as a scenario.

    The function's parameters, all with defaults, become `-s key=value` on the command line.
    """

    def register(make: Callable[..., Scenario]) -> Registered:
        defaults = {name: p.default for name, p in inspect.signature(make).parameters.items()}
        made = Registered(make.__name__, question, make, defaults, inspect.getdoc(make) or "", position, malicious)
        return REGISTRY.add(made)

    return register


def scenarios() -> list[Registered]:
    """All scenarios whose libraries are installed, with those of the user's own folders, sorted by name."""
    return list(REGISTRY.load())


def find(name: str) -> Registered:
    """The scenario of this name, or a user's own (`module:function`, `file.py[:name]`). Only its own file is loaded.

    Raises `UsageError` if it does not exist, and `ModuleNotFoundError` if its libraries are not installed.
    """
    return REGISTRY.find(name)
