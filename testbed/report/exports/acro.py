# pyright: strict
"""A folder as ACRO 1.0 writes it and SACRO-Viewer reads it, for the output checkers of a safe setting.

`results.json` lists what a checker approves or rejects, and `checksums/` holds the SHA-256 of each file. The first
record is the subject that was judged, with the verdict as its status; the subject's own file is not in the folder. The
records of the testbed's report have the status review: a person decides whether it may leave.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from html import escape
from typing import Any

from testbed.core.shown import shown
from testbed.findings.schema import Policy, Result
from testbed.report import html
from testbed.report.exports import csv_

SUFFIX = ".acro.zip"
VERSION = "1.0.2"
"""The version of ACRO whose form this is. SACRO-Viewer refuses versions older than the one it was built for."""
STATBARN = "https://www.w3id.org/statbarnsdc#"
STATUS = {"pass": "pass", "review": "review", "fail": "fail", "none": "review"}
"""A record's status by the verdict: without a policy, a person decides."""
SUBJECT, TABLE, PAGE = "verdict.txt", "findings.csv", "report.html"


def export(result: Result) -> bytes:
    """The folder as a zip file, without compression, so that equal results give equal bytes everywhere."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = f"{result.run.tool.name} {result.run.id}".encode("ascii", "replace")
        for name, content in sorted(searched(result).items()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def searched(result: Result) -> dict[str, bytes]:
    """The files of the folder by name; these are also what the disclosure gate searches."""
    outputs = {
        SUBJECT: _verdict(result).encode(),
        TABLE: csv_.export(result),
        PAGE: html.render(result).encode(),
    }
    tool = {"@type": "SoftwareApplication", "name": result.run.tool.name, "version": result.run.tool.version}
    note = GATE_NOTE if result.proof else UNPROVEN
    records = [
        _record(0, result, STATUS[result.decision.verdict], SUBJECT, _reasons(result), [SUBJECT_NOTE]),
        _record(1, result, "review", TABLE, "the findings, one line each", [note]),
        _record(2, result, "review", PAGE, "the report as a page", [note]),
    ]
    listed = {"version": VERSION, "tool": tool, "results": {record["uid"]: record for record in records}}
    files = {**outputs, "results.json": json.dumps(listed, indent=4, ensure_ascii=False).encode()}
    sums = {f"checksums/{name}.txt": hashlib.sha256(content).hexdigest().encode() for name, content in files.items()}
    return files | sums


SUBJECT_NOTE = (
    "This status is the verdict on the subject that was judged. Its own file is not in this folder; testbed verify "
    "--input tells whether a file is the one that was judged."
)
UNPROVEN = "Without proof: the result holds no digests, so nothing shows that it is as it was written."
GATE_NOTE = (
    "The testbed's disclosure gate passed this file when the result was written. This status is not the verdict on the "
    "subject: a report of a failed subject may leave."
)


def _record(
    number: int, result: Result, status: str, file: str, summary: str, comments: Sequence[str]
) -> dict[str, Any]:
    """One output in ACRO's form: of the type custom, which holds files that ACRO did not compute."""
    uid = f"output_{number}"
    command = result.proof.command if result.proof else None
    return {
        "uid": uid,
        "status": status,
        "type": "custom",
        "properties": _properties(result) if file == SUBJECT else {"method": "report"},
        "files": [{"name": file, "sdc": {}}],
        "outcome": {},
        "command": shown(command or f"testbed {result.run.command}"),
        # The viewer shows what stands before the first semicolon as the status, and takes the text as HTML.
        "summary": escape(f"{status}; {summary}"),
        "timestamp": result.run.created,
        "comments": [*comments],
        "exception": "",
        "fair": {},
    }


def _properties(result: Result) -> dict[str, Any]:
    """What was judged, and the StatBarn entries of the risks that were looked at."""
    policy = result.decision.policy
    entries = {t.id for f in result.findings for t in f.taxonomy if t.scheme == "StatBarn"}
    return {
        "method": result.run.command,
        "report": result.run.id,
        "verdict": result.decision.verdict,
        "policy": shown(policy.id) if isinstance(policy, Policy) else "none",
        "risks": [STATBARN + entry for entry in sorted(entries)],
    }


def _reasons(result: Result) -> str:
    reasons = [f"{reason.rule}: {reason.verdict}" for reason in result.decision.reasons]
    return "; ".join(reasons) or "no policy was applied, and nothing was decided"


def _verdict(result: Result) -> str:
    """What was judged, with its digests, the verdict and its reasons, as plain text."""
    subject, policy = result.subject, result.decision.policy
    lines = [
        f"Subject: {shown(subject.name)} ({subject.type.replace('_', ' ')}, {subject.size_band})",
        f"Report: {result.run.id}, {result.run.tool.name} {result.run.tool.version}",
        f"Policy: {shown(policy.id) if isinstance(policy, Policy) else 'none'}",
        f"Verdict: {html.VERDICTS[result.decision.verdict][0]}. {html.VERDICTS[result.decision.verdict][2]}",
    ]
    for one in result.proof.inputs if result.proof else []:
        keyed = " (keyed)" if one.keyed else ""
        lines.append(f"Judged: {shown(one.role)}, {shown(one.name)}, digest {one.digest}{keyed}")
    lines += [f"{r.rule} {r.verdict}: {shown(r.text)}" for r in result.decision.reasons]
    lines += [f"Not tested: {shown(text)}" for text in result.threat.not_tested]
    return "\n".join(lines) + "\n"
