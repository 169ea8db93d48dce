"""The items of a dossier: a number from an attack that could fail is 'tested', and nothing else is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from testbed.core.errors import UsageError
from testbed.findings.schema import Finding, Result, Unmeasured, Validity
from testbed.findings.terms import Risk
from testbed.report import questions, store
from testbed.report.questions import Answered
from tests.report.test_exports import EXAMPLE

RESULT = store.load(EXAMPLE)
BASE = RESULT.findings[0].model_copy(update={"validity": Validity(ok=True, flags=[])})


def subject(type_: str, access: str = "score", findings: list[Finding] | None = None) -> Result:
    return RESULT.model_copy(
        update={
            "subject": RESULT.subject.model_copy(update={"type": type_}),
            "threat": RESULT.threat.model_copy(update={"access": access}),
            "findings": findings or [],
        }
    )


def finding(risk: Risk, rule: str, **changes: Any) -> Finding:
    return BASE.model_copy(update={"risk": risk, "rule": rule, "target": None, "primary": False} | changes)


def by_text(result: Result) -> Mapping[str, Answered]:
    return {a.question.text.split(":")[0]: a for a in questions.answered(result)}


@pytest.mark.parametrize("type_", ["model", "synthetic_table", "federation", "transcript"])
def test_without_findings_nothing_is_tested_and_every_item_says_why(type_: str) -> None:
    items = questions.answered(subject(type_))
    assert {a.status for a in items} == {"not tested", "not testable"}
    assert all(a.reason and not a.findings for a in items)
    assert len({a.id for a in items}) == len(items)


def test_answers_alone_leave_direct_extraction_untested_and_the_inside_leaves_queries_untested() -> None:
    found = [finding("membership", "TB-MEMBERSHIP-301"), finding("structure", "TB-STRUCTURE-001")]
    asked = by_text(subject("model", "score", found))
    assert asked["Through queries"].status == "tested"
    assert asked["Direct extraction"].status == "not tested"
    assert [f.rule for f in asked["Direct extraction"].findings] == ["TB-STRUCTURE-001"]
    inside = by_text(subject("model", "white", found))
    assert inside["Direct extraction"].status == "tested"
    assert inside["Through queries"].status == "not tested"


def test_the_two_likelihoods_show_one_finding_of_each_risk_and_name_the_rest() -> None:
    risks: tuple[Risk, ...] = ("membership", "membership", "class_inversion", "structure", "structure")
    found = [finding(risk, f"TB-{risk.upper()}-00{i}") for i, risk in enumerate(risks)]
    asked = by_text(subject("model", "score", found))["Through queries"]
    assert [f.rule for f in asked.findings] == ["TB-MEMBERSHIP-000", "TB-CLASS_INVERSION-002"]
    assert asked.others == ("TB-MEMBERSHIP-001",)
    inside = by_text(subject("model", "white", found))["Direct extraction"]
    assert [f.rule[-3:] for f in inside.findings] == ["000", "002", "003", "004"]


def test_an_attack_that_could_not_have_found_a_leak_tests_nothing() -> None:
    blind = finding("membership", "TB-MEMBERSHIP-301", validity=Validity(ok=False, flags=["positive_control_failed"]))
    assert by_text(subject("model", "score", [blind]))["Membership inference"].status == "not tested"
    sharp = finding("membership", "TB-MEMBERSHIP-302")
    assert by_text(subject("model", "score", [blind, sharp]))["Membership inference"].status == "tested"
    decides = blind.model_copy(update={"primary": True})
    assert by_text(subject("model", "score", [decides, sharp]))["Membership inference"].status == "not tested"


def test_an_unmeasured_finding_says_what_is_needed_or_that_it_has_no_meaning() -> None:
    lacking = finding("property", "TB-PROPERTY-001", measure=Unmeasured(unmeasured="no_runs", needs="five runs"))
    item = by_text(subject("model", "score", [lacking]))["What do groups of people give away together?"]
    assert (item.status, item.reason, item.others) == ("not tested", "what is needed: five runs", ("TB-PROPERTY-001",))
    meaningless = Unmeasured(unmeasured="not_applicable", needs="nothing")
    item = by_text(subject("model", "score", [lacking.model_copy(update={"measure": meaningless})]))[
        "What do groups of people give away together?"
    ]
    assert item.status == "not testable"


def test_groups_and_the_naming_of_a_party_are_items_of_their_own() -> None:
    found = [
        finding("membership", "TB-MEMBERSHIP-001", target="which client"),
        finding("membership", "TB-MEMBERSHIP-002", target="outliers"),
    ]
    items = by_text(subject("federation", "white", found))
    rules = {text: [f.rule for f in item.findings] for text, item in items.items()}
    assert rules["Can it be known at which party a person's record lies?"] == ["TB-MEMBERSHIP-001"]
    assert rules["Can it be known whose records were used?"] == ["TB-MEMBERSHIP-002"]
    assert rules["Does it hold for every person, also for the worst-off group?"] == ["TB-MEMBERSHIP-002"]


def test_findings_that_decide_come_first_and_the_rest_are_named() -> None:
    found = [finding("linkability", f"TB-LINKABILITY-{i:03}", primary=i == 7) for i in range(1, 9)]
    item = by_text(subject("synthetic_table", findings=found))["Linkability"]
    assert item.findings[0].rule == "TB-LINKABILITY-007"
    assert item.reason == ""
    informing = by_text(subject("synthetic_table", findings=found[:6]))["Linkability"]
    assert (informing.status, informing.reason) == ("tested", questions.INFORMS)
    assert len(item.findings) == questions.SHOWN
    assert item.others == ("TB-LINKABILITY-005", "TB-LINKABILITY-006", "TB-LINKABILITY-008")


def test_each_risk_remains_on_one_line_the_gravest_first() -> None:
    found = [
        finding("linkability", "TB-LINKABILITY-001", primary=True, verdict="pass"),
        finding("copying", "TB-COPYING-001", primary=True, verdict="fail"),
        finding("copying", "TB-COPYING-005", primary=True, verdict="review"),
        finding("membership", "TB-MEMBERSHIP-001"),
    ]
    lines = questions.remaining(subject("synthetic_table", findings=found))
    assert [line.finding.rule for line in lines] == ["TB-COPYING-001", "TB-LINKABILITY-001", "TB-MEMBERSHIP-001"]
    assert lines[0].ids == ("TB-COPYING-001", "TB-COPYING-005")


def test_an_exercise_has_no_dossier() -> None:
    with pytest.raises(UsageError, match="TB-FACTS-002"):
        questions.answered(subject("exercise"))
