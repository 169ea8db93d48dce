"""Whether an attack can be blind to what a defence does, so that its failure says nothing of the defence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from testbed.attacks.registry import Attack, find
from testbed.core import Position, Threat
from testbed.core.defence import Defence
from testbed.findings import measures
from testbed.findings.plan import UNAWARE, Plan
from testbed.findings.schema import Finding
from testbed.harness.federation.recorded import Truth

FLAG = "naive_attacker"


def unproven(defences: Sequence[Defence], position: Position) -> list[Defence]:
    """The defences that change what an attacker at this position sees, if nothing is proven of any of them.

    A rule by which clients grow their trees is none: all that they send stays as it was.
    """
    known = ("protocol", "message", "rules")  # of these every attacker has the result
    seen_raw = ("server", *known) if position == "server" else known
    changing = [d for d in defences if d.where not in seen_raw and not _only_grows(d)]
    return [] if any(d.promise is not None for d in changing) else changing


def _only_grows(one: Defence) -> bool:
    return one.where == "trees" and one.build(0).change is None


def told(attack: Attack) -> bool:
    """Is this attack told the defences?"""
    return "defence" in attack.needs | attack.uses


def learns(attack: Attack) -> bool:
    """Does this attack learn on federations of its own, which have the same defences?"""
    return "recipe" in attack.needs


def meets(attack: Attack, defences: Sequence[Defence], position: Position) -> bool:
    """Does the attack adapt to these defences? To one of which nothing is proven, and that tells no bounds, only an
    attack that is made for it can."""
    met = attack.traits.get("meets", ())
    left = [d for d in unproven(defences, position) if d.bounds is None and d.name not in met]
    return learns(attack) or (told(attack) and not left)


def threat_of(plan: Plan, threat: Threat) -> Threat:
    """The threat of this plan: without the defence, if its attacker is not told of it."""
    return replace(threat, knows=threat.knows - ({"defence"} if plan.unaware else set()))


def beside(plans: Sequence[Plan], defences: Sequence[Defence], position: Position) -> tuple[Plan, ...]:
    """The plans, and for each one that adapts to the defences the same attack without that knowledge, which informs."""
    if not unproven(defences, position):
        return tuple(plans)
    adapting = [p for p in plans if told(find(p.attack)) and meets(find(p.attack), defences, position)]
    update = {"primary": False, "unaware": True, "target": UNAWARE, "variant": "unaware"}
    return (*plans, *(replace(p, **update) for p in adapting))  # type: ignore[arg-type]


def marked(finding: Finding, attack: Attack, truth: Truth, succeeds: bool | None = None) -> Finding:
    """The finding, with a flag if the attack may be blind to defences of which nothing is proven.

    `succeeds` says whether the attack finds, under the same defence, a record that is sent many times: this decides.
    None if that could not be tried; then an attack that uses nothing of the defence may be blind.
    """
    defences, position = truth.defences, truth.threat.position
    blind = not meets(attack, defences, position) if succeeds is None else not succeeds
    return measures.flagged(finding, FLAG) if blind and unproven(defences, position) else finding
