"""The plan of a model audit: all attacks on models to which the threat grants what they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from testbed.attacks.registry import Attack, fitting
from testbed.core import Opened, Predictor, Regressor, Scores, Survivor
from testbed.findings.plan import UNAWARE, Plan, derived
from testbed.harness.cells import planned
from testbed.harness.model.model_audit import ModelAudit

ROUGH = "people who are roughly known"


def chosen(audit: ModelAudit) -> list[Attack]:
    """The attacks of this audit: all that the threat grants what they need and that can read the model's answers, in
    the order of their rules, or only the one that was named.

    Raises `UsageError` if the named attack is not among them.
    """
    return fitting("model", audit.threat.knows, audit.options.attack, lambda a: reads(a, audit.subject.model))


ONLY: dict[str, Callable[[Predictor], bool]] = {
    "classes_only": lambda model: not model.held,
    "numbers_only": lambda model: isinstance(model, Regressor),
    "opened_only": lambda model: isinstance(model, Opened),
    "times_only": lambda model: isinstance(model, Survivor),
}
"""The models that attacks with these traits read."""


def reads(attack: Attack, model: Predictor) -> bool:
    """Does this attack read answers of this kind?"""
    return all(fits(model) for trait, fits in ONLY.items() if attack.traits.get(trait))


def may_decide(attack: Attack, audit: ModelAudit) -> bool:
    """Is this attack a candidate for the deciding finding?

    Candidates are attacks that train models of this kind, if these can be trained, and else attacks on answers alone.
    Attacks that know some memberships are always candidates. Before masked answers, so are attacks on the predicted
    class alone, which masks do not change.
    """
    trains = "recipe" in attack.needs
    protection = audit.subject.protection
    if protection is not None and protection.masks and attack.access == "label" and attack.metric is None:
        return True
    return attack.decides and (trains == (audit.subject.recipe is not None) or "some_memberships" in attack.needs)


def membership_plans(audit: ModelAudit) -> Iterator[tuple[Attack, Plan]]:
    """Each membership attack with its plan. An attack with an offline variant has two plans. Under defences, one that
    may decide and trains models also runs as an attacker does who does not know them. It is a candidate too.

    Attacks that ask about many noisy copies come last, because they may spend the budget of queries.
    """
    fitting = [a for a in chosen(audit) if a.claim is Scores]
    for attack in sorted(fitting, key=lambda a: (a.traits.get("asks") == "copies", a.rule)):
        if audit.options.deciding_only and not may_decide(attack, audit):
            continue
        params = {"shadows": audit.options.shadows} if "shadows" in attack.defaults else {}
        target = ROUGH if attack.traits.get("asks") == "rough" else None
        yield attack, planned(attack.name, params=params, target=target, unit=audit.unit)
        if audit.naive and "recipe" in attack.needs and may_decide(attack, audit):
            unaware = planned(attack.name, params=params, target=UNAWARE, variant="unaware", unit=audit.unit)
            yield attack, replace(unaware, unaware=True)
        if attack.traits.get("offline") and not audit.options.deciding_only:
            offline = planned(attack.name, params={**params, "online": False}, target="offline", unit=audit.unit)
            yield attack, replace(offline, rule=derived(attack.rule, "offline"))
