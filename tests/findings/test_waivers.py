"""Waivers: who accepts a risk, why and until when; no waiver makes a PASS. And policies in words."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml

from testbed.core.errors import UsageError
from testbed.findings import policy, policy_words
from testbed.findings.policy import Policy
from testbed.findings.proof import sealed
from testbed.findings.schema import Decision, Finding, Result
from testbed.findings.waivers import LONGEST, Waiver, waived
from testbed.report import html, store
from testbed.report.verification import Held, verify
from tests.findings.test_policy import finding

DAY = date(2027, 3, 31)
WAIVER = Waiver("linkability", "A. Andersson", "one contract partner", DAY)
LEAK, CLEAN, OPEN = finding(300, 20), finding(20, 20), finding(110, 20)


def decided(findings: list[Finding], waivers: tuple[Waiver, ...] = (WAIVER,), on: date = DAY) -> Decision:
    limits = Policy("test/1", "0" * 64, {"linkability": 0.09}, waivers=waivers)
    return waived(policy.decide(findings, limits)[1], findings, waivers, on)


def test_a_waived_fail_is_a_review_that_says_who_and_why_and_the_finding_stays_a_fail() -> None:
    decision = decided([LEAK])
    assert decision.verdict == "review"
    text = decision.reasons[0].text
    assert text.startswith("A. Andersson accepts this risk until 2027-03-31: one contract partner. Without this waiver")
    assert "the verdict would be FAIL" in text
    assert policy.decide([LEAK], policy.Policy("t", "0", {"linkability": 0.09}))[0][0].verdict == "fail"
    assert getattr(decision.policy, "waivers", None)[0].state == "applied"  # type: ignore[index]


def test_no_waiver_makes_a_pass_and_other_risks_are_decided_as_before() -> None:
    assert decided([OPEN]).verdict == "review"
    assert decided([CLEAN]).verdict == "pass"
    assert getattr(decided([CLEAN]).policy, "waivers", None)[0].state == "not needed"  # type: ignore[index]
    other = LEAK.model_copy(update={"rule": "TB-MEMBERSHIP-001", "risk": "membership"})
    both = Policy("test/1", "0" * 64, {"linkability": 0.09, "membership": 0.02}, waivers=(WAIVER,))
    found = waived(policy.decide([LEAK, other], both)[1], [LEAK, other], both.waivers, DAY)
    assert [(r.rule[:7], r.verdict) for r in found.reasons] == [("TB-MEMB", "fail"), ("TB-LINK", "review")]
    assert found.verdict == "fail"


def test_an_expired_waiver_changes_nothing_and_is_said() -> None:
    decision = decided([LEAK], on=date(2027, 4, 1))
    assert decision.verdict == "fail"
    assert "expired on 2027-03-31, and is not applied" in decision.reasons[0].text
    assert getattr(decision.policy, "waivers", None)[0].state == "expired"  # type: ignore[index]


@pytest.mark.parametrize(
    "wrong",
    [
        {"risk": "copying"},
        {"risk": "epsilon"},
        {"risk": "structure"},
        {"risk": "likability"},
        {"name": ""},
        {"name": None},
        {"reason": "x" * (LONGEST + 1)},
        {"expires": "soon"},
        {"expires": 2027},
        {"expires": None},
        {"until": "2027-01-01"},
    ],
)
def test_an_incomplete_waiver_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    whole = {"risk": "membership", "name": "A", "reason": "b.", "expires": "2027-01-01"}
    file = tmp_path / "p.yaml"

    def load(*waivers: object) -> Policy:
        file.write_text(yaml.safe_dump({"id": "p/1", "limits": {}, "waivers": [*waivers]}), "utf-8")
        return policy.load(file)

    assert load(whole).waivers == (Waiver("membership", "A", "b", date(2027, 1, 1)),)
    assert load({**whole, "expires": date(2027, 1, 1)}).waivers[0].expires == date(2027, 1, 1)
    for given in (
        [{**whole, **wrong}],
        [whole, dict(whole)],
        [{k: v for k, v in whole.items() if k != "reason"}],
        ["x"],
    ):
        with pytest.raises(UsageError, match="TB-POLICY-002"):
            load(*given)


def test_a_report_prints_each_waiver_and_verify_decides_as_on_the_day_of_the_run(tmp_path: Path) -> None:
    from testbed.findings.assemble import decided as of_policy

    file = tmp_path / "p.yaml"
    told = {"risk": "linkability", "name": "<b>A</b>", "reason": "why", "expires": "2026-01-31"}
    file.write_text(yaml.safe_dump({"id": "p/1", "limits": {"linkability": 0.09}, "waivers": [told]}), "utf-8")
    example = store.load(Path(__file__).parents[2] / "docs" / "result.example.json")
    findings, decision = of_policy([LEAK], policy.load(file), example.subject, date(2026, 1, 31))
    run = example.run.model_copy(update={"created": "2026-01-31T23:00:00+00:00"})
    made = sealed(example.model_copy(update={"findings": findings, "decision": decision, "run": run}))
    again = Result.model_validate_json(store.to_json(made))
    page = html.render(again)
    assert "<h3>Waivers</h3>" in page
    assert "&lt;b&gt;A&lt;/b&gt;" in page
    assert "2026-01-31</td><td>applied" in page
    (tmp_path / "r.json").write_text(store.to_json(made), "utf-8")
    held = {c.name: c.holds for c in verify(tmp_path / "r.json", Held(policy=str(file)))}
    assert held["policy"] is True
    late = made.run.model_copy(update={"created": "2026-02-01T00:00:00+00:00"})
    (tmp_path / "r.json").write_text(store.to_json(sealed(made.model_copy(update={"run": late}))), "utf-8")
    held = {c.name: c.holds for c in verify(tmp_path / "r.json", Held(policy=str(file)))}
    assert held["policy"] is False  # a day after its expiry, the waiver could not have been applied


def test_a_policy_is_explained_and_its_difference_told() -> None:
    strict, lax = policy.load(), policy.load("example-contract")
    said = "\n".join(policy_words.explained(strict, DAY))
    assert "membership: 2 points" in said
    assert "property: no limit" in said
    assert "copying: decided by rule" in said
    changed = policy_words.differences(strict, lax)
    assert "membership: 2 points -> 5 points (looser)" in changed
    assert changed[-1].endswith(f"is looser in 5 and stricter in 0 of these than {strict.id}.")
    assert policy_words.differences(lax, strict)[0].endswith("(stricter)")
    assert policy_words.differences(lax, lax) == [f"{lax.id} and {lax.id} decide alike."]
    with_waiver = Policy("w/1", "0", dict(strict.limits), 3, waivers=(WAIVER,))
    told = policy_words.differences(strict, with_waiver)
    assert told[:2] == [
        "smallest count shown: 10 -> 3 people (looser)",
        "a waiver of linkability by A. Andersson until 2027-03-31 is new (looser)",
    ]
    without = Policy("n/1", "0", {k: v for k, v in strict.limits.items() if k != "membership"})
    assert "membership: no limit, REVIEW at best -> 2 points (looser)" in policy_words.differences(without, strict)
    assert "(expired: not applied)" in policy_words.explained(with_waiver, date(2028, 1, 1))[-1]
    assert set(policy_words.MEANS) == set(policy._limited())
