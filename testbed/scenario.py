"""Scenarios: a question, the parameters that change its answer, and the trial that answers it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed import ranges
from testbed.core import Unavailable
from testbed.errors import UsageError, missing_extra, perhaps
from testbed.report.schema import Defence, Picture, Result, Subject, ThreatModel, Utility

if TYPE_CHECKING:
    from testbed.core import Evidence
    from testbed.policy import Policy
    from testbed.report.gate import People
    from testbed.report.schema import Finding

Progress = Callable[[str], None]
FEWEST_RUNS = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial yields: findings for the report, and what stays in evidence/."""

    findings: list[Finding]
    evidence: dict[str, Evidence]
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    pictures: list[Picture] = field(default_factory=list[Picture])
    utility: list[Utility] = field(default_factory=list[Utility])
    people: People | None = None


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
                ranges.check(key, value, self.defaults[key], "TB-SCENARIO-017")
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


def typed(key: str, text: str, default: Any) -> Any:
    """A parameter's value from the command line, of its default's kind. Raises `UsageError` for any other."""
    try:
        if isinstance(default, bool):
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        return type(default)(text)
    except (KeyError, ValueError):
        raise UsageError(
            "TB-SCENARIO-003",
            f"The parameter {key} does not take this value.",
            f"It must be of the kind {type(default).__name__}.",
            f"Its default is {default!r}.",
        ) from None


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


@dataclass(frozen=True, slots=True)
class Done:
    """A finished run: its result, and what it leaves in a folder."""

    result: Result
    outcome: Outcome


def run(
    registered: Registered,
    params: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    engine: str | None = None,
    policy: Policy | None = None,
    replicates: int = 1,
    store: Path | None = None,
    progress: Progress = lambda _: None,
) -> Done:
    """Run a scenario. Without a policy there is no verdict.

    With five or more `replicates` each number is that of the training recipe: a mean over runs, with a t interval.
    `store` is a folder where finished federations are kept, so that an interrupted run can go on.
    """
    from testbed.report import results

    started = time.monotonic()
    chosen = {**{k: v for k, v in registered.defaults.items() if k != "seed"}, **(params or {})}
    prepared = registered(**chosen, seed=seed)
    used = engine or prepared.engines[0]
    if used not in prepared.engines:
        raise UsageError(
            "TB-SCENARIO-004",
            f"{registered.name} does not run on the engine {used!r}.",
            "Another engine would change what is simulated.",
            f"Use one of: {', '.join(prepared.engines)}.",
        )
    if replicates != 1 and replicates < FEWEST_RUNS:
        raise UsageError(
            "TB-SCENARIO-007",
            f"{replicates} replicates say nothing about a recipe.",
            f"An interval over runs needs {FEWEST_RUNS} or more.",
            f"Use --replicates 1, or {FEWEST_RUNS} and more.",
        )
    apart = int(chosen.get("runs", 1))  # a scenario of several runs uses as many seeds
    try:
        outcome = prepared.conduct(used, progress, store)
        if replicates > 1:
            seeds = range(seed + apart, seed + apart * replicates, apart)
            further = [registered(**chosen, seed=own).conduct(used, progress, store) for own in seeds]
            outcome = _joined([outcome, *further])
    except Unavailable as why:
        raise UsageError(
            "TB-SCENARIO-018",
            f"{registered.name} cannot be run with these parameters.",
            f"It needs {why.needs} ({why.code}).",
            "Change the parameters.",
        ) from None
    result = results.assemble(
        command="run",
        scenario=registered.name,
        question=registered.question,
        engine=used,
        seed=seed,
        params=chosen if replicates == 1 else {**chosen, "replicates": replicates},
        started=started,
        subject=prepared.subject,
        threat=prepared.threat,
        findings=outcome.findings,
        policy=policy,
        defences=prepared.defences,
        utility=outcome.utility,
        pictures=outcome.pictures,
    )
    return Done(result, outcome)


def _joined(outcomes: Sequence[Outcome]) -> Outcome:
    from testbed import replicates

    first = outcomes[0]
    return Outcome(
        replicates.over_runs([o.findings for o in outcomes]),
        {f"run{i}.{rule}": rows for i, o in enumerate(outcomes) for rule, rows in o.evidence.items()},
        {f"run{i}.{name}": content for i, o in enumerate(outcomes) for name, content in o.files.items()},
        first.pictures,
        first.utility,
        first.people,
    )


def main(registered: Registered) -> None:
    """Run a scenario's file as a script: `python scenarios/NAME.py -s key=value`."""
    import sys

    from testbed import cli

    sys.argv[1:1] = ["run", registered.name]
    cli.main()
