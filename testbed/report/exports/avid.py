# pyright: strict
"""A report in the form of the AI Vulnerability Database (AVID): a measurement, what it affects, and its categories."""

from __future__ import annotations

import json
from typing import Any

from testbed.core.shown import shown
from testbed.findings.schema import Estimate, Finding, Limit, Result

SUFFIX = ".avid.json"
DATA_VERSION = TAXONOMY_VERSION = "0.2"
ARTIFACTS = {"synthetic_table": "Dataset", "model": "Model"}
"""AVID's type of artefact by the subject's; any other subject is a system."""
VIEWS: dict[str, tuple[str, ...]] = {
    "membership": ("S0301: Information Leak", "P0300: Privacy"),
    "attribute_inference": ("S0301: Information Leak", "P0300: Privacy"),
    "property": ("S0301: Information Leak",),
    "reconstruction": ("S0501: Model inversion", "P0300: Privacy"),
    "class_inversion": ("S0501: Model inversion",),
    "extraction": ("S0502: Model theft",),
    "singling_out": ("P0301: Anonymization",),
    "linkability": ("P0301: Anonymization",),
    "copying": ("P0301: Anonymization",),
    "epsilon": ("P0302: Randomization",),
    "structure": ("P0300: Privacy",),
}
"""AVID's categories (security, ethics, performance view) of each risk."""
DOMAINS = {"S": "Security", "P": "Performance"}
NUMBERS = ("measure", "control", "baseline", "excess", "positive_control")


def export(result: Result) -> bytes:
    """The text of the file: one report, with a metric for each finding that has a number."""
    measured = [f for f in result.findings if isinstance(f.measure, Estimate)]
    views = sorted({view for f in measured for view in VIEWS[f.risk]})
    artifact = {"type": ARTIFACTS.get(result.subject.type, "System"), "name": shown(result.subject.name)}
    verdict = result.decision.verdict
    told = [f.plain for f in result.findings if f.primary] or [result.run.question]
    report = {
        "data_type": "AVID",
        "data_version": DATA_VERSION,
        "metadata": {"report_id": f"{result.run.tool.name}-{result.run.id}"},
        "affects": {"developer": [], "deployer": [], "artifacts": [artifact]},
        "problemtype": {
            "classof": "Undefined",
            "type": "Measurement",
            "description": _text(f"{result.run.question} Verdict of the policy: {verdict}."),
        },
        "metrics": [_metric(f) for f in measured],
        "references": [],
        "description": _text(" ".join(told)),
        "impact": {
            "avid": {
                "vuln_id": None,
                "risk_domain": sorted({DOMAINS[view[0]] for view in views}),
                "sep_view": views,
                "lifecycle_view": ["L05: Evaluation"],
                "taxonomy_version": TAXONOMY_VERSION,
            }
        },
        "credit": [],
        "reported_date": result.run.created[:10],
    }
    return (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode()


def _text(value: str) -> dict[str, str]:
    return {"lang": "eng", "value": shown(value)}


def _metric(finding: Finding) -> dict[str, Any]:
    limited = isinstance(finding.limit, Limit)
    method = getattr(finding.measure, "method", "")
    numbers = {n: getattr(finding, n).model_dump(mode="json", exclude_none=True) for n in NUMBERS}
    results = {"rule": finding.rule, "primary": finding.primary, "verdict": finding.verdict, **numbers}
    if limited:
        results["limit"] = finding.limit.model_dump(mode="json")
    target = f": {finding.target}" if finding.target else ""
    return {
        "name": shown(f"{finding.risk}, {finding.attack.name}{target}"),
        "detection_method": {"type": "Static Threshold" if limited else "Significance Test", "name": shown(method)},
        "results": results,
    }
