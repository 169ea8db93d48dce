"""The copy rule: does the release reproduce unique people of the original, unchanged? It decides."""

from __future__ import annotations

from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Validity
from testbed.harness.release import coincidences
from testbed.harness.release.copies import Copies, copies
from testbed.harness.release.setting import Setting

COPY_P, SUSPECT_P = 0.001, 0.05
"""Levels of the copy test: below the first the release fails, below the second a person must look at it."""
ALIKE = 3
"""If controls are reproduced more than this many times the bound on chance, the generator saw the control."""
FEWEST_CONTROLS = 3
"""Controls with improbable rows in the release from which the control is flagged. One or two may be patients who are
registered twice."""
BOTH_ARMS = 10
"""Members, and controls, with improbable rows in the release from which both groups were copied. The exact test sees no
difference between them."""


def copied_rows(setting: Setting) -> Finding:
    """The copy rule's finding on a release."""
    setting.progress("copies")
    found = copies(setting.release.table, setting.members, setting.controls)
    plan = Plan(rule="TB-COPYING-001", risk="copying", attack="copied_rows", metric="rate", unit="person", primary=True)
    people = len(set(setting.members.persons.tolist()))
    others = len(set(setting.controls.persons.tolist())) if setting.controls is not None else 0
    improbable = coincidences.improbable(setting.release.table, setting.members, setting.controls)
    return copying(plan, found, setting.controls is not None, people, others, improbable)


def copying(
    plan: Plan,
    found: Copies,
    controlled: bool,
    persons: int,
    control_persons: int,
    improbable: tuple[int, int] = (0, 0),
) -> Finding:
    """The copy rule's finding. It is flagged as copied by an exact test at 0.001, or if the whole table was released.

    It is also flagged so if rows of members and of controls were copied that chance would hardly give anybody.
    Other copies need a person's look: more of them than fresh people would reproduce, or one with an improbable row.
    `improbable` counts such rows among members and among controls. The control is tested in the same way, because the
    generator must not have seen it.
    """
    measure = statistics.wilson(found.members_reproduced, persons)
    control = statistics.wilson(found.controls_reproduced, control_persons) if controlled else None
    both_arms = controlled and min(improbable) >= BOTH_ARMS
    flags = ["copied"] if found.whole_table or found.p_value < COPY_P or both_arms else []
    unexplained = found.p_value < SUSPECT_P or not found.controls_reproduced
    suspected = (unexplained and found.members_reproduced > found.by_chance) or improbable[0] > 0
    flags += ["copies_suspected"] if suspected and not flags else []
    contaminated = found.controls_reproduced > ALIKE * found.controls_by_chance or improbable[1] >= FEWEST_CONTROLS
    flags += ["control_in_release"] if controlled and contaminated else []
    finding = findings_.diagnostic(plan, measure, control, _told(found, flags, controlled, persons, control_persons))
    over = statistics.excess(measure, control) if control else None
    return finding.model_copy(
        update={
            "attack": finding.attack.model_copy(update={"requested": persons, "performed": persons}),
            "residual": findings_.residual_share(over, control, plan.unit),
            "validity": Validity(ok=controlled and not flags, flags=flags + ([] if controlled else ["no_control"])),
        }
        | ({} if controlled else {"control": findings_.NO_CONTROL, "excess": findings_.NO_CONTROL})
    )


def _told(found: Copies, flags: list[str], controlled: bool, members: int, others: int) -> str:
    whose = f"texts in {found.text!r} that only one person has" if found.text else "unique people of the original"
    how = "word for word" if found.text else "row for row"
    if found.whole_table:
        return "The release is the original: it has the same rows, each as often. Everybody in it is exposed."
    if "copied" in flags and "control_in_release" in flags and found.p_value >= COPY_P:
        return (
            "The release holds people of the original and of the control, row for row, whose rows chance would hardly "
            "give anybody. The generator copied both: it must never see the control."
        )
    if "copied" in flags:
        return (
            f"The release holds {whose}, {how}, more often than it holds those of the control. Chance does not explain "
            "the difference."
        )
    if "control_in_release" in flags:
        return (
            f"The release holds {found.members_reproduced / members:.1%} of the original's people, {how}. It holds "
            f"{found.controls_reproduced / others:.1%} of the control's people, more than chance explains. The "
            "generator must never see the control: either it was given everybody, or the wrong file is judged."
        )
    if "copies_suspected" in flags and found.members_reproduced <= found.by_chance:
        return f"The release holds people of the original, {how}, whose rows chance would hardly give anybody."
    if "copies_suspected" in flags:
        return f"The release holds {whose}, {how}, more of them than it would hold by chance."
    if not controlled and found.members_reproduced:
        return f"The release holds {whose}, {how}. Without a control nobody can say how many of them are chance."
    text = "The release holds no more unique people of the original, row for row, than chance explains."
    if not controlled:
        return text
    caught = statistics.copied_people((members, others), found.controls_reproduced, COPY_P, found.comparisons)
    if caught is None:
        return f"{text} The groups are too small, or too alike, for the test to catch any number of copies."
    return f"{text} This test would have caught {caught:,} copied people or more in 4 of 5 cases."
