# pyright: strict
"""The dossier as PDF, by WeasyPrint; the same page."""

from __future__ import annotations

from testbed.findings.schema import Result
from testbed.report.exports import dossier, pdf
from testbed.report.facts import Facts

SUFFIX = ".dossier.pdf"


def export(result: Result, given: Facts | None = None) -> bytes:
    """The bytes of the file. Needs the extra `pdf`."""
    return pdf.printed(dossier.export(result, given).decode(), result)


def searched(result: Result, given: Facts | None = None) -> dict[str, bytes]:
    """What the disclosure gate searches in place of the file: the page that it is made of."""
    return {"dossier.html": dossier.export(result, given)}
