"""Membership attacks by attackers who can run the generator themselves, on a true and a blind release.

The blind release is made by the same generator from other people. So the blind cell needs no closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from testbed import judge
from testbed.attacks.registry import attacks, find
from testbed.core import Act, Array, Cell, Evidence, Recipe, Records, Release, Scores, Table, Threat, View
from testbed.core.randomness import keyed_rng
from testbed.core.tables.neighbours import nearest
from testbed.core.tables.scale import Scale
from testbed.findings import measures as findings_
from testbed.findings.schema import Finding
from testbed.harness import cells
from testbed.harness.cells import Ask, Judged, planned, run
from testbed.harness.recipes import Remembered
from testbed.harness.release.setting import Targets

INSIDER = Threat("recipient", knows=frozenset({"auxiliary", "generator", "recipe", "target_records"}), access="score")
BESIDE = "nearer_than_reference"
"""The attack without the generator that is shown beside the others."""
NEIGHBOURS = 5
"""Nearest neighbours whose mean distance says how exposed a person is."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Four groups of equal size: members, controls, the people of the blind release, and the attacker's own people."""

    members: Table
    controls: Table
    blind: Table
    auxiliary: Table


def achilles_heels(members: Table, controls: Table, wanted: int) -> Targets:
    """The most exposed people of each group: furthest from their five nearest neighbours (Meeus et al. 2023).

    They are chosen before anything is released: `wanted` people of each group, or all if a group is smaller.
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
    """Findings and evidence on the membership of the most exposed people.

    All attackers but the last can run the generator. The first attack is the primary one. The positive control is the
    same attack on a generator that releases its people unchanged.
    """
    targets = achilles_heels(groups.members, groups.controls, wanted)

    def copying(people: Table, rng: np.random.Generator, act: Act | None = None) -> Release:
        return Release(people)

    # The recipe given to the attacks remembers their own shadow releases, and nothing of the releases attacked.
    shared = Remembered(recipe, seed)
    recipes: dict[Cell, Recipe] = {"true": shared, "blind": shared, "positive": Remembered(copying, seed)}
    progress("releases")
    views: dict[Cell, View] = {
        "true": recipe(groups.members, keyed_rng(seed, "release", "true")),
        "blind": recipe(groups.blind, keyed_rng(seed, "release", "blind")),
        "positive": Release(groups.members),
    }
    question = Records(targets.table)
    asks: dict[Cell, Ask] = {cell: Ask(view, question, groups.auxiliary, recipes[cell]) for cell, view in views.items()}

    def judged(cell: Cell, claim: Scores) -> Evidence:
        return judge.scores(claim, targets.used, cell, targets.table.persons)

    results: list[Judged] = []
    for number, name in enumerate(attacking()):
        progress(f"membership: {name}")
        params = {"shadows": shadows} if "shadows" in find(name).defaults else {}
        one = run(planned(name, primary=number == 0, params=params), asks, judged, seed, INSIDER)
        if one.evidence is not None:
            one = replace(one, also=(findings_.area_under_curve(one.plan.area(), one.evidence),))
        results.append(one)
    return cells.findings(results), cells.evidence_by_key(results)


def attacking() -> list[str]:
    """Names of the attacks that run the generator, in the order of their rules, and then of `BESIDE`, which cannot."""
    trained = [a for a in attacks("release") if a.claim is Scores and "recipe" in a.needs]
    return [*(a.name for a in sorted(trained, key=lambda a: a.rule)), BESIDE]
