"""Released numbers in other units: brought to the scale of the real people, so that copies are found there as well.

A constant added to every number, months in place of years, or standardised columns hide everybody from a search that
measures in the original's units. Whoever knows the population can undo this: the ranks of the released numbers stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from testbed.core import Array, Release, Table
from testbed.core.shown import shown
from testbed.findings.schema import Finding, Validity
from testbed.findings.statistics.intervals import scipy_stats
from testbed.harness.release import near_copies, parts, within_rows
from testbed.harness.release.setting import Setting

MOVED = 0.1
"""The distance between the distributions of released and real numbers from which on a column is brought back."""
FAR_IN_SAMPLING = 2.5
"""Two samples of one distribution are further apart than this, times the root of 1/n + 1/m, once in 130,000 draws."""
TOLD = " This shows once the released numbers are brought back to the scale of the original by their ranks."
PART = (
    " But in the columns {} released rows come near to single people, whatever stands in the others: of the {} people "
    "who are closest there, {} are people of the original. Chance would give about {:.0f}."
)
SAMPLE = 20_000
"""Most numbers of either side that are compared: evenly spaced ones of the sorted column."""


def near_copied(setting: Setting) -> Finding:
    """The near-copy rule's finding: the most severe one of its looks at the cells, at numbers brought back to the real
    scale where they have moved, and at differences within rows where columns allow it.

    Each look is an exact test at the rule's own levels. If none fails the release, parts of the columns are looked at.
    """
    scaled = on_the_real_scale(setting)
    looks = {} if scaled is None else {TOLD: scaled}
    looks |= {within_rows.TOLD[name]: look for name, look in within_rows.looks(setting).items()}
    finding = near_copies.near_copied(setting)
    for told, look in looks.items():
        again = near_copies.near_copied(look)
        if _severity(again) > _severity(finding):
            finding = again.model_copy(update={"plain": again.plain + told})
    return _with_part(finding, {"": setting} | looks)


def _with_part(finding: Finding, looks: Mapping[str, Setting]) -> Finding:
    """The finding with a flag if in one of the looks released rows are single people in a part of the columns."""
    if "near_copies" in finding.validity.flags:
        return finding
    for told, look in looks.items():
        if look.controls is None:
            continue
        part = parts.copied_part(look.release.table, look.members, look.controls, look.seed)
        if part is not None:
            validity = Validity(ok=False, flags=[*finding.validity.flags, "part_copied"])
            chance = part.test.share * part.test.asked
            plain = PART.format(", ".join(map(shown, part.columns)), part.test.asked, part.test.members, chance) + told
            return finding.model_copy(update={"validity": validity, "plain": f"{finding.plain}{plain}"})
    return finding


def _severity(finding: Finding) -> tuple[bool, int]:
    return "near_copies" in finding.validity.flags, len(finding.validity.flags)


def on_the_real_scale(setting: Setting) -> Setting | None:
    """The setting with each moved column mapped to the real people's numbers of the same rank; None if none has moved.

    A column has moved if Kolmogorov and Smirnov's distance between released and real numbers is above `MOVED` and what
    sampling explains. Original and control are taken together, so the mapping knows nobody's membership.
    """
    controls = setting.controls
    if controls is None:
        return None
    values: list[Array] = []
    for column, released, *real in zip(
        setting.members.columns, setting.release.table.values, setting.members.values, controls.values, strict=True
    ):
        people = np.concatenate(real)
        moved = column.kind == "numeric" and _moved(_numbers(released), _numbers(people))
        values.append(_by_rank(released, _numbers(people)) if moved else released)
    if all(one is other for one, other in zip(values, setting.release.table.values, strict=True)):
        return None
    table = setting.release.table
    return replace(setting, release=Release(Table(table.columns, tuple(values), table.persons)))


def _numbers(values: Array) -> Array:
    """The values that are no gaps, in ascending order."""
    numbers = values.astype(float)
    return np.sort(numbers[~np.isnan(numbers)])


def _moved(released: Array, real: Array) -> bool:
    if not len(released) or not len(real):
        return False
    one, other = (v[np.linspace(0, len(v) - 1, min(len(v), SAMPLE)).astype(int)] for v in (released, real))
    chance = FAR_IN_SAMPLING * np.sqrt(1 / len(one) + 1 / len(other))
    return bool(scipy_stats.ks_2samp(one, other, method="asymp").statistic > max(MOVED, chance))


def _by_rank(released: Array, real: Array) -> Array:
    """Each released number replaced by the real number at its rank, ties at their middle; gaps stay."""
    numbers = released.astype(float)
    ranked = _numbers(released)
    sides = [np.searchsorted(ranked, numbers, side) for side in ("left", "right")]
    place = (sides[0] + sides[1] - 1) / 2 / max(1, len(ranked) - 1)
    mapped = real[np.clip(np.rint(place * (len(real) - 1)), 0, len(real) - 1).astype(int)]
    return np.where(np.isnan(numbers), np.nan, mapped)
