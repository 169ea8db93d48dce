"""The AVID report: the fields and categories that AVID's own tools read, and the findings' numbers."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from testbed.findings.schema import Estimate, Unmeasured
from testbed.findings.terms import Risk
from testbed.report.exports import avid
from tests.report.test_exports import example
from tests.report.test_questions import finding, subject

FIELDS = {
    "data_type": str,
    "data_version": str,
    "metadata": {"report_id": str},
    "affects": {"developer": list, "deployer": list, "artifacts": [{"type": str, "name": str}]},
    "problemtype": {"classof": str, "type": str, "description": {"lang": str, "value": str}},
    "metrics": [{"name": str, "detection_method": {"type": str, "name": str}, "results": dict}],
    "references": list,
    "description": {"lang": str, "value": str},
    "impact": {
        "avid": {
            "vuln_id": type(None),
            "risk_domain": list,
            "sep_view": list,
            "lifecycle_view": list,
            "taxonomy_version": str,
        }
    },
    "credit": list,
    "reported_date": str,
}
"""The fields of a report and their types, by the data models of avidtools 0.1.2."""
CATEGORIES = {
    "S0300: Over-permissive API",
    "S0301: Information Leak",
    "S0302: Excessive Queries",
    "S0500: Exfiltration",
    "S0501: Model inversion",
    "S0502: Model theft",
    "P0300: Privacy",
    "P0301: Anonymization",
    "P0302: Randomization",
    "P0303: Encryption",
}
"""The categories of AVID's taxonomy that are about privacy, as it writes them."""


def fits(value: Any, form: Any) -> bool:
    if isinstance(form, dict):
        return isinstance(value, dict) and set(value) == set(form) and all(fits(value[k], form[k]) for k in form)
    if isinstance(form, list):
        return isinstance(value, list) and all(fits(one, form[0]) for one in value)
    return isinstance(value, form)


@pytest.mark.parametrize("policy", ["example-open-release", None])
def test_the_report_has_the_fields_that_avids_tools_read(policy: str | None) -> None:
    made = json.loads(avid.export(example(policy)))
    assert fits(made, FIELDS)
    assert made["affects"]["artifacts"][0]["type"] in ("Dataset", "Model", "System")
    assert made["problemtype"]["type"] == "Measurement"
    methods = {m["detection_method"]["type"] for m in made["metrics"]}
    assert methods <= {"Significance Test", "Static Threshold"}
    assert ("Static Threshold" in methods) == (policy is not None)


def test_every_risk_has_categories_of_avid() -> None:
    assert set(avid.VIEWS) == set(get_args(Risk))
    assert {view for views in avid.VIEWS.values() for view in views} <= CATEGORIES


def test_a_metric_holds_the_numbers_of_its_finding_and_unmeasured_findings_are_none() -> None:
    lacking = finding("property", "TB-PROPERTY-001", measure=Unmeasured(unmeasured="no_runs", needs="five runs"))
    result = subject("model", findings=[*example().findings, lacking])
    made = json.loads(avid.export(result))
    assert [m["results"]["rule"] for m in made["metrics"]] == [f.rule for f in example().findings]
    for metric, found in zip(made["metrics"], example().findings, strict=True):
        assert isinstance(found.measure, Estimate)
        assert metric["results"]["measure"]["value"] == found.measure.value
    assert made["impact"]["avid"]["sep_view"] == ["P0300: Privacy", "S0301: Information Leak"]
    assert made["impact"]["avid"]["risk_domain"] == ["Performance", "Security"]
