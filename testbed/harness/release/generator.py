"""A generator that can be run again: a true and a blind release, and membership attacks that hold the recipe.

Here the blind cell is a release that the same generator made of other people, and not a closed form.
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
    """The attacks that run the generator, by rule, and the release's own deciding attack, which cannot."""
    trained = [a for a in attacks("release") if a.claim is Scores and "recipe" in a.needs]
    return [*(a.name for a in sorted(trained, key=lambda a: a.rule)), BESIDE]
