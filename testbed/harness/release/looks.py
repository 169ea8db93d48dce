"""The near-copy rule through several looks: what a release writes differently may hide people from one of them."""

from __future__ import annotations

from collections.abc import Mapping

from testbed.core.shown import shown
from testbed.findings.schema import Finding, Validity
from testbed.harness.release import (
    agreements,
    near_copies,
    numbers_in_words,
    own_scale,
    parts,
    turned_round,
    whole_people,
    within_rows,
)
from testbed.harness.release.setting import Setting

SCALED = " This shows once the released numbers are brought back to the scale of the original by their ranks."
TURNED = " This shows once columns that the release writes the other way round, such as 5 for 1, are turned back."
PEOPLE = " This shows once a person's rows are taken together: their means, least and greatest numbers, and counts."
IN_WORDS = " This shows once the numbers in columns of words are read."
PART = (
    " But in the columns {columns} released rows come near to single people, whatever stands in the others: of the "
    "{asked} people who are closest there, {members} are people of the original. Chance would give about {chance:.0f}."
)
FEW = (
    " But {members} people of the original agree with a released row in more columns than real people agree with each "
    "other, above all {columns}; {others} people of the control do."
)
GAPS = (
    " But released rows lack values in the same columns as single people, among them {columns}: of the {asked} people "
    "whose gaps fit best, {members} are people of the original. Chance would give about {chance:.0f}."
)
AGREED = (
    " But most columns of released rows agree with those of single people once numbers may differ a little, above all "
    "{columns}: of the {asked} people who fit best, {members} are people of the original. Chance would give about "
    "{chance:.0f}. The release holds rows of single people of the original, slightly changed."
)


def near_copied(setting: Setting) -> Finding:
    """The near-copy rule's finding: the most severe one of its looks.

    It looks at the cells, at numbers brought back to the real scale where they have moved, at numbers in words, at
    scales turned round, at differences within rows, and at a person's rows together, where columns and rows allow it.
    Each look is an exact test at the rule's own levels. If none fails the release, it is asked whether rows agree with
    people in most columns within a tolerance, and then parts of the columns are looked at.
    """
    scaled = own_scale.on_the_real_scale(setting)
    looks = {} if scaled is None else {SCALED: scaled}
    looks |= {within_rows.TOLD[name]: look for name, look in within_rows.looks(setting).items()}
    read = numbers_in_words.look(setting)
    looks |= {} if read is None else {IN_WORDS: read}
    people = whole_people.look(setting)
    looks |= {} if people is None else {PEOPLE: people}
    finding = near_copies.near_copied(setting)
    for told, look in [*looks.items(), *((TURNED, look) for look in turned_round.looks(setting))]:
        again = near_copies.near_copied(look)
        if _severity(again) > _severity(finding):
            finding = again.model_copy(update={"plain": again.plain + told})
    in_parts = {told: look for told, look in looks.items() if told != within_rows.TOLD["order"]}
    return _with_part(finding, {"": setting} | in_parts)


def _with_part(finding: Finding, looks: Mapping[str, Setting]) -> Finding:
    """The finding with a flag if in one of the looks released rows are single people in a part of the columns."""
    if "near_copies" in finding.validity.flags:
        return finding
    parted: Finding | None = None
    doubted: Finding | None = None
    for told, look in looks.items():
        if look.controls is None:
            continue
        tables = look.release.table, look.members, look.controls, look.seed
        agreed = agreements.agreement(*tables)
        if agreed is not None and agreed.whole:
            return _flagged(finding, "near_copies", agreed, AGREED + told)
        if agreed is not None and agreed.suspected:
            doubted = doubted or _flagged(finding, "near_copies_suspected", agreed, FEW + told)
        elif parted is None and agreed is not None:
            parted = _flagged(finding, "part_copied", agreed, (GAPS if agreed.gaps else PART) + told)
    for told, look in looks.items() if parted is None else ():
        if look.controls is None:
            continue
        part = parts.copied_part(look.release.table, look.members, look.controls, look.seed)
        if part is not None:
            return _flagged(finding, "part_copied", part, PART + told)
    return parted or doubted or finding


def _flagged(finding: Finding, flag: str, found: parts.Copied | agreements.Agreement, plain: str) -> Finding:
    flags = [f for f in finding.validity.flags if f not in (flag, f"{flag}_suspected")]
    told = plain.format(
        columns=", ".join(map(shown, found.columns)),
        asked=found.asked,
        members=found.members,
        others=found.asked - found.members,
        chance=found.share * found.asked,
    )
    validity = Validity(ok=False, flags=[*flags, flag])
    return finding.model_copy(update={"validity": validity, "plain": f"{finding.plain}{told}"})


def _severity(finding: Finding) -> tuple[bool, int]:
    return "near_copies" in finding.validity.flags, len(finding.validity.flags)
