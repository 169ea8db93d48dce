"""The identifier rule: a member's direct identifier in the release is a disclosure; an invented one needs a look."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from testbed.core import Array, Column, Table
from testbed.data.tables.encode import Frames
from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate, Finding, Validity
from testbed.harness.release import identifiers
from testbed.harness.release.copy_rule import COPY_P
from testbed.harness.release.identifiers import (
    ADDRESS_ON_NET,
    ADDRESSES,
    NAMES,
    NUMBERS,
    PAGE,
    PHONES,
    POSITION,
    REFERENCE,
    Found,
)
from testbed.harness.release.setting import Setting

RULE = "TB-COPYING-002"
PLAN = Plan(rule=RULE, risk="copying", attack="direct_identifiers", metric="rate", unit="person", primary=True)
CHANCE = 0.05
"""Level at which chance is ruled out for values that are seldom invented."""
RECORDS = "the original's own record numbers"
"""The kind of a value that names people or records without being a known identifier."""
WIDE = (NAMES, ADDRESSES, RECORDS, NUMBERS, REFERENCE, PAGE, ADDRESS_ON_NET, POSITION)
BELIEVED = dict.fromkeys(WIDE, COPY_P) | {PHONES: CHANCE}
"""Kinds whose invented values may also be real people's, each with the level at which chance must be ruled out."""
DENSE = 0.9
"""Running numbers: distinct numbers that fill at least this share of their range."""


def direct_identifiers(setting: Setting) -> list[Finding]:
    """One finding if the release holds direct identifiers, else an empty list.

    FAIL if the release holds an identifier that exactly one member and no control has, and identifiers unique to
    controls appear less often. Names, addresses and weakly checked numbers can be invented: for them chance must be
    ruled out, which takes a control. The same holds for values that name people or records in columns set aside;
    running numbers never count there.

    REVIEW if the release holds other direct identifiers: invented ones may still belong to somebody. Values of a kind
    without a strong rule count as codes, and are ignored, if most of them belong to several people.
    """
    setting.progress("direct identifiers")
    tables = [Frames(setting.members, setting.release.table, setting.controls)]
    tables += [own for own in (setting.written, setting.aside) if own]
    people = len(np.unique(setting.members.persons))
    others = 0 if setting.controls is None else len(np.unique(setting.controls.persons))
    kinds: dict[str, str] = {}
    exposed: dict[float, tuple[set[str], set[str]]] = {}
    for table in tables:
        original, release, control, aside = table.original, table.synthetic, table.control, table is setting.aside
        for j, column in enumerate(release.columns):
            texts = column.levels if column.kind == "categorical" else whole_numbers(column.name, release.values[j])
            recognised = identifiers.scan(column.name, texts, doubtful=True)
            # Running numbers are other tables' people's too. The person's column has numbers of its own in a release.
            if aside or _in_turn(column, release.values[j]):
                recognised = [f for f in recognised if f.kind != NUMBERS]
            if aside and not any(f.believed for f in recognised) and not _in_turn(column, release.values[j]):
                every = column.levels or np.unique(release.values[j]).tolist()
                recognised = [Found(column.name, RECORDS, frozenset(map(str, every)), False, False)]
            for found in recognised:
                held = _codes(release, j, found.values)
                if not found.strong and _shared(original, control, j, held):
                    continue
                own = _alone(original, control, j, held)
                theirs = set[str]() if control is None else _alone(control, original, j, held)
                level = BELIEVED.get(found.kind, 1.0) if found.believed else COPY_P
                if not found.believed and not _beyond_chance(len(own), len(theirs), people, others):
                    continue
                kinds[column.name] = found.kind
                members, controls = exposed.setdefault(level, (set(), set()))
                members |= own
                controls |= theirs
    if not kinds:
        return []
    # Levels are judged apart: names, which are often invented, must not hide identifiers that nobody invents.
    copied = any(_copied(len(m), len(c), people, others, level) for level, (m, c) in exposed.items())
    members, controls = (set[str]().union(*own) for own in zip(*exposed.values(), strict=True))
    measure = statistics.wilson(len(members), people)
    beside = statistics.wilson(len(controls), others) if setting.controls is not None else None
    plan = replace(PLAN, target=", ".join(kinds))
    listed = ", ".join(f"{kind} in {name!r}" for name, kind in kinds.items())
    plain = f"The release holds values that look like direct identifiers: {listed}. "
    plain += (
        "Some belong to people of the original, but a control does not show that this is more than chance."
        if members and not copied
        else "Some of them belong to one person of the original and to nobody else. Remove these columns."
        if members
        else "None of them is unique to a person of the original. Invented ones may still belong to somebody."
    )
    flags = (["copied"] if copied else []) + ["identifiers_present"]
    finding = findings_.unmeasured(plan, findings_.NOT_APPLICABLE, people, people)
    over = statistics.excess(measure, beside) if beside else None
    return [
        finding.model_copy(
            update={
                "measure": findings_.estimate("rate", measure, "person"),
                "control": findings_.estimate("rate", beside, "person") if beside else findings_.NO_CONTROL,
                "excess": _excess(over) if over else findings_.NO_CONTROL,
                "validity": Validity(ok=False, flags=flags),
                "plain": plain,
            }
        )
    ]


