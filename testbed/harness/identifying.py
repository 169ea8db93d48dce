"""Direct identifiers that stand in a release: made-up ones may be somebody's, and a member's own is a disclosure."""

from __future__ import annotations

import numpy as np

from testbed import findings as findings_
from testbed import identifiers, stats
from testbed.core import Array, Table
from testbed.data.tables import Frames
from testbed.findings import COPY_P, Plan
from testbed.harness.targets import Setting
from testbed.identifiers import ADDRESSES, NAMES
from testbed.report.schema import Estimate, Finding, Validity

RULE = "TB-COPYING-002"
CHANCE = 0.05
BY_CHANCE = {NAMES, ADDRESSES}
"""Kinds that made-up people share with real ones."""


def direct_identifiers(setting: Setting) -> list[Finding]:
    """One finding where any is recognised, else none.

    FAIL where an identifier that one member alone has, and no control, stands in the release: it was not made up,
    if those that controls alone have do not stand there as often by chance. Names and addresses are made up of few
    words, so that made-up ones are somebody's: of those alone chance must be ruled out, which takes a control.
    REVIEW where identifiers stand there that are nobody's in the original, for they may be somebody else's. Values
    that most often several people have are codes.
    """
    setting.progress("direct identifiers")
    tables = [Frames(setting.members, setting.release.table, setting.controls)]
    tables += [setting.aside] if setting.aside else []
    kinds: dict[str, str] = {}
    exposed: dict[bool, tuple[set[str], set[str]]] = {False: (set(), set()), True: (set(), set())}
    for original, release, control in ((t.original, t.synthetic, t.control) for t in tables):
        for j, column in enumerate(release.columns):
            texts = column.levels if column.kind == "categorical" else _whole(release.values[j])
            for found in identifiers.scan(column.name, texts):
                held = _codes(release, j, found.values)
                if not found.strong and _shared(original, control, j, held):
                    continue
                kinds[column.name] = found.kind
                members, controls = exposed[found.kind in BY_CHANCE]
                members |= _alone(original, control, j, held)
                if control is not None:
                    controls |= _alone(control, original, j, held)
    if not kinds:
        return []
    people = len(np.unique(setting.members.persons))
    others = 0 if setting.controls is None else len(np.unique(setting.controls.persons))
    # What few words make up may hide nothing that nobody makes up, so each kind is judged by itself.
    copied = any(_copied(len(m), len(c), people, others, by_chance) for by_chance, (m, c) in exposed.items())
    members, controls = (one | other for one, other in zip(*exposed.values(), strict=True))
    measure = stats.wilson(len(members), people)
    beside = stats.wilson(len(controls), others) if setting.controls is not None else None
    plan = Plan(RULE, "copying", "direct_identifiers", "rate", "person")
    listed = ", ".join(f"{kind} in {name!r}" for name, kind in kinds.items())
    plain = f"The release holds what looks like direct identifiers: {listed}. "
    plain += (
        "They are those of people in the original no more often than chance explains, as far as a control tells."
        if members and not copied
        else "Some of them are those of people in the original, and of nobody else: take them out."
        if members
        else "None of them is that of one person of the original alone; made-up ones may still be somebody's."
    )
    flags = (["copied"] if copied else []) + ["identifiers_present"]
    finding = findings_.unmeasured(plan, findings_.NOT_APPLICABLE, people, people)
    over = stats.excess(measure, beside) if beside else None
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


def _copied(members: int, controls: int, people: int, others: int, by_chance: bool) -> bool:
    """Are those of members there though chance, as it hits controls, does not explain it?"""
    if not members or (by_chance and not others):
        return False
    p = stats.labels_by_chance(members, members + controls, people, others) if others else 0.0
    return p < COPY_P if by_chance else not controls or p < CHANCE


def _excess(over: stats.Interval) -> Estimate:
    return findings_.estimate("excess", over, "person")


def _whole(values: Array) -> list[float]:
    """Numbers that may be ids: whole ones, where any has nine digits or more."""
    known = values[~np.isnan(values)]
    return np.unique(known[known == np.round(known)]).tolist() if (np.abs(known) >= 1e8).any() else []


def _codes(release: Table, column: int, values: frozenset[str]) -> Array:
    """The released values, as they are encoded, that hold an identifier."""
    if release.columns[column].kind == "categorical":
        return np.array([i for i, level in enumerate(release.columns[column].levels) if level in values])
    return np.array([float(v) for v in values])


def _shared(members: Table, controls: Table | None, column: int, held: Array) -> bool:
    """Do most of these values that anybody has belong to several people?"""
    groups = [members] if controls is None else [members, controls]
    owners: dict[float, set[str]] = {}
    for group in groups:
        mine = np.isin(group.values[column], held)
        for value, person in zip(group.values[column][mine].tolist(), group.persons[mine].tolist(), strict=True):
            owners.setdefault(value, set()).add(person)
    return sum(len(own) > 1 for own in owners.values()) > len(owners) / 2


def _alone(people: Table, others: Table | None, column: int, held: Array) -> set[str]:
    """The persons who alone have one of these values, in neither group anybody else."""
    mine = np.isin(people.values[column], held)
    values, persons = people.values[column][mine], people.persons[mine]
    taken = set() if others is None else set(others.values[column][np.isin(others.values[column], held)].tolist())
    owners: dict[float, set[str]] = {}
    for value, person in zip(values.tolist(), persons.tolist(), strict=True):
        owners.setdefault(value, set()).add(str(person))
    return {next(iter(own)) for value, own in owners.items() if len(own) == 1 and value not in taken}
