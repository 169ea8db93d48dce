"""Membership from the release: whose records was it made from? One half of the control is the attacker's reference."""

from __future__ import annotations

import numpy as np

from testbed import judge
from testbed.attacks.registry import find
from testbed.core import Evidence, Records, Release, Table, Unavailable
from testbed.core.randomness import keyed_rng
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Unmeasured
from testbed.harness.release.setting import RECIPIENT, TARGETS, Setting, Targets

ATTACKS = ("nearer_than_reference", "nearest_release_row", "density_ratio", "gen_lra", "release_classifier")
DECIDING_FPR = 0.01
"""The first attack decides where the controls can show this false-positive rate; in smaller tables it informs."""


def can_decide(others: int) -> bool:
    """Are there people enough, besides the attacker's reference, for the rate that decides?"""
    return others * DECIDING_FPR >= statistics.RESOLVABLE_FALSE_POSITIVES


def membership(setting: Setting) -> list[Finding]:
    """TPR at a low FPR for each attack, and the AUC, which informs and hides a leak of a few records.

    Up to 2,000 people are asked about whatever number of guesses is asked for: fewer could not decide.
    """
    if setting.controls is None or len(set(setting.controls.persons.tolist())) < 4:
        why = Unmeasured(unmeasured="no_control", needs="a control, one half of which serves as the reference")
        return [findings_.unmeasured(_plan(1, ATTACKS[0], False), why)]
    reference, asked = _halves(setting.controls, keyed_rng(setting.seed, "reference"))
    targets = Targets.draw(setting.members, asked, TARGETS, keyed_rng(setting.seed, "membership"))
    others = len(np.unique(targets.table.persons[~targets.used]))
    deciding = can_decide(others)
    found: list[Finding] = []
    for number, name in enumerate(ATTACKS, 1):
        setting.progress(f"membership: {name}")
        plan = _plan(number, name, bool(deciding and number == 1))
        try:
            evidence = Evidence.join(
                _scores(setting, name, setting.release, reference, targets),
                _scores(setting, name, setting.leak, reference, targets, positive=True),
            )
        except Unavailable as reason:
            found.append(findings_.unmeasured(plan, Unmeasured(unmeasured=reason.code, needs=reason.needs)))
            continue
        setting.evidence[plan.rule] = evidence
        found.append(findings_.membership(plan, evidence))
        if number == 1:
            area = Plan(
                rule="TB-MEMBERSHIP-101", risk="membership", attack=name, metric="auc", unit="record", primary=False
            )
            found.append(findings_.area_under_curve(area, evidence))
    return found


def _plan(number: int, attack: str, primary: bool) -> Plan:
    return Plan(
        rule=f"TB-MEMBERSHIP-{number:03d}",
        risk="membership",
        attack=attack,
        metric="tpr_at_fpr",
        unit="record",
        primary=primary,
        params=find(attack).defaults,
    )


def _halves(controls: Table, rng: np.random.Generator) -> tuple[Table, Table]:
    """The control's people in two: the attacker's reference, and those who are asked about."""
    names = np.unique(controls.persons)
    mine = np.isin(controls.persons, rng.permutation(names)[: len(names) // 2])
    return controls.take(np.flatnonzero(mine)), controls.take(np.flatnonzero(~mine))


def _scores(
    setting: Setting, name: str, release: Release, reference: Table, targets: Targets, positive: bool = False
) -> Evidence:
    claim = find(name).run(release, Records(targets.table), reference, setting.seed, RECIPIENT)
    return judge.scores(claim, targets.used, "positive" if positive else "true", targets.table.persons)
