"""A generator that can be run again: a true and a blind release, and membership attacks that hold the recipe.

Here the blind cell is a release that the same generator made of other people, and not a closed form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from testbed import findings as findings_
from testbed import judge
from testbed.attacks.kit import find, keyed_rng
from testbed.attacks.release.neighbours import nearest
from testbed.attacks.release.scale import Scale
from testbed.core import Act, Array, Cell, Evidence, People, Recipe, Records, Release, Table, Threat, Unavailable, View
from testbed.findings import Plan
from testbed.harness.targets import Targets
from testbed.report.schema import Finding, Unmeasured

INSIDER = Threat("recipient", knows=frozenset({"auxiliary", "generator", "recipe", "target_records"}), access="score")
ATTACKS = ("shadow_features", "shadow_ratio", "nearer_than_reference")
NEIGHBOURS = 5


class Remembered:
    """A recipe that keeps what it made of the same people, so that several attacks share their shadows."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        self._recipe, self._seed = recipe, seed
        self._made: dict[str, View] = {}
        self._several: dict[str, list[View]] = {}

    def __call__(self, people: Any, rng: np.random.Generator, act: Act | None = None) -> View:
        made = _contents(people).hexdigest()
        if made not in self._made:
            # Its own generator, so that the caller's goes on alike whether or not the release is remembered.
            self._made[made] = self._recipe(people, keyed_rng(self._seed, "shadow", made))
        return self._made[made]

    def many(self, people: People, included: Array, rng: np.random.Generator) -> list[View]:
        """A view for each row of `included` (models, n), all at once where the recipe knows how."""
        at_once = getattr(self._recipe, "many", None)
        if at_once is None:
            return [self(people.take(np.flatnonzero(rows)), rng) for rows in included]
        key = _contents(people)
        key.update(included.tobytes())
        made = key.hexdigest()
        if made not in self._several:
            self._several[made] = at_once(people, included, keyed_rng(self._seed, "shadows", made))
        return self._several[made]


def _contents(people: Any) -> Any:
    """A digest of who is given, by what they are and not by what they are called."""
    key = hashlib.sha256()
    for party in people if isinstance(people, list | tuple) else [people]:
        contents = party.values if isinstance(party, Table) else (party.x, party.y)
        for values in (*contents, _in_order(party.persons)):
            key.update(repr(values.tolist()).encode() if values.dtype == object else values.tobytes())
    return key


def _in_order(persons: Array) -> Array:
    """Persons by the order in which they appear: who is one person, whatever they are called."""
    _, first, place = np.unique(persons, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place]


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
        plan = Plan(rule, "membership", name, "tpr_at_fpr", "record", number == 1, attack.configured(params))
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
        area = Plan(f"TB-MEMBERSHIP-{210 + number}", "membership", name, "auc", "record", False, plan.params)
        found.append(findings_.area_under_curve(area, kept[rule]))
    return found, kept
