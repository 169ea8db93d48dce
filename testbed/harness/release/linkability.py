"""Linkability: does the release connect two sets of columns that describe the same person?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from testbed import judge
from testbed.attacks.registry import Attack, find
from testbed.core import Cell, Evidence, Halves, Links, Release
from testbed.core.randomness import keyed_rng
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import numbered
from testbed.findings.statistics import Interval
from testbed.harness.cells import Judged, planned
from testbed.harness.release.near_copies import CONTAMINATED
from testbed.harness.release.setting import RECIPIENT, Setting, Targets, shorten

Pair = tuple[tuple[str, ...], tuple[str, ...]]
"""Names of the columns on each side of a split."""
PART = re.compile(r" \(\d+\)$")
"""How the name of a part ends, where one cell held several numbers."""
COMPARED = 500
"""Controls who are linked through other people's rows, to measure how often a link succeeds by chance."""
FAR_ABOVE = 0.05
"""Limit on the excess of controls linked through the release over controls linked through other people's rows. Above
it, the generator probably saw the control."""


def linkability(setting: Setting, links: Sequence[tuple[Sequence[str], Sequence[str]]]) -> list[Judged]:
    """One finding per attack and split of columns; the first attack on the first split decides."""
    return [
        _link(setting, attack, number, *pair, decides=first and number == 1)
        for first, attack in ((i == 0 and setting.attack is None, a) for i, a in enumerate(setting.attacks(Links)))
        for number, pair in enumerate(pairs(setting, links), 1)
    ]


def pairs(setting: Setting, links: Sequence[tuple[Sequence[str], Sequence[str]]]) -> list[Pair]:
    """The declared splits, and three automatic ones of all columns: alternating, first and second half, at random."""
    together = whole_columns([c.name for c in setting.members.columns])
    declared: list[Pair] = [(tuple(a), tuple(b)) for a, b in links]
    drawn = keyed_rng(setting.seed, "halves of columns").permutation(len(together))
    middle = (len(together) + 1) // 2
    halves = [(together[::2], together[1::2]), (together[:middle], together[middle:])]
    halves.append(([together[i] for i in sorted(drawn[:middle])], [together[i] for i in sorted(drawn[middle:])]))
    automatic = [(tuple(n for own in a for n in own), tuple(n for own in b for n in own)) for a, b in halves]
    return list(dict.fromkeys(p for p in [*declared, *automatic] if p[1]))


def whole_columns(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The columns, with neighbouring parts of one cell together: `BP (1)` and `BP (2)` are one column's.

    Nobody knows one part of a cell and not the other. If all columns are parts of one, each stands alone.
    """
    found = [tuple(own) for _, own in groupby(names, lambda name: PART.sub("", name) if PART.search(name) else (name,))]
    return found if len(found) > 1 else [(name,) for name in names]


def _link(
    setting: Setting, attack: Attack, number: int, left: tuple[str, ...], right: tuple[str, ...], *, decides: bool
) -> Judged:
    setting.progress(f"linkability {number}")
    tied = 0.0

    def cell(view: Cell, release: Release, targets: Targets) -> Evidence:
        nonlocal tied
        order = keyed_rng(setting.seed, "halves", view, number).permutation(len(targets.table))
        partner = np.argsort(order)
        question = Halves(targets.table.select(left), targets.table.select(right).take(order))
        claim = attack.run(release, question, None, setting.seed, RECIPIENT)
        tied = claim.tied if view == "true" else tied
        return judge.links(claim, partner, targets.used, view, targets.table.persons)

    evidence = Evidence.join(
        cell("true", setting.release, setting.targets), cell("positive", setting.leak, setting.targets.members())
    )
    plan = planned(attack.name, primary=decides, target=f"{shorten(left)} | {shorten(right)}")
    plan = replace(plan, rule=numbered(attack.rule, number - 1), params={**attack.defaults, "tied": round(tied, 3)})
    finding = findings_.rates(plan, evidence)
    if decides and _knows_the_control(setting, evidence, left, right):
        finding = findings_.flagged(finding, CONTAMINATED)
    # Chance level: how often two random choices of k out of n released rows have a row in common.
    k, n = attack.defaults.get("neighbours", 1), len(setting.release.table)
    chance = 1 - max(0.0, 1 - k / n) ** k
    guess = findings_.estimate("rate", Interval(chance, chance, chance, 1.0, "closed form", n), "record")
    return Judged(plan, finding.model_copy(update={"baseline": guess}), evidence)


def _knows_the_control(setting: Setting, evidence: Evidence, left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Are controls linked through the release far more often than through other people's real rows?

    The other people's rows are drawn from the original, which has no controls: as many rows as the release has, or all.
    """
    used = ~setting.targets.used
    linked = evidence.cell("true", "unused")
    if not len(linked):
        return False
    rng = keyed_rng(setting.seed, "control linked through the original")
    rows = np.sort(rng.permutation(len(setting.members))[: len(setting.release.table)])
    controls = setting.targets.table.take(np.flatnonzero(used)[:COMPARED])
    order = rng.permutation(len(controls))
    question = Halves(controls.select(left), controls.select(right).take(order))
    claim = find("linkability").run(Release(setting.members.take(rows)), question, None, setting.seed, RECIPIENT)
    expected = judge.links(claim, np.argsort(order), np.zeros(len(controls), bool), "blind", controls.persons)
    through, chance = (statistics.proportion(e.success, e.cluster) for e in (linked, expected))
    return statistics.excess(through, chance, level=0.998).low > FAR_ABOVE
