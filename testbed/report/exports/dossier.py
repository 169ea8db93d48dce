# pyright: strict
"""The dossier: a result's findings in the order of the questions that data-protection authorities ask. No conclusion.

One HTML page without scripts. What no measurement can tell comes from a form (`testbed.report.facts`); where it was not
given, the page has a blank line to be filled in by hand.
"""

from __future__ import annotations

import html as html_
import re

from testbed.core.errors import UsageError
from testbed.findings.schema import Result
from testbed.report import facts, html, questions

SUFFIX = ".dossier.html"
FORM = re.compile(r'<pre id="form">(.*?)</pre>', re.DOTALL)
"""Where the page holds the form as it was given."""


def export(result: Result, given: facts.Facts | None = None) -> bytes:
    """The text of the page. Raises `UsageError` for an exercise, which has no dossier."""
    answered = questions.answered(result)
    text = html.page(
        "dossier.html.j2",
        result,
        given=given or facts.Facts(),
        form=given.text() if given else "",
        labels=facts.LABELS,
        answered=answered,
        counts={s: sum(a.status == s for a in answered) for s in ("tested", "not tested", "not testable")},
        remaining=questions.remaining(result),
        verdict=html.VERDICTS[result.decision.verdict],
    )
    return text.encode()


def read_back(content: bytes) -> facts.Facts | None:
    """The form that a page was made with, so that the page can be made again; None if there is none."""
    found = FORM.search(content.decode("utf-8", "replace"))
    try:
        return facts.parse(html_.unescape(found[1])) if found else None
    except UsageError:
        return None
