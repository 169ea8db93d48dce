# pyright: strict
"""JUnit-like XML for a build server: one test a risk that decides. FAIL is a failure, REVIEW is an error."""

from __future__ import annotations

from xml.etree import ElementTree

from testbed.core.shown import shown
from testbed.findings.schema import Finding, Policy, Result

SUFFIX = ".junit.xml"
ELEMENTS = {"fail": "failure", "review": "error", "none": "skipped"}
"""What a test holds by its verdict; a PASS holds nothing."""


def export(result: Result) -> bytes:
    """The text of the file: UTF-8 XML with the elements that Jenkins, GitLab and others read."""
    reasons = {reason.rule: reason.text for reason in result.decision.reasons}
    primary = [f for f in result.findings if f.primary]
    alarms = [f for f in result.findings if not f.primary and f.rule in reasons]
    cases = [_case(f, f.verdict, reasons.get(f.rule, f.plain)) for f in primary]
    cases += [_case(f, "review", reasons[f.rule]) for f in alarms]
    counts = {"tests": len(cases)} | {
        name: sum(case.find(element) is not None for case in cases)
        for name, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    numbers = {name: str(count) for name, count in counts.items()}
    suites = ElementTree.Element("testsuites", {"name": result.run.tool.name, **numbers})
    named = {"name": shown(result.subject.name), "timestamp": result.run.created[:19], "time": "0", **numbers}
    suite = ElementTree.SubElement(suites, "testsuite", named)
    properties = ElementTree.SubElement(suite, "properties")
    policy = result.decision.policy
    for name, value in (
        ("report", result.run.id),
        ("version", result.run.tool.version),
        ("verdict", result.decision.verdict),
        ("policy", policy.id if isinstance(policy, Policy) else "none"),
    ):
        ElementTree.SubElement(properties, "property", {"name": name, "value": shown(value)})
    suite.extend(cases)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True) + b"\n"


def _case(finding: Finding, verdict: str, text: str) -> ElementTree.Element:
    name = f"{finding.rule} {finding.attack.name}" + (f": {finding.target}" if finding.target else "")
    attributes = {"classname": f"testbed.{finding.risk}", "name": shown(name), "time": "0"}
    case = ElementTree.Element("testcase", attributes)
    if element := ELEMENTS.get(verdict):
        undecided = getattr(finding.limit, "unmeasured", None) == "no_policy"
        message = "no policy was applied" if undecided else text
        told = ElementTree.SubElement(case, element, {"message": shown(message)})
        if element != "skipped":
            told.set("type", verdict)
            told.text = shown(finding.plain, lines=True)
    return case
