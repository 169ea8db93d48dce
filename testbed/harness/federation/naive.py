"""Whether an attack can be blind to what a defence does, so that its failure says nothing of the defence."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.attacks.registry import Attack
from testbed.core import Position
from testbed.core.defence import Defence
from testbed.findings import measures
from testbed.findings.schema import Finding
from testbed.harness.federation.recorded import Truth

FLAG = "naive_attacker"


def unproven(defences: Sequence[Defence], position: Position) -> list[Defence]:
    """The defences that change what an attacker at this position sees, if nothing is proven of any of them."""
    known = ("protocol", "message", "rules")  # of these every attacker has the result
    seen_raw = ("server", *known) if position == "server" else known
    changing = [d for d in defences if d.where not in seen_raw]
    return [] if any(d.promise is not None for d in changing) else changing


def told(attack: Attack) -> bool:
    """Is this attack told the defences?"""
    return "defence" in attack.needs | attack.uses


def learns(attack: Attack) -> bool:
    """Does this attack learn on federations of its own, which have the same defences?"""
    return "recipe" in attack.needs


def meets(attack: Attack, defences: Sequence[Defence], position: Position) -> bool:
    """Does the attack adapt to these defences? To one of which nothing is proven, and that tells nothing of itself, an
    attack that is told the defences cannot."""
    return learns(attack) or (told(attack) and all(d.bounds is not None for d in unproven(defences, position)))


def marked(finding: Finding, attack: Attack, truth: Truth, succeeds: bool | None = None) -> Finding:
    """The finding, with a flag if the attack may be blind to defences of which nothing is proven.

    `succeeds` says whether the attack finds, under the same defence, a record that is sent many times: this decides.
    None if that could not be tried; then an attack that uses nothing of the defence may be blind.
    """
    defences, position = truth.defences, truth.threat.position
    blind = not meets(attack, defences, position) if succeeds is None else not succeeds
    return measures.flagged(finding, FLAG) if blind and unproven(defences, position) else finding
