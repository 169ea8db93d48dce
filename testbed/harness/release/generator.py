"""A generator that can be run again: a true and a blind release, and membership attacks that hold the recipe.

Here the blind cell is a release that the same generator made of other people, and not a closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from testbed import judge
from testbed.attacks.registry import find
from testbed.core import Act, Array, Cell, Evidence, Recipe, Records, Release, Table, Threat, Unavailable, View
from testbed.core.randomness import keyed_rng
from testbed.core.tables.neighbours import nearest
from testbed.core.tables.scale import Scale
from testbed.findings import measures as findings_
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Unmeasured
from testbed.harness.recipes import Remembered
from testbed.harness.release.setting import Targets

INSIDER = Threat("recipient", knows=frozenset({"auxiliary", "generator", "recipe", "target_records"}), access="score")
ATTACKS = ("shadow_features", "shadow_ratio", "nearer_than_reference")
NEIGHBOURS = 5


@dataclass(frozen=True, slots=True)
class Groups:
    """Equally many people who were used, were not, stand behind the blind release, and are the attacker's."""

    members: Table
    controls: Table
    blind: Table
    auxiliary: Table


def achilles_heels(members: Table, controls: Table, wanted: int) -> Targets:
    """Those of each group who are furthest from their five nearest neighbours among everybody (Meeus et al. 2023).

    They are chosen before anything is released. `wanted` a group, fewer where a group is smaller.
    """
    pooled = Targets.draw(members, controls, max(len(members), len(controls)), keyed_rng(0, "heels"))
    _, distances, _ = nearest(pooled.table, pooled.table, Scale.of(pooled.table), 0, NEIGHBOURS + 1)
    far = distances.mean(1)
    chosen = [
        rows[np.argsort(-far[rows], kind="stable")[:wanted]]
        for rows in (np.flatnonzero(side) for side in (pooled.used, ~pooled.used))
    ]
    kept: Array = np.sort(np.concatenate(chosen))
    return Targets(pooled.table.take(kept), pooled.used[kept])


def known_generator(
    groups: Groups, recipe: Recipe, wanted: int, shadows: int, seed: int, progress: Callable[[str], None]
) -> tuple[list[Finding], dict[str, Evidence]]:
    """Membership of the most exposed people, by attackers who can run the generator and one who cannot.

    The positive control is the same attack on a generator that releases its people as they are. The first attack is
    the primary one.
    """
    targets = achilles_heels(groups.members, groups.controls, wanted)

    def copying(people: Table, rng: np.random.Generator, act: Act | None = None) -> Release:
        return Release(people)

    # What the attacks are handed remembers their own shadows and nothing of the releases that are attacked.
    shared = Remembered(recipe, seed)
    recipes = {"true": shared, "blind": shared, "positive": Remembered(copying, seed)}
    progress("releases")
    views: dict[Cell, View] = {
        "true": recipe(groups.members, keyed_rng(seed, "release", "true")),
        "blind": recipe(groups.blind, keyed_rng(seed, "release", "blind")),
        "positive": Release(groups.members),
    }
    found: list[Finding] = []
    kept: dict[str, Evidence] = {}
    for number, name in enumerate(ATTACKS, 1):
        progress(f"membership: {name}")
        attack = find(name)
        params = {"shadows": shadows} if "shadows" in attack.defaults else {}
        parts: list[Evidence] = []
        rule = f"TB-MEMBERSHIP-{200 + number}"
        plan = Plan(
            rule=rule,
            risk="membership",
            attack=name,
            metric="tpr_at_fpr",
            unit="record",
            primary=number == 1,
            params=attack.configured(params),
        )
        try:
            for cell, view in views.items():
                question = Records(targets.table)
                claim = attack.run(view, question, groups.auxiliary, seed, INSIDER, params, recipes[cell])
                parts.append(judge.scores(claim, targets.used, cell, targets.table.persons))
        except Unavailable as reason:
            found.append(findings_.unmeasured(plan, Unmeasured(unmeasured=reason.code, needs=reason.needs)))
            continue
        kept[rule] = Evidence.join(*parts)
        found.append(findings_.membership(plan, kept[rule]))
        area = Plan(
            rule=f"TB-MEMBERSHIP-{210 + number}",
            risk="membership",
            attack=name,
            metric="auc",
            unit="record",
            primary=False,
            params=plan.params,
        )
        found.append(findings_.area_under_curve(area, kept[rule]))
    return found, kept
