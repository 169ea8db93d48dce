"""Scenarios: a question, the parameters that change its answer, and the trial that answers it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.core import catalogue, parameters, user_code
from testbed.core.errors import UsageError, missing_extra
from testbed.core.parameters import typed
from testbed.findings.schema import Defence, Subject, ThreatModel
from testbed.harness.outcome import Outcome, Progress


@dataclass(frozen=True, slots=True)
class Scenario:
    """A prepared scenario. `conduct(engine, progress, store)` runs it; `store` keeps finished parts for a resume."""

    subject: Subject
    threat: ThreatModel
    conduct: Callable[[str, Progress, Path | None], Outcome]
    defences: Sequence[Defence] = ()
    engines: Sequence[str] = ("in-process", "simulation")


@dataclass(frozen=True, slots=True)
class Registered:
    """A scenario's function with its question; calling it with parameters prepares the scenario."""

    name: str
    question: str
    make: Callable[..., Scenario]
    defaults: Mapping[str, Any]
    summary: str
    position: str = "server"
    malicious: bool = False

    def __call__(self, **params: Any) -> Scenario:
        """The prepared scenario. Raises `UsageError` for a number out of its range."""
        for key, value in params.items():
            if key in self.defaults and key != "seed":
                parameters.check(key, value, self.defaults[key], "TB-SCENARIO-017")
        return self.make(**{key: _own(key, value, self) for key, value in params.items()})

    def parse(self, pairs: Sequence[str]) -> dict[str, Any]:
        """`key=value` texts as parameters, each in the type of its default. Raises `UsageError`."""
        return _parsed(self.name, self.defaults, pairs)


def parse(name: str, pairs: Sequence[str]) -> dict[str, Any]:
    """The parameters of a scenario that need not be loaded for it. Raises `UsageError` for an unknown scenario, for a
    parameter that it does not have, and for an attack or a defence that does not exist."""
    entry = None if user_code.named(name) else catalogue.entry("scenario", name)
    if entry is None or not entry.readable:
        return find(name).parse(pairs)
    given = _parsed(name, entry.defaults, pairs)
    for kind in NAMED:
        value = str(given.get(kind, "none"))
        if not entry.own and value not in ("none", entry.defaults.get(kind)) and not user_code.named(value):
            catalogue.known(kind, value)
    return given


NAMED: tuple[catalogue.Kind, ...] = ("attack", "defence")
"""Parameters whose value is the name of one."""


def _own(key: str, value: Any, asked: Registered) -> Any:
    """The name of a user's own attack or defence, which is registered by loading it; any other value as it is."""
    if key not in NAMED or not isinstance(value, str) or not user_code.named(value):
        return value
    if key == "defence":
        from testbed.defences import registry as defences

        return defences.find(value).name
    from testbed.attacks import registry as attacks

    attack, usual = attacks.find(value), attacks.find(str(asked.defaults[key]))
    if attack.claim is not usual.claim or attack.position != usual.position:
        raise UsageError(
            "TB-SCENARIO-023",
            f"{attack.name} is no attack for {asked.name}.",
            f"It claims {attack.claim.__name__} from the position {attack.position}; this scenario judges "
            f"{usual.claim.__name__} from the position {usual.position}.",
            "Choose a scenario whose attacks make that claim; testbed describe says so.",
        )
    return attack.name


def is_own(attack: str) -> bool:
    """Is this attack a user's own, of which no scenario's list can know?"""
    return catalogue.entry("attack", attack) is None or catalogue.known("attack", attack).own


def _parsed(name: str, defaults: Mapping[str, Any], pairs: Sequence[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or key not in defaults or key == "seed":
            raise UsageError(
                "TB-SCENARIO-002",
                f"{name} has no parameter {key!r}, or no value was given.",
                "A misspelt parameter would change nothing.",
                f"It takes: {', '.join(f'{k}={v}' for k, v in defaults.items() if k != 'seed')}.",
            )
        given[key] = typed(key, text, defaults[key])
    return given


_REGISTRY: dict[str, Registered] = {}


def scenario(
    *, question: str, position: str = "server", malicious: bool = False
) -> Callable[[Callable[..., Scenario]], Registered]:
    """Register a function as a scenario; its parameters, all with defaults, are the command line's `-s key=value`."""

    def register(make: Callable[..., Scenario]) -> Registered:
        defaults = {name: p.default for name, p in inspect.signature(make).parameters.items()}
        made = Registered(make.__name__, question, make, defaults, inspect.getdoc(make) or "", position, malicious)
        _REGISTRY[made.name] = made
        return made

    return register


def scenarios() -> list[Registered]:
    """Every scenario whose libraries are installed, and those of the user's own folders, by name."""
    for entry in catalogue.entries("scenario"):
        try:
            catalogue.load(entry)
        except ModuleNotFoundError as missing:
            if missing_extra(missing) is None:
                raise
    return [_REGISTRY[name] for name in sorted(_REGISTRY)]


def find(name: str) -> Registered:
    """The scenario of that name, or a user's own (`module:function`, `file.py[:name]`); its file alone is loaded.

    Raises `UsageError` where there is none, and `ModuleNotFoundError` where its libraries are not installed.
    """
    if name in _REGISTRY:
        return _REGISTRY[name]
    if user_code.named(name):
        found = user_code.value(
            name, lambda v: isinstance(v, Registered), "scenario", "TB-SCENARIO-022", "See docs/extending.md."
        )
        catalogue.check_name("scenario", found.name, found.make.__module__)
        return found
    catalogue.load(catalogue.known("scenario", name))
    return _REGISTRY[name]
