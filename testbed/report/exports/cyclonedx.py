# pyright: strict
"""CycloneDX 1.7: the model with a model card, as a machine-learning bill of materials (ML-BOM).

The card holds utility and findings as performance metrics, reasons of the decision as risks, and what was not tested as
technical limitations. The standard has a model card for models alone, so a released table has none.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from testbed.core.errors import UsageError
from testbed.core.shown import shown
from testbed.findings.numbers import short, what
from testbed.findings.remedies import parts
from testbed.findings.schema import Estimate, Finding, Measure, Policy, Result
from testbed.report import questions

SUFFIX = ".cdx.json"
SCHEMA = "http://cyclonedx.org/schema/bom-1.7.schema.json"
MODELS = ("model", "federation", "transcript")
"""The types of subject that are models, or train one."""
NUMBERS = ("measure", "control", "excess")


def export(result: Result) -> bytes:
    """The text of the file. Raises `UsageError` for a subject that is no model."""
    if result.subject.type not in MODELS:
        raise UsageError(
            "TB-EXPORT-006",
            "A model card is about a model, and this result is not.",
            "CycloneDX has no place for these findings in anything but a model.",
            "Export to dossier, sarif or csv instead.",
        )
    tool = {"type": "application", "name": result.run.tool.name, "version": result.run.tool.version}
    bom = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"{result.run.tool.name}:{result.run.id}").urn,
        "version": 1,
        "metadata": {
            "timestamp": result.run.created,
            "tools": {"components": [tool]},
            "component": {
                "type": "machine-learning-model",
                "bom-ref": result.run.id,
                "name": shown(result.subject.name),
                "description": shown(result.run.question),
                "modelCard": _card(result),
            },
        },
    }
    return (json.dumps(bom, indent=2, ensure_ascii=False) + "\n").encode()


def _card(result: Result) -> dict[str, Any]:
    metrics = [_metric(u.name, u.measure, None) for u in result.utility]
    for finding in result.findings:
        metrics += [_metric(f"{finding.risk}: {n}", getattr(finding, n), _slice(finding)) for n in NUMBERS]
    groups = [f for f in result.findings if questions.of_group(f) and isinstance(f.measure, Estimate)]
    return {
        "quantitativeAnalysis": {"performanceMetrics": [metric for metric in metrics if metric]},
        "considerations": {
            "technicalLimitations": [shown(f"Not tested: {text}") for text in result.threat.not_tested],
            "performanceTradeoffs": [shown(f"Defence {d.name}: epsilon {short(d.epsilon)}") for d in result.defences],
            "ethicalConsiderations": [_risk(r.rule, r.verdict, r.text) for r in result.decision.reasons],
            "fairnessAssessments": [
                {"groupAtRisk": shown(f.target or f.attack.name), "harms": shown(f.plain)} for f in groups
            ],
        },
        "properties": _properties(result),
    }


def _metric(name: str, measure: Measure, of: str | None) -> dict[str, Any]:
    """A performance metric, whose numbers are texts in this standard; nothing for what was not measured."""
    if not isinstance(measure, Estimate):
        return {}
    kind = what(measure) or measure.metric.replace("_", " ")
    interval = {"lowerBound": str(measure.low), "upperBound": str(measure.high)}
    metric = {"type": shown(f"{name}, {kind}"), "value": str(measure.value), "confidenceInterval": interval}
    return metric | ({"slice": of} if of else {})


def _slice(finding: Finding) -> str:
    return shown(f"{finding.rule} {finding.attack.name}" + (f": {finding.target}" if finding.target else ""))


def _risk(rule: str, verdict: str, text: str) -> dict[str, str]:
    said = parts(text)
    risk = {"name": shown(f"{rule} {verdict}: {said.found}")}
    return risk | ({"mitigationStrategy": shown(said.to_do)} if said.to_do else {})


def _properties(result: Result) -> Sequence[dict[str, str]]:
    policy, proof = result.decision.policy, result.proof
    named = {
        "report": result.run.id,
        "verdict": result.decision.verdict,
        "policy": policy.id if isinstance(policy, Policy) else "none",
        "attacker": f"{'malicious' if result.threat.malicious else 'curious'} {result.threat.position}",
        "access": result.threat.access,
        "data-class": result.subject.data_class,
        "findings-sha256": proof.findings if proof else "without proof",
    }
    return [{"name": f"{result.run.tool.name}:{name}", "value": shown(value)} for name, value in named.items()]
