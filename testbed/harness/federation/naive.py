"""Whether an attack can be blind to what a defence does, so that its failure says nothing of the defence."""

from __future__ import annotations

from testbed.attacks.registry import Attack
from testbed.core.defence import Defence
from testbed.findings import measures
from testbed.findings.schema import Finding
from testbed.harness.federation.recorded import Truth

FLAG = "naive_attacker"


def unproven(truth: Truth) -> list[Defence]:
    """The defences that change what this attacker sees, if nothing is proven of any of them."""
    known = ("protocol", "message", "rules")  # of these every attacker has the result
    seen_raw = ("server", *known) if truth.threat.position == "server" else known
    changing = [d for d in truth.defences if d.where not in seen_raw]
    return [] if any(d.promise is not None for d in changing) else changing


def reads(attack: Attack, truth: Truth) -> bool:
    """Does the attack use what the defences tell of themselves? One that tells nothing leaves it as it was."""
    told = "defence" in truth.threat.knows & (attack.needs | attack.uses)
    return told and all(d.bounds is not None for d in unproven(truth))


def marked(finding: Finding, attack: Attack, truth: Truth, succeeds: bool | None = None) -> Finding:
    """The finding, with a flag if the attack may be blind to defences of which nothing is proven.

    `succeeds` says whether the attack finds, under the same defence, a record that is sent many times: this decides.
    None if that could not be tried; then an attack that uses nothing of the defence may be blind.
    """
    blind = not reads(attack, truth) if succeeds is None else not succeeds
    return measures.flagged(finding, FLAG) if blind and unproven(truth) else finding
