# pyright: strict
"""SARIF 2.1.0 (OASIS): findings as results, attacks' rules as rules, and the policy's line of a limit as location.

A result's kind follows section 3.27.9 of the standard: fail; review, a person must decide; pass; open, evidence is
missing; notApplicable; informational, it does not decide. Only a failed one has a level other than none (3.27.10).
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any
from urllib.parse import quote

from testbed.core.shown import shown
from testbed.findings import policy as policies
from testbed.findings.schema import Estimate, Finding, Limit, Policy, Result

SUFFIX = ".sarif"
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
MEASURES = ("measure", "control", "baseline", "excess", "residual", "positive_control")


def export(result: Result) -> bytes:
    """The text of the file: a log with one run."""
    rules = {f.rule: f for f in reversed(result.findings)}
    ids = sorted(rules)
    schemes = sorted({t.scheme for f in result.findings for t in f.taxonomy})
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": result.run.tool.name,
                "version": result.run.tool.version,
                "rules": [_rule(rules[i]) for i in ids],
            }
        },
        "automationDetails": {"id": f"{result.run.command}/{result.run.scenario}/{result.run.id}"},
        "invocations": [{"executionSuccessful": True, **_command(result)}],
        "taxonomies": [_taxonomy(scheme, result) for scheme in schemes],
        "results": [_result(f, ids.index(f.rule), schemes, result) for f in result.findings],
        "properties": {"subject": shown(result.subject.name), "verdict": result.decision.verdict, **_digests(result)},
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return (json.dumps(log, indent=2, ensure_ascii=False) + "\n").encode()


def _command(result: Result) -> dict[str, str]:
    command = result.proof.command if result.proof else None
    return {"commandLine": shown(command)} if command else {}


def _digests(result: Result) -> dict[str, str]:
    if result.proof is None:
        return {"proof": "none"}
    return {"findings": result.proof.findings, "decision": result.proof.decision, "content": result.proof.content}


def _rule(finding: Finding) -> dict[str, Any]:
    risk = finding.risk.replace("_", " ")
    return {
        "id": finding.rule,
        "name": finding.attack.name,
        "shortDescription": {"text": shown(f"Risk of {risk}, by the attack {finding.attack.name}")},
        "properties": {"risk": finding.risk},
    }


def _taxonomy(scheme: str, result: Result) -> dict[str, Any]:
    ids = sorted({t.id for f in result.findings for t in f.taxonomy if t.scheme == scheme})
    return {"name": scheme, "taxa": [{"id": i} for i in ids]}


def _result(finding: Finding, index: int, schemes: list[str], result: Result) -> dict[str, Any]:
    kind = _kind(finding)
    mark = "\x1f".join((finding.rule, finding.risk, finding.attack.name, finding.target or ""))
    made: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "kind": kind,
        "level": "error" if kind == "fail" else "none",
        "message": {"text": shown(finding.plain)},
        "partialFingerprints": {"finding/v1": hashlib.sha256(mark.encode()).hexdigest()},
        "taxa": [
            {"id": t.id, "toolComponent": {"name": t.scheme, "index": schemes.index(t.scheme)}}
            for t in finding.taxonomy
        ],
        "properties": _numbers(finding),
    }
    location = _location(finding, result)
    return {**made, "locations": [location]} if location else made


def _kind(finding: Finding) -> str:
    if finding.primary and finding.verdict in ("fail", "review", "pass"):
        return finding.verdict
    if isinstance(finding.measure, Estimate):
        return "informational"
    return "notApplicable" if finding.measure.unmeasured == "not_applicable" else "open"


def _location(finding: Finding, result: Result) -> dict[str, Any] | None:
    """The line of the policy's file that limits this risk; of a policy that is not built in, the policy alone."""
    policy = result.decision.policy
    if not isinstance(policy, Policy) or not finding.primary:
        return None
    built_in = next((n for n in policies.built_in() if policies.load(n).sha256 == policy.sha256), None)
    uri = f"testbed/findings/policies/{built_in}.yaml" if built_in else f"policy/{quote(policy.id, safe='')}"
    place: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    lines = policies.text_of(built_in).splitlines() if built_in else []
    found = [i for i, line in enumerate(lines, 1) if re.match(rf"\s+{finding.risk}\s*:", line)]
    if found:
        place["region"] = {"startLine": found[0]}
    return {"physicalLocation": place}


def _numbers(finding: Finding) -> dict[str, Any]:
    numbers: dict[str, Any] = {"risk": finding.risk, "primary": finding.primary, "verdict": finding.verdict}
    if finding.target:
        numbers["target"] = shown(finding.target)
    if isinstance(finding.limit, Limit):
        numbers["limit"] = finding.limit.excess
    if finding.validity.flags:
        numbers["flags"] = finding.validity.flags
    for name in MEASURES:
        measure = getattr(finding, name)
        numbers[name] = measure.model_dump(mode="json", exclude_none=True)
    return numbers
