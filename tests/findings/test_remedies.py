"""Each reason of a decision on a release says what to do, names the columns, and one small change worth trying."""

from __future__ import annotations

import pytest

from testbed.findings import policy, remedies
from testbed.findings.measures import flagged
from testbed.findings.plan import Plan
from testbed.findings.remedies import advised, parts
from testbed.findings.schema import Decision, Estimate, Finding, TableColumn
from testbed.findings.validity import FLAGS
from testbed.harness.release.copies import Copies
from testbed.harness.release.copy_rule import copying
from tests.findings.test_policy import finding

LIMITS = policy.Policy("test/1", "0" * 64, {"linkability": 0.09, "attribute_inference": 0.09})
TABLE = [
    TableColumn(name="age", kind="number", declared=False, gaps=0.0),
    TableColumn(name="dose", kind="category", declared=False, gaps=0.0, flags=["kind_in_doubt"]),
]


def secret(name: str | None, measure: int, primary: bool = False) -> Finding:
    """A finding on attribute inference of one column, with 1,000 guesses and 200 correct ones about others."""
    told = {
        "risk": "attribute_inference",
        "target": name,
        "primary": primary,
        "rule": f"TB-ATTRIBUTE_INFERENCE-{measure}",
    }
    made = finding(measure, 200)
    return made.model_copy(update={**told, "attack": made.attack.model_copy(update={"name": "attribute_inference"})})


def decided(*findings: Finding) -> Decision:
    judged, decision = policy.decide(list(findings), LIMITS)
    return advised(decision, judged, TABLE)


def test_a_failed_secret_names_the_columns_above_the_limit_and_no_other() -> None:
    decision = decided(secret("age or dose", 601, primary=True), secret("age", 600), secret("dose", 210))
    told = parts(decision.reasons[0].text)
    assert told.columns == "age."
    assert told.worth_trying.startswith("leave these columns out")


def test_copies_are_to_be_stopped_before_any_other_risk() -> None:
    copying = flagged(finding(500, 0), "copied").model_copy(update={"risk": "copying", "rule": "TB-COPYING-001"})
    decision = decided(copying, finding(600, 20))
    told = {r.rule: parts(r.text).worth_trying for r in decision.reasons}
    assert told["TB-COPYING-001"].startswith("stop the generator from repeating its input")
    assert told["TB-LINKABILITY-001"].startswith("stop the copies first")


def test_an_open_question_says_how_many_more_people_would_settle_it() -> None:
    # 60 of 1,000 more than for others: the interval holds the limit of 9 points.
    told = parts(decided(finding(360, 300)).reasons[0].text)
    assert told.found.endswith("The limit lies within the interval.")
    assert told.worth_trying.startswith("3.")
    assert "would settle it, if the excess of 6.0 points is true" in told.worth_trying
    near = parts(decided(finding(385, 300)).reasons[0].text)
    assert near.worth_trying.startswith("more people will hardly settle it")
    above = parts(decided(finding(400, 300)).reasons[0].text)
    assert above.worth_trying.startswith("treat it as a FAIL")


def test_a_column_in_doubt_is_named_with_the_line_that_settles_it() -> None:
    told = parts(decided(flagged(finding(20, 20), "kind_in_doubt")).reasons[0].text)
    assert told.columns == "dose."
    assert told.worth_trying.startswith("one line in the meta file: columns: {dose: categorical} if it holds codes")


@pytest.mark.parametrize("doubt", ["kind_in_doubt", "units_differ", "numbers_apart", "small_control", "few_formed"])
def test_beside_a_leak_no_doubt_about_a_column_or_the_control_is_advised_first(doubt: str) -> None:
    decision = decided(flagged(finding(600, 20), doubt))
    told = parts(decision.reasons[0].text)
    assert decision.reasons[0].verdict == "fail"
    assert told.columns == ""
    assert told.worth_trying.startswith("smooth more")
    copying = flagged(flagged(finding(500, 0), doubt), "near_copies").model_copy(update={"risk": "copying"})
    told = parts(decided(copying).reasons[0].text)
    assert told.to_do.startswith("find out how these rows came there")
    assert told.worth_trying == f"{remedies.BY_FLAG['near_copies']}."


def counted(original: int, control: int, released: int) -> list[Finding]:
    """The copy rule's and linkability's findings on so many people and rows."""
    plan = Plan(rule="TB-COPYING-001", risk="copying", attack="copied_rows", metric="rate", unit="person", primary=True)
    copied = copying(plan, Copies(original, control, 0, 0, 1.0, False), control > 0, original, control)
    linked = finding(20, 20)
    assert isinstance(linked.measure, Estimate)
    chance = linked.measure.model_copy(update={"n": released})
    return [copied, linked.model_copy(update={"baseline": chance, "primary": False, "rule": "TB-LINKABILITY-002"})]


