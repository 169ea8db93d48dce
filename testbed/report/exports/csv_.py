# pyright: strict
"""CSV: one line a finding, with every number of it; for a spreadsheet, or for a table of many results."""

from __future__ import annotations

import csv
import io
from typing import Any

from testbed.core.shown import cell
from testbed.findings.schema import Estimate, Finding, Limit, Measure, Policy, Result

SUFFIX = ".csv"
MEASURES = ("measure", "control", "baseline", "excess", "residual", "positive_control")
ENDS = ("value", "low", "high", "n", "unmeasured")
FIRST = ("report", "tool", "rule", "risk", "attack", "target", "primary", "verdict", "limit", "policy", "flags")


def export(result: Result) -> bytes:
    """The text of the file: UTF-8 with commas. No spreadsheet computes any of its cells."""
    header = [*FIRST, "metric", "fpr", "unit", "level"]
    header += [f"{name}_{end}" if end != "value" else name for name in MEASURES for end in ENDS]
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow([*header, "plain"])
    writer.writerows([*map(cell, _line(result, f))] for f in result.findings)
    return written.getvalue().encode()


def _line(result: Result, finding: Finding) -> list[Any]:
    policy, measure = result.decision.policy, finding.measure
    line: list[Any] = [result.run.id, f"{result.run.tool.name} {result.run.tool.version}", finding.rule, finding.risk]
    line += [finding.attack.name, finding.target, finding.primary, finding.verdict]
    line += [finding.limit.excess if isinstance(finding.limit, Limit) else None]
    line += [policy.id if isinstance(policy, Policy) else None, " ".join(finding.validity.flags)]
    known = measure if isinstance(measure, Estimate) else None
    line += [getattr(known, name, None) for name in ("metric", "fpr", "unit", "level")]
    return [*line, *(end for name in MEASURES for end in _ends(getattr(finding, name))), finding.plain]


def _ends(measure: Measure) -> tuple[Any, ...]:
    if isinstance(measure, Estimate):
        return measure.value, measure.low, measure.high, measure.n, None
    return None, None, None, None, measure.unmeasured
