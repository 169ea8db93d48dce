"""Membership in a release: whose records was it made from? The attacker's reference is one half of the control."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from testbed import judge
from testbed.core import Cell, Evidence, Records, Scores, Table, Unavailable
from testbed.core.randomness import keyed_rng
from testbed.core.tables.index import person_numbers
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.harness.cells import Ask, Judged, planned, run, unmeasured
from testbed.harness.release.setting import RECIPIENT, TARGETS, Setting, Targets

DECIDING_FPR = 0.01
"""The first attack decides if there are enough controls to measure this false-positive rate. Else it informs."""


def decides(people: int) -> bool:
    """Is a control of so many people enough for membership to be one of the risks that decide?

    One half is the attacker's reference. The other half must resolve the deciding false-positive rate. Each of these
    people is asked about, by one row or more.
    """
    return min(people // 2, TARGETS) * DECIDING_FPR >= statistics.RESOLVABLE_FALSE_POSITIVES


def membership(setting: Setting) -> list[Judged]:
    """A finding for each attack: the TPR at a low FPR. The first attack also gets its AUC.

    The AUC only informs, because it hides a leak of a few records. Up to 2,000 people of each group are asked about,
    even if the user asks for fewer guesses: fewer people could not decide.
    """
    attacks = setting.attacks(Scores)
    if not attacks:
        return []
    people = 0 if setting.controls is None else len(np.unique(setting.controls.persons))
    if setting.controls is None or people < 4:
        why = Unavailable("no_control", "a control of four or more people: one half of it is the attacker's reference")
        return [unmeasured(planned(attacks[0].name), why)]
    reference, asked = _halves(setting.controls, keyed_rng(setting.seed, "reference"))
    targets = Targets.draw(setting.members, asked, TARGETS, keyed_rng(setting.seed, "membership"))
    question = Records(targets.table)
    asks: dict[Cell, Ask] = {
        "true": Ask(setting.release, question, reference),
        "positive": Ask(setting.leak, question, reference),
    }

    def judged(cell: Cell, claim: Scores) -> Evidence:
        return judge.scores(claim, targets.used, cell, targets.table.persons)

    results: list[Judged] = []
    for number, attack in enumerate(attacks):
        setting.progress(f"membership: {attack.name}")
        plan = planned(attack.name, primary=decides(people) and number == 0 and setting.attack is None)
        one = run(plan, asks, judged, setting.seed, RECIPIENT)
        if number == 0 and one.evidence is not None:
            one = replace(one, also=(findings_.area_under_curve(plan.area(), one.evidence),))
        results.append(one)
    return results


def _halves(controls: Table, rng: np.random.Generator) -> tuple[Table, Table]:
    """The control's rows in two parts, by person: the attacker's reference, and the people asked about."""
    person = person_numbers(controls.persons)
    people = int(person.max()) + 1
    asked = np.isin(person, rng.permutation(people)[: people // 2])
    return controls.take(np.flatnonzero(~asked)), controls.take(np.flatnonzero(asked))
