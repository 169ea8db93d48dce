"""The plan of a model audit: all attacks on models to which the threat grants what they need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from testbed.attacks.registry import Attack, attacks, find
from testbed.core import Scores
from testbed.core.errors import UsageError
from testbed.findings.plan import Plan, derived
from testbed.harness.cells import planned
from testbed.harness.model.model_audit import ModelAudit

ROUGH = "people who are roughly known"


def fits(attack: Attack, audit: ModelAudit) -> bool:
    """Does the threat grant what this attack needs, and does the model answer in a form that the attack reads?"""
    answers = audit.subject.model.numbers is None or not attack.traits.get("classes_only")
    return attack.needs <= audit.threat.knows and answers


def chosen(audit: ModelAudit) -> list[Attack]:
    """The attacks of this audit: all that fit, in the order of their rules, or only the one that was named.

    Raises `UsageError` if the named attack is not on models, or needs something that this audit does not grant.
    """
    name = audit.options.attack
    if name is None:
        return sorted((a for a in attacks("model") if fits(a, audit)), key=lambda a: a.rule)
    attack = find(name)
    if attack.subject != "model" or not fits(attack, audit):
        lacks = ", ".join(sorted(attack.needs - audit.threat.knows)) or "a model with classes"
        raise UsageError(
            "TB-ATTACK-006",
            f"The attack {name} cannot be run on this model.",
            f"It attacks a {attack.subject}." if attack.subject != "model" else f"It needs: {lacks}.",
            "Choose another attack (testbed list attacks --subject model), or give what this one needs.",
        )
    return [attack]


def may_decide(attack: Attack, audit: ModelAudit) -> bool:
    """Is this attack a candidate for the deciding finding?

    Candidates are attacks that train models of this kind, if these can be trained, and else attacks on answers alone.
    Attacks that know some memberships are always candidates.
    """
    trains = "recipe" in attack.needs
    return attack.decides and (trains == (audit.subject.recipe is not None) or "some_memberships" in attack.needs)


def membership_plans(audit: ModelAudit) -> Iterator[tuple[Attack, Plan]]:
    """Each membership attack with its plan. An attack with an offline variant has two plans.

    Attacks that ask about many noisy copies come last, because they may spend the budget of queries.
    """
    fitting = [a for a in chosen(audit) if a.claim is Scores]
    for attack in sorted(fitting, key=lambda a: (a.traits.get("asks") == "copies", a.rule)):
        if audit.options.deciding_only and not may_decide(attack, audit):
            continue
        params = {"shadows": audit.options.shadows} if "shadows" in attack.defaults else {}
        target = ROUGH if attack.traits.get("asks") == "rough" else None
        yield attack, planned(attack.name, params=params, target=target)
        if attack.traits.get("offline") and not audit.options.deciding_only:
            offline = planned(attack.name, params={**params, "online": False}, target="offline")
            yield attack, replace(offline, rule=derived(attack.rule, "offline"))
