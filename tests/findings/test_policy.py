"""FAIL over REVIEW over PASS; nothing is averaged, and nothing soft outweighs a leak."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from testbed.core import Evidence
from testbed.core.errors import UsageError
from testbed.findings import policy, schema
from testbed.findings.measures import rates
from testbed.findings.plan import Plan
from testbed.findings.schema import Estimate, Finding, Validity
from testbed.findings.wording import plain_words
from testbed.harness.release.copies import Copies
from testbed.harness.release.copy_rule import copying

LIMITS = policy.Policy("test/1", "0" * 64, {"linkability": 0.09})
PLAN = Plan(
    rule="TB-LINKABILITY-001", risk="linkability", attack="linkability", metric="rate", unit="record", primary=True
)


def finding(
    measure: int, control: int, n: int = 1000, positive: int | None = 900, performed: int | None = None
) -> Finding:
    def cell(view: str, group: str, right: int, of: int) -> Evidence:
        return Evidence.rows(view, group, success=[1.0] * right + [0.0] * (of - right))  # type: ignore[arg-type]

    parts = [cell("true", "used", measure, n), cell("true", "unused", control, n)]
    parts += [] if positive is None else [cell("positive", "used", positive, 1000)]
    evidence = Evidence.join(*parts)
    return rates(PLAN, replace(evidence, performed=performed) if performed else evidence)


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (finding(20, 20), "pass"),
        (finding(300, 20), "fail"),
        (finding(110, 20), "review"),  # the interval holds the limit
        (finding(20, 20, positive=None), "review"),
        (finding(20, 20, positive=15), "review"),  # the attack cannot find a leak
        (finding(2, 2, n=100), "review"),  # few guesses
        (finding(90, 2, n=100), "fail"),  # few guesses never soften a FAIL
        (finding(300, 20, positive=None), "fail"),
    ],
)
def test_a_primary_finding_decides_as_the_rule_says(made: Finding, verdict: str) -> None:
    assert policy.decide([made], LIMITS)[1].verdict == verdict


def test_the_worst_counts_and_what_informs_does_not() -> None:
    leak = finding(300, 20)
    assert policy.decide([finding(20, 20), leak], LIMITS)[1].verdict == "fail"
    # What only informs fails nothing; but where it is surely above the limit, a person must look.
    informing = leak.model_copy(update={"primary": False})
    assert policy.decide([finding(20, 20), informing], LIMITS)[1].verdict == "review"
    chance = informing.model_copy(update={"adjusted_p": 0.2})
    assert policy.decide([finding(20, 20), chance], LIMITS)[1].verdict == "pass"
    assert (
        policy.decide([finding(20, 20), finding(30, 20).model_copy(update={"primary": False})], LIMITS)[1].verdict
        == "pass"
    )


def test_an_attack_that_could_not_have_failed_does_not_pass() -> None:
    judged, decision = policy.decide([finding(20, 20, positive=90)], LIMITS)
    assert decision.verdict == "review"
    assert "positive_control_weak" in judged[0].validity.flags


@pytest.mark.parametrize(
    "text",
    ["id: x\nlimits: [membership]", "id: x\nlimits: {membership: .nan}", "id: x\nmin_cell: 0", "id: x\nmin_cell: .nan",
     "id: x\nlimits: {membership: 3}"],
)  # fmt: skip
def test_a_policy_cannot_switch_the_gate_off_or_limit_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="TB-POLICY-001"):
        policy.load(path)
    path.write_bytes(b"id: \xff\xfe")
    with pytest.raises(UsageError, match="TB-POLICY-001"):
        policy.load(path)


def test_nothing_measured_is_no_pass() -> None:
    assert policy.decide([], LIMITS)[1].verdict == "review"
    unlimited = policy.Policy("test/2", "0" * 64, {})
    assert policy.decide([finding(20, 20)], unlimited)[1].verdict == "review"


def test_without_a_policy_there_is_no_verdict() -> None:
    findings, decision = policy.decide([finding(300, 20)], None)
    assert decision.verdict == "none"
    assert policy.EXIT_CODES[decision.verdict] == 0
    assert findings[0].verdict == "none"


@pytest.mark.parametrize(
    ("found", "controlled", "verdict"),
    [
        (Copies(50, 50, 12, 0, 0.0002, False), True, "fail"),
        (Copies(50, 50, 3, 1, 0.3, False, controls_by_chance=1), True, "pass"),
        (Copies(50, 50, 9, 9, 0.5, False, by_chance=2, controls_by_chance=2), True, "review"),
        (Copies(50, 0, 3, 0, 1.0, False), False, "review"),
        (Copies(50, 0, 50, 0, 1.0, True), False, "fail"),
    ],
)
def test_the_copy_rule(found: Copies, controlled: bool, verdict: str) -> None:
    plan = Plan(rule="TB-COPYING-001", risk="copying", attack="copied_rows", metric="rate", unit="person", primary=True)
    made = copying(plan, found, controlled, 50, 50 if controlled else 0)
    assert policy.decide([made], LIMITS)[1].verdict == verdict


def test_flags_force_a_review() -> None:
    flagged = finding(20, 20).model_copy(update={"validity": Validity(ok=False, flags=["control_shift"])})
    assert policy.decide([flagged], LIMITS)[1].verdict == "review"


def test_the_built_in_policy_names_itself() -> None:
    built_in = policy.load()
    assert built_in.id == "example-open-release/1"
    assert len(built_in.sha256) == 64


@pytest.mark.parametrize(
    "text",
    [
        "limits: {linkability: 0.1}",
        "id: x\nlimits: {linkabilty: 0.1}",
        "id: x\nlimit: {linkability: 0.1}",
        "id: x\nlimits: {linkability: low}",
        "- a list",
        "id: [",
    ],
)
def test_a_policy_that_is_wrong_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="TB-POLICY-001"):
        policy.load(path)


@pytest.mark.parametrize(
    ("limits", "named", "other"),
    [
        ("{linkability: 0.05, copying: 0.01}", "copying", "linkability"),
        ("{epsilon: 1, linkability: 0.05}", "epsilon", "linkability"),
        ("{structure: 0.1, linkability: 0.05}", "structure", "linkability"),
        ("{singling_out: 5%, linkability: 0.05}", "singling_out", "linkability"),
        ("{linkability: 0.05, membership: true}", "membership", "linkability"),
        ("{linkability: '0.05', membership: 0.02}", "linkability", "membership"),
        ("{linkability: 0.05, attribute_inference: 5}", "attribute_inference", "linkability"),
        ("{linkability: .nan, membership: 0.02}", "linkability", "membership"),
    ],
)
def test_a_limit_that_would_not_be_applied_is_refused_by_its_name(
    tmp_path: Path, limits: str, named: str, other: str
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(f"id: x\nlimits: {limits}")
    with pytest.raises(UsageError, match="TB-POLICY-001") as refused:
        policy.load(path)
    assert named in str(refused.value)
    assert other not in str(refused.value)


def test_a_policy_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    for name in (tmp_path / "none.yaml", "no-such-policy"):
        with pytest.raises(UsageError, match="TB-POLICY-001"):
            policy.load(name)


def test_every_built_in_policy_is_an_example_and_loads() -> None:
    assert policy.built_in() == ["example-contract", "example-open-release", "example-secure-environment"]
    for name in policy.built_in():
        assert policy.load(name).id == f"{name}/1"
        assert policy.text_of(name).startswith("# Example")


def test_a_sentence_names_the_group_and_the_secret_and_takes_neither_for_the_other() -> None:
    def sentence(risk: schema.Risk, target: str | None) -> str:
        half = Estimate(metric="rate", value=0.5, low=0.4, high=0.6, level=0.95, method="wilson", unit="record", n=100)
        return plain_words(risk, target, {"measure": half, "control": half}, half)

    assert "predicts 'age' correctly for 50 % of the people in the data" in sentence("attribute_inference", "age")
    outliers = sentence("attribute_inference", "outliers")
    assert "predicts the secret correctly for 50 % of the outliers in the data" in outliers
    assert "'age' correctly for 50 % of the people with a rare value" in sentence(
        "attribute_inference", "rare values of age"
    )
    block = sentence("attribute_inference", "the block age, sex")
    assert "predicts the block age, sex correctly in 50 % of the cells of the people in the data" in block
    assert "links 50 % of the outliers in the data" in sentence("linkability", "outliers")
    assert "links 50 % of the people in the data" in sentence("linkability", "age | sex")


def test_reasons_say_what_so_many_guesses_can_tell() -> None:
    # At 500 guesses a limit of .09 is far weaker beside a control rate of one half than beside .02.
    _, weak = policy.decide([finding(270, 250, n=500)], LIMITS)
    _, strong = policy.decide([finding(15, 10, n=500)], LIMITS)
    assert "It would have passed a leak of 1.2 points or less" in weak.reasons[0].text
    assert "It would have passed a leak of 5." in strong.reasons[0].text
    assert "would have caught a leak of 16.7 points or more in 4 of 5 cases" in weak.reasons[0].text


def test_a_pass_is_told_by_the_bound_that_decides_it_and_says_what_becomes_of_leaks_that_are_not_caught() -> None:
    told = policy.decide([finding(20, 20)], LIMITS)[1].reasons[0].text
    assert "the excess is 0.0 points, and at most 1." in told
    assert "between" not in told  # this test catches leaks of little more than the limit
    few = policy.decide([finding(250, 250, n=500)], LIMITS)[1].reasons[0]
    assert few.verdict == "pass"
    assert "A leak between these two may pass, fail or end as REVIEW." in few.text
    assert "It lies between" in policy.decide([finding(300, 20)], LIMITS)[1].reasons[0].text
