"""Do unique people of the original stand in the release as they are? The copy rule, which decides."""

from __future__ import annotations

from testbed import findings as findings_
from testbed import stats
from testbed.copying import Copies, copies
from testbed.findings import Plan
from testbed.harness.targets import Setting
from testbed.report.schema import Finding, Validity

COPY_P, SUSPECT_P = 0.001, 0.05


def copied_rows(setting: Setting) -> Finding:
    setting.progress("copies")
    found = copies(setting.release.table, setting.members, setting.controls)
    plan = Plan("TB-COPYING-001", "copying", "copied_rows", "rate", "person")
    people = len(set(setting.members.persons.tolist()))
    others = len(set(setting.controls.persons.tolist())) if setting.controls is not None else 0
    return copying(plan, found, setting.controls is not None, people, others)


def copying(plan: Plan, found: Copies, controlled: bool, persons: int, control_persons: int) -> Finding:
    """The copy rule (DESIGN 7.12): exact test at .001, or the whole table released as it is.

    What the test leaves open for want of controls, and fresh people would hardly do, is for a person to look at.
    """
    measure = stats.wilson(found.members_reproduced, persons)
    control = stats.wilson(found.controls_reproduced, control_persons) if controlled else None
    flags = ["copied"] if found.whole_table or found.p_value < COPY_P else []
    unexplained = found.p_value < SUSPECT_P or not found.controls_reproduced
    suspected = not flags and unexplained and found.members_reproduced > found.by_chance
    flags += ["copies_suspected"] if suspected else []
    finding = findings_.diagnostic(plan, measure, control, _told(found, flags, controlled))
    over = stats.excess(measure, control) if control else None
    return finding.model_copy(
        update={
            "attack": finding.attack.model_copy(update={"requested": persons, "performed": persons}),
            "residual": findings_.residual_share(over, control, plan.unit),
            "validity": Validity(ok=controlled and not flags, flags=flags + ([] if controlled else ["no_control"])),
        }
        | ({} if controlled else {"control": findings_.NO_CONTROL, "excess": findings_.NO_CONTROL})
    )


def _told(found: Copies, flags: list[str], controlled: bool) -> str:
    who = f"Texts in {found.text!r} that one person alone has" if found.text else "Unique people of the original"
    how = "word for word" if found.text else "row for row"
    if found.whole_table:
        return "The release is the original: the same rows, as often. Everybody in it is exposed."
    if "copied" in flags:
        return (
            f"{who} stand in the release, {how}, more often than those of people who were not in it; chance does not "
            "explain the difference."
        )
    if "copies_suspected" in flags:
        return f"{who} stand in the release, {how}: more of them than as many fresh people would hit."
    if not controlled and found.members_reproduced:
        return f"{who} stand in the release, {how}; without a control nobody can tell how many chance would hit."
    return "No more unique people of the original stand in the release, row for row, than chance explains."
