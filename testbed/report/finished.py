# pyright: strict, reportMissingTypeStubs=false
"""What a command called from Python gives back: a result to look at, to tabulate and to write; no row of data shows."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.core import Evidence
from testbed.core.disclosure import People
from testbed.core.shown import shown
from testbed.findings.numbers import short, what
from testbed.findings.schema import Estimate, Finding, Measure, Result
from testbed.report import store

if TYPE_CHECKING:
    import pandas as pd

LARGEST_HTML = 15_000
MOST_ROWS, MOST_REASONS, LONGEST = 20, 6, 300
"""Of the page that a notebook shows: its rows, its reasons, and the characters of a text."""
PARTS = ("measure", "control", "baseline", "excess")


@dataclass(frozen=True, slots=True, repr=False)
class Finished:
    """A finished command. `evidence`, `people` and `files` are private: `write` puts them where they belong."""

    result: Result
    evidence: Mapping[str, Evidence] = field(default_factory=dict[str, Evidence])
    people: People | None = None
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])

    def write(self, folder: str | Path) -> Path:
        """Write `share/`, past the disclosure gate, and `evidence/` under the folder, as the commands do.

        Raises `DisclosureError` where the report would tell of a single person, and `UsageError` for a folder that
        cannot be written.
        """
        return store.write(Path(folder), self.result, self.evidence, self.people, self.files)

    def to_frame(self) -> pd.DataFrame:
        """One row a finding: what it is, each cell's value with its interval, the excess, the verdict, the sentence.

        What could not be measured is a missing number, and `unmeasured` says why.
        """
        import pandas as pd

        return pd.DataFrame([_row(f) for f in self.result.findings])

    def __repr__(self) -> str:
        findings, decision = self.result.findings, self.result.decision
        primary = sum(f.primary for f in findings)
        policy = getattr(decision.policy, "id", "no policy")
        verdict = "no verdict" if decision.verdict == "none" else decision.verdict.upper()
        name = _cut(self.result.subject.name, 60)
        counted = f"{len(findings)} findings, {primary} primary"
        return f"<{self.result.run.command}: {verdict} on {name!r} ({policy}); {counted}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: verdict, reasons and primary findings, under 15 KB and without scripts."""
        for rows in range(MOST_ROWS, -1, -1):
            page = self._page(rows)
            if len(page.encode()) < LARGEST_HTML:
                return page
        return f"<p>{_escaped(repr(self), LONGEST)}</p>"

    def _page(self, most: int) -> str:
        findings, decision = self.result.findings, self.result.decision
        chosen = ([f for f in findings if f.primary] or findings)[:most]
        head = "".join(f"<th>{name}</th>" for name in ("risk", "attack", "measure", "control", "excess", "verdict"))
        reasons = [f"<li>{_escaped(f'{r.verdict}: {r.text}', LONGEST)}</li>" for r in decision.reasons[:MOST_REASONS]]
        left = len(findings) - len(chosen)
        return (
            f"<div><p><b>{_escaped(repr(self)[1:-1], LONGEST)}</b></p>"
            + (f"<ul>{''.join(reasons)}</ul>" if reasons else "")
            + f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(map(_cells, chosen))}</tbody></table>"
            + (
                f"<p>{left} further findings: see <code>to_frame()</code>, or <code>write(folder)</code>.</p>"
                if left
                else ""
            )
            + "</div>"
        )


def _row(finding: Finding) -> dict[str, Any]:
    row: dict[str, Any] = {
        "rule": finding.rule,
        "risk": finding.risk,
        "attack": finding.attack.name,
        "target": finding.target,
        "primary": finding.primary,
    }
    measured = isinstance(finding.measure, Estimate)
    for part in ("metric", "unit", "n"):
        row[part] = getattr(finding.measure, part) if measured else None
    for part in PARTS:
        measure: Measure = getattr(finding, part)
        known = isinstance(measure, Estimate)
        name = "value" if part == "measure" else part
        row[name] = measure.value if known else float("nan")
        row[f"{name}_low"] = measure.low if known else float("nan")
        row[f"{name}_high"] = measure.high if known else float("nan")
    row["unmeasured"] = None if isinstance(finding.measure, Estimate) else finding.measure.unmeasured
    return row | {"verdict": finding.verdict, "flags": ", ".join(finding.validity.flags), "plain": finding.plain}


def _cells(finding: Finding) -> str:
    name = finding.attack.name + (f": {finding.target}" if finding.target else "")
    kind = what(finding.measure)
    texts = [finding.risk.replace("_", " "), name, f"{short(finding.measure)} {kind}".strip()]
    texts += [short(finding.control), short(finding.excess), "-" if finding.verdict == "none" else finding.verdict]
    return f"<tr>{''.join(f'<td>{_escaped(t, 80)}</td>' for t in texts)}</tr>"


def _escaped(text: str, longest: int) -> str:
    return html.escape(_cut(text, longest))


def _cut(text: str, longest: int) -> str:
    text = shown(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
