"""What makes a function an attack: its claim, what it must be granted, and where it comes from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from testbed.core import (
    KNOWLEDGE,
    Access,
    Batch,
    Claim,
    Groups,
    Guesses,
    Labels,
    Links,
    Opened,
    Origins,
    Position,
    Predicates,
    Predictor,
    Recipe,
    Reconstruction,
    Records,
    Representatives,
    Scores,
    Sources,
    Substitutes,
    Threat,
    Transcript,
    Values,
    catalogue,
    parameters,
    rules,
    unnamed,
)
from testbed.core.errors import ThreatError, UsageError, missing_extra
from testbed.core.randomness import keyed_rng
from testbed.core.registry import Registry

TRAITS = {
    "decides": "it may decide on membership, where the best of several attacks does",
    "classes_only": "it reads class probabilities, which a model that predicts something else has none of",
    "numbers_only": "it reads the errors of a predicted number, which say nothing new about a model with classes",
    "opened_only": "it reads what shows inside a network, of which the weights must be released",
    "times_only": "it reads survival curves, which only a model of the time to an event gives",
    "asks": "copies: about noisy copies of the records; rough: about people who are roughly known; everybody: about "
    "one binary secret of all people at once",
    "baseline": "it looks at nothing of the person: a blind cell, and no attack of its own",
    "margin": "singling out is also run with half-lines that begin this far towards the next released value",
    "sums": "it reads what secure aggregation shows: sums, or what its act makes of them",
    "suits": "the model that a scenario trains for it: linear, convolutional, table, text or trees; or what it reads "
    "instead of a model: sums, statistics, evaluations, queries, the cut of a split network, or the released model "
    "alone",
    "width": "the width of the first layer that it reads best",
    "offline": "an audit also runs it offline, without shadow models that hold the records in doubt",
    "meets": "defences without bounds that it meets nevertheless: it is told of them, or they hide nothing from it",
    "quick": "parameters with which the conformance suite runs it in seconds",
}
"""Facts about an attack that harness, scenarios and the conformance suite ask for, each with its meaning."""
Subject = Literal["transcript", "release", "model"]
"""What an attack looks at: a recorded federation, a released table, or a released model."""
CLAIMS: dict[Subject, tuple[type[Any], ...]] = {
    "transcript": (Scores, Sources, Reconstruction, Groups, Values, Representatives, Guesses),
    "release": (Scores, Guesses, Links, Predicates),
    "model": (Scores, Guesses, Representatives, Substitutes),
}
"""The claims about each subject that a command judges."""
_ACCESS_ORDER: dict[Access, int] = {"label": 0, "score": 1, "white": 2}


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack as a value. `read(view, question, auxiliary, rng, **params)` claims; `act` is the malicious half."""

    name: str
    subject: Subject
    rule: str
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
    uses: frozenset[str] = frozenset()
    metric: str | None = None
    traits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def decides(self) -> bool:
        """Whether it may decide, where its risk is judged by the best of several attacks."""
        return bool(self.traits.get("decides", False))

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

        An attack receives only what it declares. The question's people lose their names: a name may tell what is
        asked. Auxiliary records, the recipe (the pipeline under test) and known memberships are handed to attacks that
        need or use them; of a model an attack sees the answers of its own access level, within the threat's budget of
        queries. Attacks with a recipe share their randomness, so that a recipe that remembers is run once for all.
        """
        self.permit(threat)
        view = self._narrowed(view, threat)
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
        granted = self.granted(auxiliary, threat)
        if isinstance(question, Records) and "some_memberships" not in self.needs:
            question = replace(question, known=None)
        if isinstance(question, Origins) and "some_sites" not in threat.knows & (self.needs | self.uses):
            question = replace(question, known=None, sites=None)
        if isinstance(question, Batch | Labels) and "defence" not in threat.knows & (self.needs | self.uses):
            question = replace(question, defences=None)
        claim = self.read(view, unnamed(question), granted, rng, *held, **self.configured(params or {}))
        if not isinstance(claim, self.claim):
            raise TypeError(f"{self.name} must return {self.claim.__name__}. Got {type(claim).__name__} instead.")
        if isinstance(claim, Scores) and isinstance(question, Records) and len(claim.values) != len(question.people):
            raise UsageError(
                "TB-ATTACK-007",
                f"{self.name} gave {len(claim.values)} scores for {len(question.people)} records.",
                "A score that belongs to no record cannot be judged.",
                "Return one finite score for each record, in the order of the question.",
            )
        return claim

    def granted(self, auxiliary: Any, threat: Threat) -> Any:
        """The auxiliary records, where the threat grants them and the attack declares them; else None."""
        return auxiliary if "auxiliary" in threat.knows & (self.needs | self.uses) else None

    def _narrowed(self, view: Any, threat: Threat) -> Any:
        """The view with nothing in it that the access level and the budget of queries do not grant."""
        if not isinstance(view, Predictor):
            return view
        narrowed = view.labels_alone() if self.access == "label" else view
        if self.access == "score" and isinstance(view, Opened):
            narrowed = view.closed()
        return narrowed if threat.budget is None else narrowed.within(threat.budget)


def attack(
    *,
    subject: Subject,
    rule: str,
    risk: str,
    claim: type[Claim],
    needs: set[str],
    position: Position,
    reference: str,
    access: Access = "white",
    act: Callable[..., Any] | None = None,
    uses: set[str] | None = None,
    metric: str | None = None,
    **traits: Any,
) -> Callable[[Callable[..., Any]], Attack]:
    """Register a function as an attack; its keyword-only parameters are its configuration.

    `rule` (`TB-<RISK>-NNN`) belongs to this attack alone. `needs` is the knowledge without which it cannot run; `uses`
    is knowledge that it takes where the threat grants it. `metric` is how its success is told, where the claim leaves a
    choice: `rate` of an attack on membership that says yes or no. `traits` are the words of `TRAITS`. Its parameters
    are what an attack says of itself, each part by its name. Raises `ValueError` for a name or a rule that another
    attack has, or a trait that does not exist.
    """
    _check_words(subject, rule, risk, claim, {"position": {position}, "kind of knowledge": needs | (uses or set())})
    if unknown := set(traits) - set(TRAITS):
        raise ValueError(f"there is no trait {', '.join(sorted(unknown))}; traits are {', '.join(sorted(TRAITS))}")

    def register(read: Callable[..., Any]) -> Attack:
        signature = inspect.signature(read)
        defaults = {
            name: p.default for name, p in signature.parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY
        }
        made = Attack(
            read.__name__,
            subject,
            rule,
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
            frozenset(uses or ()),
            metric,
            traits,
        )
        for other in REGISTRY.known.values():
            if other.name != made.name and (shared := _rules(other) & _rules(made)):
                taken = ", ".join(sorted(shared))
                raise ValueError(f"{made.name} and {other.name} have one rule, {taken}; a rule names one attack")
        if rules.RESERVED & _rules(made):
            raise ValueError(f"{made.rule} is the rule of a finding that the best of several attacks decides")
        if missing := [k for k, v in defaults.items() if v is inspect.Parameter.empty]:
            raise ValueError(f"the parameter {', '.join(missing)} of {made.name} must have a default")
        return REGISTRY.add(made)

    return register


REGISTRY = Registry("attack", Attack, lambda a: a.read, "TB-ATTACK-005")


def _check_words(subject: Subject, rule: str, risk: str, claim: type[Claim], words: Mapping[str, set[str]]) -> None:
    """Raises `ValueError` for a word that the testbed does not know: a command would never find the attack."""
    if (named := rules.RULE.fullmatch(rule)) is None or named[1] != risk.upper():
        raise ValueError(f"the rule of an attack on {risk} must be TB-{risk.upper()}-NNN. Got {rule} instead.")
    if int(named[2]) > rules.LAST:
        raise ValueError(
            f"a rule's number must be at most {rules.LAST}: others are derived from it. Got {rule} instead."
        )
    possible: dict[str, Collection[str]] = {
        "subject": CLAIMS,
        "position": ("server", "client", "recipient"),
        "kind of knowledge": KNOWLEDGE,
    }
    for what, given in {"subject": {subject}, **words}.items():
        if unknown := given - set(possible[what]):
            raise ValueError(
                f"there is no {what} {', '.join(sorted(unknown))}; use {', '.join(sorted(possible[what]))}"
            )
    if claim not in CLAIMS[subject]:
        claims = ", ".join(sorted(c.__name__ for c in CLAIMS[subject]))
        raise ValueError(f"an attack on a {subject} must claim one of {claims}. Got {claim.__name__} instead.")


def _rules(attack_: Attack) -> set[str]:
    """The rules of all findings of an attack: its own, and those derived from it."""
    own = {attack_.rule} | ({rules.derived(attack_.rule, "offline")} if attack_.traits.get("offline") else set())
    scored = attack_.claim is Scores and attack_.risk == "membership"
    return own | ({rules.derived(rule, "auc") for rule in own} if scored else set())


def attacks(subject: Subject | None = None) -> Iterator[Attack]:
    """Every attack whose libraries are installed, and those of the user's own folders, by name; of one `subject`,
    without loading the files of others."""
    for found in REGISTRY.load(lambda entry: subject in (None, entry.arguments.get("subject"))):
        if subject in (None, found.subject):
            yield found


def fitting(
    subject: Subject, knows: Collection[str], name: str | None = None, suits: Callable[[Attack], bool] = lambda _: True
) -> list[Attack]:
    """The attacks on this subject that `knows` grants what they need and that `suits` takes, in the order of their
    rules; with a `name`, that attack alone. Attacks for blind cells are nobody's, and are left out. The file of an
    attack that is not granted what it needs is not loaded, nor are its libraries.

    Raises `UsageError` if the named attack is not among them.
    """

    def fits(attack_: Attack) -> bool:
        granted = attack_.subject == subject and attack_.needs <= set(knows)
        return granted and not attack_.traits.get("baseline") and suits(attack_)

    if name is None:
        granted = (one.name for one in listed(subject) if one.needs <= set(knows) and not one.baseline)
        return sorted((a for a in _installed(granted) if fits(a)), key=lambda a: a.rule)
    named = find(name)
    if fits(named):
        return [named]
    why = f"It attacks a {named.subject}." if named.subject != subject else "It reads another kind of answers."
    if lacks := sorted(named.needs - set(knows)) if named.subject == subject else []:
        why = f"It needs: {', '.join(lacks).replace('_', ' ')}."
    if named.traits.get("baseline"):
        why = "It guesses without looking, for the blind cell."
    raise UsageError(
        "TB-ATTACK-006",
        f"The attack {named.name} cannot be run on this {subject}.",
        why,
        f"Choose another attack (testbed list attacks --subject {subject}), or give what this one needs.",
    )


def _installed(names: Iterable[str]) -> Iterator[Attack]:
    """The attacks of these names. One that needs a library of an extra that is not installed is left out."""
    for name in names:
        try:
            yield find(name)
        except ModuleNotFoundError as missing:
            if missing_extra(missing) is None:
                raise


@dataclass(frozen=True, slots=True)
class Listed:
    """An attack by what its file says of it: what it needs, and the module that holds it."""

    name: str
    needs: frozenset[str]
    baseline: bool
    module: str
    file: str

    @staticmethod
    def of(made: Attack) -> Listed:
        baseline = bool(made.traits.get("baseline"))
        return Listed(made.name, made.needs, baseline, made.read.__module__, inspect.getfile(made.read))


def listed(subject: Subject) -> list[Listed]:
    """The same attacks as `attacks` yields, in the same order, without loading their files. A file is loaded only if
    its text does not say what its attack needs."""
    found = {made.name: Listed.of(made) for made in REGISTRY.known.values() if made.subject == subject}
    for entry in catalogue.entries("attack"):
        said = entry.arguments
        if entry.name in found or said.get("subject") != subject or catalogue.not_installed(entry.extras):
            continue
        needs, baseline = said.get("needs"), said.get("baseline", False)
        if isinstance(needs, catalogue.Unread) or isinstance(baseline, catalogue.Unread):
            found[entry.name] = Listed.of(find(entry.name))
        else:
            found[entry.name] = Listed(
                entry.name, frozenset(needs or ()), bool(baseline), entry.module, str(entry.path)
            )
    return [found[name] for name in sorted(found)]


def not_granted(subject: Subject, threat: Threat) -> list[str]:
    """A line on each attack on this subject that the threat does not grant what it needs: what it lacks."""
    lacking = [(a, sorted(a.needs - threat.knows)) for a in listed(subject) if not a.baseline]
    return [f"the attack {a.name}, which needs: {', '.join(lacks).replace('_', ' ')}" for a, lacks in lacking if lacks]


def find(name: str) -> Attack:
    """The attack of that name, or a user's own (`module:function`, `file.py:name`); its file alone is loaded.

    Raises `UsageError` where there is none, and `ModuleNotFoundError` where its libraries are not installed.
    """
    return REGISTRY.find(name)
