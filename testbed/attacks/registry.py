"""What makes a function an attack: its claim, what it must be granted, and where it comes from."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from testbed.core import Access, Claim, Position, Recipe, Records, Threat, Transcript, parameters, unnamed
from testbed.core.errors import ThreatError, UsageError, missing_extra, perhaps
from testbed.core.randomness import keyed_rng

_REGISTRY: dict[str, Attack] = {}
_ACCESS_ORDER: dict[Access, int] = {"label": 0, "score": 1, "white": 2}


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack as a value. `read(view, question, auxiliary, rng, **params)` claims; `act` is the malicious half."""

    name: str
    risk: str
    claim: type[Claim]
    needs: frozenset[str]
    position: Position
    reference: str
    read: Callable[..., Any]
    malicious: bool = False
    access: Access = "white"
    act: Callable[..., Any] | None = None
    summary: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)

    def configured(self, params: dict[str, Any]) -> dict[str, Any]:
        """All parameters with their values. Raises `UsageError` for one the attack does not have."""
        if unknown := set(params) - set(self.defaults):
            raise UsageError(
                "TB-ATTACK-002",
                f"{self.name} has no parameter {', '.join(sorted(unknown))}.",
                "A misspelt option that is swallowed changes nothing and tells nobody.",
                f"It takes: {', '.join(sorted(self.defaults)) or 'none'}.",
            )
        for key, value in params.items():
            parameters.check(key, value, self.defaults[key], "TB-ATTACK-004")
        return {**self.defaults, **params}

    def permit(self, threat: Threat) -> None:
        """Raises `ThreatError` unless the threat model grants all that this attack uses."""
        lacks = sorted(self.needs - threat.knows)
        reasons = [f"knowledge of {', '.join(lacks)}"] if lacks else []
        if threat.position != self.position:
            reasons.append(f"the position {self.position}")
        if self.malicious and not threat.malicious:
            reasons.append("a malicious adversary")
        if _ACCESS_ORDER[threat.access] < _ACCESS_ORDER[self.access]:
            reasons.append(f"{self.access} access")
        if reasons:
            raise ThreatError(
                "TB-THREAT-002",
                f"{self.name} needs {'; '.join(reasons)}.",
                "The threat model of this run does not grant it, so a success would say nothing.",
                "Choose another attack, or a scenario whose threat model grants it.",
            )

    def run(
        self,
        view: Any,
        question: Any,
        auxiliary: Any,
        seed: int,
        threat: Threat,
        params: dict[str, Any] | None = None,
        recipe: Recipe | None = None,
    ) -> Any:
        """The claim, after checking that the threat grants it and that a replayed act really took place.

        The question's people lose their names on the way: a name may tell what is asked. `recipe`, the pipeline under
        test, and known memberships are handed only to attacks that need them. Those with a recipe share their
        randomness, so that a recipe that remembers what it made is run once for all of them.
        """
        self.permit(threat)
        if self.act is not None and isinstance(view, Transcript) and view.act != self.name:
            raise ThreatError(
                "TB-THREAT-003",
                f"{self.name} reads traces that its own act leaves, and this transcript was recorded without it.",
                "Its reading half would see an honest federation.",
                "Record the federation again with this attack acting.",
            )
        runs_it = "recipe" in self.needs
        rng = keyed_rng(seed, "recipe" if runs_it else self.name)
        held = (recipe,) if runs_it else ()
        granted = auxiliary if "auxiliary" in threat.knows else None
        if isinstance(question, Records) and "some_memberships" not in self.needs:
            question = replace(question, known=None)
        claim = self.read(view, unnamed(question), granted, rng, *held, **self.configured(params or {}))
        if not isinstance(claim, self.claim):
            raise TypeError(f"{self.name} must return {self.claim.__name__}. Got {type(claim).__name__} instead.")
        return claim


def attack(
    *,
    risk: str,
    claim: type[Claim],
    needs: set[str],
    position: Position,
    reference: str,
    access: Access = "white",
    act: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., Any]], Attack]:
    """Register a function as an attack; its keyword-only parameters are its configuration."""

    def register(read: Callable[..., Any]) -> Attack:
        signature = inspect.signature(read)
        defaults = {
            name: p.default for name, p in signature.parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY
        }
        made = Attack(
            read.__name__,
            risk,
            claim,
            frozenset(needs),
            position,
            reference,
            read,
            act is not None,
            access,
            act,
            inspect.getdoc(read) or "",
            defaults,
        )
        if made.name in _REGISTRY and _REGISTRY[made.name].read.__module__ != read.__module__:
            raise ValueError(f"there are two attacks called {made.name}; the second would take the place of the first")
        _REGISTRY[made.name] = made
        return made

    return register


def attacks() -> Iterator[Attack]:
    """Every attack whose libraries are installed, by name."""
    import testbed.attacks as package

    for module in pkgutil.walk_packages(package.__path__, "testbed.attacks."):
        _load(module.name)
    yield from (_REGISTRY[name] for name in sorted(_REGISTRY))


def _load(module: str) -> None:
    """Registers a module's attacks, unless it needs a library of an extra that is not installed."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if missing_extra(missing) is None:
            raise


def _defining(name: str) -> list[str]:
    """The modules of the package that define a function of that name, told from their text."""
    import testbed.attacks as package

    head = f"\ndef {name}("
    found: list[str] = []
    for module in pkgutil.walk_packages(package.__path__, "testbed.attacks."):
        spec = importlib.util.find_spec(module.name)
        if spec is not None and spec.origin is not None and head in Path(spec.origin).read_text(encoding="utf-8"):
            found.append(module.name)
    return found


def find(name: str) -> Attack:
    """The attack of that name, whose file alone is loaded. Raises `UsageError` where there is none."""
    if name not in _REGISTRY:
        for module in _defining(name):
            _load(module)
    if name in _REGISTRY:
        return _REGISTRY[name]
    known = {a.name: a for a in attacks()}
    if name not in known:
        raise UsageError(
            "TB-ATTACK-001",
            f"There is no attack called {name!r}.",
            "Names are exact, so that a misspelt one cannot pass as having found nothing.",
            f"{perhaps(name, known)} See testbed list attacks.",
        )
    return known[name]
