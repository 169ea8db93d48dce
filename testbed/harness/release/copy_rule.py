"""Do unique people of the original stand in the release as they are? The copy rule, which decides."""

from __future__ import annotations

from testbed.findings import measures as findings_
from testbed.findings import statistics
from testbed.findings.plan import Plan
from testbed.findings.schema import Finding, Validity
from testbed.harness.release import coincidences
from testbed.harness.release.copies import Copies, copies
from testbed.harness.release.setting import Setting

COPY_P, SUSPECT_P = 0.001, 0.05
ALIKE = 3
"""So many times the bound on what chance reproduces must controls stand in a release to have been in its making."""
FEWEST_CONTROLS = 3
"""Controls with rows that chance would hardly give anybody; one or two may be patients who are registered twice."""


def copied_rows(setting: Setting) -> Finding:
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
    """The copy rule's finding: exact test at .001, or the whole table released as it is.

    Copies that the test leaves open are for a person to look at: more than fresh people would reproduce, or a single
    one whose row chance would hardly give anybody (`improbable` counts them among members and controls). The same is
    asked of the control, which a generator must not have seen.
    """
    measure = statistics.wilson(found.members_reproduced, persons)
    control = statistics.wilson(found.controls_reproduced, control_persons) if controlled else None
    flags = ["copied"] if found.whole_table or found.p_value < COPY_P else []
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
    who = f"Texts in {found.text!r} that one person alone has" if found.text else "Unique people of the original"
    how = "word for word" if found.text else "row for row"
    if found.whole_table:
        return "The release is the original: the same rows, as often. Everybody in it is exposed."
    if "copied" in flags:
        return (
            f"{who} stand in the release, {how}, more often than those of people who were not in it; chance does not "
            "explain the difference."
        )
    if "control_in_release" in flags:
        return (
            f"Unique people stand in the release, {how}: {found.members_reproduced / members:.1%} of the original's "
            f"people and {found.controls_reproduced / others:.1%} of the control's, more than chance explains. The "
            "generator must never see the control: it was given everybody, or the wrong file is judged."
        )
    if "copies_suspected" in flags and found.members_reproduced <= found.by_chance:
        return f"People of the original stand in the release, {how}, with rows that chance would hardly give anybody."
    if "copies_suspected" in flags:
        return f"{who} stand in the release, {how}: more of them than as many fresh people would reproduce by chance."
    if not controlled and found.members_reproduced:
        return f"{who} stand in the release, {how}; without a control nobody can tell how many chance would hit."
    return "No more unique people of the original stand in the release, row for row, than chance explains."
