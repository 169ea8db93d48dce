"""Scenarios: a question, the parameters that change its answer, and the trial that answers it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.core import parameters
from testbed.core.errors import UsageError, missing_extra, perhaps
from testbed.core.parameters import typed
from testbed.findings.schema import Defence, Subject, ThreatModel
from testbed.harness.outcome import Outcome, Progress

if TYPE_CHECKING:
    pass


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
        return self.make(**params)

    def parse(self, pairs: Sequence[str]) -> dict[str, Any]:
        """`key=value` texts as parameters, each in the type of its default. Raises `UsageError`."""
        given: dict[str, Any] = {}
        for pair in pairs:
            key, separator, text = pair.partition("=")
            if not separator or key not in self.defaults or key == "seed":
                raise UsageError(
                    "TB-SCENARIO-002",
                    f"{self.name} has no parameter {key!r}, or no value was given.",
                    "A misspelt parameter would change nothing.",
                    f"It takes: {', '.join(f'{k}={v}' for k, v in self.defaults.items() if k != 'seed')}.",
                )
            given[key] = typed(key, text, self.defaults[key])
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
    """Every scenario whose libraries are installed, by name: one file each in `scenarios/`."""
    package = _package()
    for module in pkgutil.iter_modules(package.__path__):
        try:
            importlib.import_module(f"{package.__name__}.{module.name}")
        except ModuleNotFoundError as missing:
            if missing_extra(missing) is None:
                raise
    return [_REGISTRY[name] for name in sorted(_REGISTRY)]


def _package() -> Any:
    """The folder beside the package in a checkout, the same folder inside it when installed."""
    return importlib.import_module("testbed.scenarios")


def importable(name: str) -> None:
    """Raises `ModuleNotFoundError`, which says what is missing, for a scenario whose libraries are not installed."""
    package = _package()
    if name in {m.name for m in pkgutil.iter_modules(package.__path__)}:
        importlib.import_module(f"{package.__name__}.{name}")


def find(name: str) -> Registered:
    """The scenario of that name. Raises `UsageError` where there is none."""
    known = {s.name: s for s in scenarios()}
    if name not in known:
        importable(name)
        raise UsageError(
            "TB-SCENARIO-001",
            f"There is no scenario called {name!r}.",
            "Names are exact.",
            f"{perhaps(name, known)} See testbed list scenarios.",
        )
    return known[name]