@pytest.mark.parametrize(
    ("flag", "people", "told"),
    [
        ("small_control", (80, 40, 80), "numbers cannot decide on so few people"),
        ("no_control", (120, 0, 120), "numbers cannot decide on so few people"),
        ("no_control", (900, 0, 900), "hold out 200 people or more"),
        ("small_control", (1500, 150, 1500), "hold out 200 people or more"),
        ("small_control", (4000, 150, 4000), "hold out 2,000 people"),
        ("positive_control_weak", (5000, 300, 5000), "give a control of at least a tenth"),
        ("positive_control_weak", (1200, 1200, 1200), "give more people in original and control"),
        ("few_formed", (1000, 1000, 400), "synthesise as many rows as the original has"),
        ("few_formed", (1000, 1000, 1000), "let a person judge how many people share each row"),
    ],
)
def test_what_is_worth_trying_depends_on_the_people_and_rows_there_are(
    flag: str, people: tuple[int, int, int], told: str
) -> None:
    reasons = decided(*counted(*people), flagged(finding(20, 20), flag)).reasons
    assert parts(next(r.text for r in reasons if r.rule == "TB-LINKABILITY-001")).worth_trying.startswith(told)


@pytest.mark.parametrize(
    ("people", "told"),
    [
        ((250, 250, 250), "let a person judge whether members"),
        ((1200, 1200, 1200), "let a person judge whether members"),
        ((3000, 1200, 3000), "hold out 2,000 people"),
    ],
)
def test_undecided_membership_does_not_ask_for_people_who_do_not_exist_or_are_held_out_already(
    people: tuple[int, int, int], told: str
) -> None:
    rule = "TB-MEMBERSHIP-001"
    open_ = finding(30, 20).model_copy(update={"risk": "membership", "primary": False, "rule": rule})
    open_ = open_.model_copy(update={"attack": open_.attack.model_copy(update={"name": policy.DECLARED})})
    limits = policy.Policy("test/2", "0" * 64, {"membership": 0.02, "linkability": 0.09})
    judged, decision = policy.decide([*counted(*people), open_], limits)
    reason = next(r for r in advised(decision, judged, TABLE).reasons if r.rule == rule)
    assert parts(reason.text).worth_trying.startswith(told)
    assert "200" not in parts(reason.text).worth_trying.replace("2,000", "")


def test_fewer_attacks_are_named_only_where_fewer_were_asked_for() -> None:
    few = flagged(finding(20, 20), "few_formed")
    for requested, named in ((500, True), (2000, False), (6000, False)):
        asked = few.model_copy(update={"attack": few.attack.model_copy(update={"requested": requested})})
        assert ("--attacks" in decided(asked).reasons[0].text) == named


def test_released_identifiers_are_to_be_left_out_and_a_leak_that_informs_names_no_column_in_doubt() -> None:
    held = flagged(flagged(finding(500, 0), "copied"), "identifiers_present")
    told = parts(decided(held.model_copy(update={"risk": "copying", "target": "mail"})).reasons[0].text)
    assert (told.columns, told.worth_trying) == ("mail.", "leave these columns out of the release.")
    informs = flagged(finding(600, 20), "kind_in_doubt").model_copy(update={"primary": False, "rule": "TB-L-002"})
    told = next(parts(r.text) for r in decided(finding(20, 20), informs).reasons if "informs" in r.text)
    assert told.columns == ""


@pytest.mark.parametrize("flag", sorted(remedies.BY_FLAG))
def test_each_flag_has_one_small_change(flag: str) -> None:
    assert flag in FLAGS or flag == "copied"
    told = parts(decided(flagged(finding(20, 20), flag)).reasons[0].text)
    assert told.to_do
    assert told.worth_trying
    assert "{" not in told.worth_trying.replace("{dose: categorical}", "").replace("{dose: numeric}", "")


def test_a_reason_that_passes_needs_nothing_done() -> None:
    told = parts(decided(finding(20, 20)).reasons[0].text)
    assert (told.to_do, told.columns, told.worth_trying) == ("", "", "")


def test_a_leak_that_only_informs_names_its_own_column() -> None:
    decision = decided(finding(20, 20), secret("age", 600), secret("age or dose", 205, primary=True))
    told = next(parts(r.text) for r in decision.reasons if "informs" in r.text)
    assert told.columns == "age."
    assert told.worth_trying
