"""The model card: valid by the published schema of CycloneDX 1.7, with the findings' numbers, and of models alone."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from testbed.core.errors import UsageError
from testbed.findings.schema import Defence, Estimate, Unmeasured
from testbed.findings.terms import Risk
from testbed.report.exports import cyclonedx
from tests.report.test_exports import example
from tests.report.test_questions import finding, subject


def bom() -> dict[str, Any]:
    return json.loads(cyclonedx.export(example()))


def card() -> dict[str, Any]:
    return bom()["metadata"]["component"]["modelCard"]


@pytest.mark.parametrize("policy", ["example-open-release", None])
def test_the_file_follows_the_published_schema(policy: str | None) -> None:
    pytest.importorskip("cyclonedx")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    unproven = Unmeasured(unmeasured="no_guarantee", needs="a proof")
    more = example(policy).model_copy(update={"defences": [Defence(name="clip", params={}, epsilon=unproven)]})
    every = subject("model", findings=[finding(r, f"TB-{r.upper()}-001", target="outliers") for r in get_args(Risk)])
    for result in (example(policy), more, every):
        wrong = JsonStrictValidator(SchemaVersion.V1_7).validate_str(cyclonedx.export(result).decode())
        assert wrong is None


def test_each_number_of_a_finding_is_a_metric_with_its_interval() -> None:
    metrics = card()["quantitativeAnalysis"]["performanceMetrics"]
    for found in example().findings:
        own = [m for m in metrics if m.get("slice", "").startswith(f"{found.rule} {found.attack.name}")]
        numbers = [getattr(found, name) for name in cyclonedx.NUMBERS]
        known = [n for n in numbers if isinstance(n, Estimate)]
        assert {m["value"] for m in own} >= {str(n.value) for n in known}
        assert all(float(m["confidenceInterval"]["lowerBound"]) <= float(m["value"]) for m in own)
    assert {m["type"].partition(",")[0] for m in metrics if "slice" not in m} == {
        u.name.partition(",")[0] for u in example().utility
    }


def test_the_decision_is_a_list_of_risks_with_what_to_do_and_the_untested_are_limitations() -> None:
    said = card()["considerations"]
    assert [risk["name"].split()[0] for risk in said["ethicalConsiderations"]] == [
        reason.rule for reason in example().decision.reasons
    ]
    assert all("What to do" not in risk["name"] for risk in said["ethicalConsiderations"])
    assert said["technicalLimitations"] == [f"Not tested: {text}" for text in example().threat.not_tested]
    named = {p["name"].partition(":")[2]: p["value"] for p in card()["properties"]}
    assert named["verdict"] == example().decision.verdict
    assert named["report"] == example().run.id


def test_groups_of_people_at_risk_are_named() -> None:
    found = [finding("membership", "TB-MEMBERSHIP-841", target="outliers"), finding("membership", "TB-MEMBERSHIP-301")]
    made = json.loads(cyclonedx.export(subject("model", findings=found)))
    groups = made["metadata"]["component"]["modelCard"]["considerations"]["fairnessAssessments"]
    assert [group["groupAtRisk"] for group in groups] == ["outliers"]


def test_a_released_table_has_no_model_card() -> None:
    with pytest.raises(UsageError, match="TB-EXPORT-006"):
        cyclonedx.export(subject("synthetic_table"))
