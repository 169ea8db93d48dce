"""`report.html`, made from a result and nothing else: one file, without scripts or external references."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from markupsafe import Markup

from testbed.core.errors import UsageError
from testbed.findings.numbers import interval, range_, short, units, what
from testbed.findings.policy import RULED
from testbed.findings.remedies import Parts, parts
from testbed.findings.schema import Estimate, Finding, Result, Unmeasured
from testbed.findings.validity import FLAGS, NEXT
from testbed.findings.waivers import SEVERITY
from testbed.harness.release.evaluations import MANY
from testbed.report import charts, columns, languages, templates

MARK, LOOKED_AT = '<header class="strip ', 100_000
"""A string that every report holds, and the number of first bytes in which it is searched."""
ID = re.compile(r"[0-9a-f]{8,64}")
"""A run's id as the testbed writes it. Another one is not put into the page's style sheet."""
VERDICTS = {
    "pass": ("PASS", "✓", "No reason found to stop under this policy; this is not a finding of anonymity."),
    "review": ("REVIEW", "?", "A person must decide. The reasons, each with what to do, are below."),
    "fail": ("FAIL", "✕", "Do not release or continue as it is. The reasons, each with what to do, are below."),
    "none": ("NO VERDICT", "–", "No policy was applied: these are measurements only."),
}
"""Each verdict's word, sign and explanation."""
TITLES: dict[str, str] = {
    "fail": "Reasons to stop",
    "review": "A person must decide",
    "pass": "No reason found to stop",
    "none": "Not applicable",
}
"""The titles of the reasons, by their verdict."""
KNOWLEDGE = {
    "architecture": "the model's architecture",
    "auxiliary": "records of other people from the same population",
    "batch_size": "how many records a batch holds",
    "defence": "which defences are used, with their parameters but without their noise",
    "generator": "the generator's code",
    "hyper_parameters": "learning rate and number of parties",
    "known_columns": "a person's other attributes",
    "labels": "the classes in a batch",
    "recipe": "the whole pipeline, which the attacker can run on its own records",
    "queries": "the model's answers about records that the attacker makes up",
    "some_memberships": "the membership of half of the people asked about, while only the other half is then scored",
    "some_sites": "at which hospital some other people are",
    "target_records": "the records of the people asked about",
}
"""What an attacker may know beforehand, in words."""


def render(result: Result, lang: str = languages.ENGLISH) -> str:
    """The report as the text of one HTML file. It shows only what the result holds, without arithmetic on findings.

    In another language than English its frame is translated; sentences about this result stay English.
    """
    primary = [f for f in result.findings if f.primary]
    return page(
        "report.html.j2",
        result,
        verdict=VERDICTS[result.decision.verdict],
        primary=primary,
        others=[f for f in result.findings if not f.primary],
        buckets=_buckets(result),
        charts=_charts(result, primary),
        columns=columns.rows(result),
        risks=_worst_by_risk(primary),
        ruled=RULED,
        unmeasured=_unmeasured(result),
        looped=(result.disclosure.evaluations or 0) >= MANY,
        steps=NEXT,
        lang=lang,
    )


def page(template: str, result: Result, **values: object) -> str:
    """A page about a result, by the template of that name: with the report's style, filters and words."""
    environment = templates.environment()
    environment.filters |= {"interval": interval, "range": range_, "short": short, "units": units, "what": what}
    lang = str(values.setdefault("lang", languages.ENGLISH))
    environment.filters["word"] = languages.word(lang)
    return environment.get_template(template).render(
        result=result,
        _=languages.frame(lang),
        english=Markup("" if lang == languages.ENGLISH else ' lang="en"'),
        proof=result.proof,
        printed_id=result.run.id if ID.fullmatch(result.run.id) else "of unknown id",
        css=Markup(templates.style()),
        flags=FLAGS,
        knowledge=KNOWLEDGE,
        is_unmeasured=lambda m: isinstance(m, Unmeasured),
        **values,
    )


def writable(target: Path) -> None:
    """Raises `UsageError` unless a report may be written to `target`: an .html file that is new or holds a report."""
    if target.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            "TB-OUT-006",
            f"A report is HTML, but the name {target.name} does not end in .html.",
            "Other programs would read the file as something else.",
            "End the name in .html. To have a PDF: testbed export RUN --to pdf.",
        )
    with contextlib.suppress(OSError):
        if target.exists() and MARK.encode() not in target.read_bytes()[:LOOKED_AT]:
            raise UsageError(
                "TB-OUT-008",
                f"{target.name} exists and is not a report.",
                "It would be overwritten.",
                "Name another file.",
            )


def _buckets(result: Result) -> list[tuple[str, list[Parts]]]:
    """The decision's reasons, each in its parts, under a title for each verdict, the gravest first."""
    buckets = [
        (title, [parts(r.text) for r in result.decision.reasons if r.verdict == verdict])
        for verdict, title in TITLES.items()
    ]
    return [(title, texts) for title, texts in buckets if texts]


def _worst_by_risk(primary: list[Finding]) -> list[Finding]:
    """The finding of each risk that weighs most, the gravest first."""

    def weight(finding: Finding) -> tuple[int, float]:
        worst = finding.excess.high if isinstance(finding.excess, Estimate) else 2.0
        return SEVERITY[finding.verdict], worst

    worst: dict[str, Finding] = {}
    for finding in sorted(primary, key=weight, reverse=True):
        worst.setdefault(finding.risk, finding)
    return list(worst.values())


def _charts(result: Result, primary: list[Finding]) -> list[charts.Chart]:
    drawn = [charts.cells(primary), charts.excesses(result.findings)]
    drawn += [charts.series(s) for f in result.findings for s in f.series]
    return [c for c in drawn if c is not None][:12]


def _unmeasured(result: Result) -> list[tuple[str, str, str]]:
    """The first unmeasured field of each finding: the attack's name, the field, and what it needs."""
    missing: list[tuple[str, str, str]] = []
    for finding in result.findings:
        for name in ("measure", "control", "baseline", "positive_control"):
            measure = getattr(finding, name)
            if not isinstance(measure, Estimate) and measure.unmeasured != "not_applicable":
                missing.append((charts.name_of(finding), name.replace("_", " "), measure.needs))
                break
    return missing[:20]