def _copied(members: int, controls: int, people: int, others: int, level: float) -> bool:
    """Does the release hold members' identifiers more often than it holds controls', beyond chance?

    Level 1 is for identifiers that nobody invents: a member's is then a copy, unless controls' appear about as often.
    """
    if not members or (level == COPY_P and not others):
        return False
    p = statistics.labels_by_chance(members, members + controls, people, others) if others else 0.0
    return not controls or p < CHANCE if level == 1 else p < level


def _beyond_chance(members: int, controls: int, people: int, others: int) -> bool:
    """Does the release hold more members' values than controls', at the level `CHANCE`? True without a control."""
    return members > 0 and (
        not others or statistics.labels_by_chance(members, members + controls, people, others) < CHANCE
    )


def _in_turn(column: Column, values: Array) -> bool:
    """Are the released values running numbers, such as 1, 2, 3 or P001, P002? People of other tables have them too."""
    if column.kind == "numeric":
        known = np.unique(values[~np.isnan(values)])
    else:
        ends = [re.fullmatch(r"(.*?)(\d+)", str(level)) for level in column.levels]
        if not all(ends) or len({e[1] for e in ends if e}) > 1:
            return False
        known = np.unique([float(e[2]) for e in ends if e])
    return len(known) > 0 and len(known) >= DENSE * (known[-1] - known[0] + 1)


def _excess(over: statistics.Interval) -> Estimate:
    return findings_.estimate("excess", over, "person")


def whole_numbers(name: str, values: Array) -> list[float]:
    """The column's distinct whole numbers, if any has nine digits or more, or five by the column's name."""
    known = values[~np.isnan(values)]
    least = 1e4 if identifiers.says_record(name) else 1e8
    return np.unique(known[known == np.round(known)]).tolist() if (np.abs(known) >= least).any() else []


def _codes(release: Table, column: int, values: frozenset[str]) -> Array:
    """The encoded values of the release that hold an identifier."""
    if release.columns[column].kind == "categorical":
        return np.array([i for i, level in enumerate(release.columns[column].levels) if level in values])
    return np.unique([float(v) for v in values])


def _shared(members: Table, controls: Table | None, column: int, held: Array) -> bool:
    """Do most of the values that real people have belong to several people each?"""
    groups = [members] if controls is None else [members, controls]
    owners: dict[float, set[str]] = {}
    for group in groups:
        mine = np.isin(group.values[column], held)
        for value, person in zip(group.values[column][mine].tolist(), group.persons[mine].tolist(), strict=True):
            owners.setdefault(value, set()).add(person)
    return sum(len(own) > 1 for own in owners.values()) > len(owners) / 2


def _alone(people: Table, others: Table | None, column: int, held: Array) -> set[str]:
    """The persons with a value that nobody else has, neither in their own group nor in the other."""
    mine = np.isin(people.values[column], held)
    values, persons = people.values[column][mine], people.persons[mine]
    taken = set() if others is None else set(others.values[column][np.isin(others.values[column], held)].tolist())
    owners: dict[float, set[str]] = {}
    for value, person in zip(values.tolist(), persons.tolist(), strict=True):
        owners.setdefault(value, set()).add(str(person))
    return {next(iter(own)) for value, own in owners.items() if len(own) == 1 and value not in taken}
