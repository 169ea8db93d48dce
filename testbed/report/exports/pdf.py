# pyright: strict, reportMissingTypeStubs=false
"""PDF of the report's page, by WeasyPrint; nothing is fetched."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Generator
from datetime import datetime
from typing import Any, cast

from testbed.findings.schema import Result
from testbed.report import html

SUFFIX = ".pdf"
DATE = "SOURCE_DATE_EPOCH"
"""The environment variable from which embedded fonts take their date; without it equal pages differ."""


def export(result: Result) -> bytes:
    """The bytes of the file; the same page as report.html. Needs the extra `pdf`."""
    return printed(html.render(result), result)


def searched(result: Result) -> dict[str, bytes]:
    """What the disclosure gate searches in place of the file: the page that it is made of."""
    return {"report.html": html.render(result).encode()}


def printed(page: str, result: Result) -> bytes:
    """A page about a result as PDF. Needs the extra `pdf`.

    Equal pages give equal bytes with the same version of WeasyPrint and the same fonts.
    """
    import weasyprint
    from weasyprint.urls import URLFetcher

    logging.getLogger("weasyprint").setLevel(logging.ERROR)  # it warns of rules that are meant for browsers
    name = f"{result.run.tool.name} {result.run.id}".encode()
    document: Any = weasyprint.HTML(string=page, url_fetcher=URLFetcher(allowed_protocols={"data"}))
    with _dated(result.run.created):
        return cast("bytes", document.write_pdf(pdf_identifier=name))


@contextlib.contextmanager
def _dated(created: str) -> Generator[None]:
    before = os.environ.get(DATE)
    try:
        os.environ[DATE] = str(int(datetime.fromisoformat(created).timestamp()))
    except ValueError:
        os.environ[DATE] = "0"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(DATE)
        else:
            os.environ[DATE] = before
