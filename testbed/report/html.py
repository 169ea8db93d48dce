"""`report.html` from a result, and from nothing else: one file, no scripts, nothing outside it."""

from __future__ import annotations

import contextlib
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from testbed.core.errors import UsageError
from testbed.core.shown import shown
from testbed.findings.numbers import interval, short, units, what
from testbed.findings.schema import Estimate, Finding, Result, Unmeasured
from testbed.findings.validity import FLAGS
from testbed.harness.release.evaluations import MANY
from testbed.report import charts

MARK, LOOKED_AT = '<header class="strip ', 100_000
"""By which a report is known, within so many of its first bytes."""
VERDICTS = {
    "pass": ("PASS", "✓", "No reason found to stop under this policy; this is not a finding of anonymity."),
    "review": ("REVIEW", "?", "A person must decide; the reasons are below."),
    "fail": ("FAIL", "✕", "Do not release, or go on, as it is; the reasons are below."),
    "none": ("NO VERDICT", "–", "No policy was applied: these are measurements only."),
}
KNOWLEDGE = {
    "architecture": "the model's architecture",
    "auxiliary": "records of other people like them",
    "batch_size": "how many records a batch holds",
    "generator": "the generator's code",
    "hyper_parameters": "learning rate and number of parties",
    "known_columns": "a person's other attributes",
    "labels": "the classes in a batch",
    "recipe": "the whole pipeline, to run on own records",
    "queries": "answers of the model about records of the attacker's own making",
    "some_memberships": "the membership of half of the people asked about, never of those it then scores",
    "target_records": "the records that it asks about",
}


def render(result: Result) -> str:
    """The report as one HTML file. Does no arithmetic on findings; everything shown is in the result."""
    loader = PackageLoader("testbed", "report")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, finalize=_visible)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters |= {"interval": interval, "short": short, "units": units, "what": what}
    template = environment.get_template("report.html.j2")
    css = resources.files("testbed.report").joinpath("report.css").read_text(encoding="utf-8")
    primary = [f for f in result.findings if f.primary]
    return template.render(
        result=result,
        css=Markup(css),
        verdict=VERDICTS[result.decision.verdict],
        primary=primary,
        others=[f for f in result.findings if not f.primary],
        buckets=_buckets(result),
        charts=_charts(result, primary),
        unmeasured=_unmeasured(result),
        looped=(result.disclosure.evaluations or 0) >= MANY,
        flags=FLAGS,
        knowledge=KNOWLEDGE,
        is_unmeasured=lambda m: isinstance(m, Unmeasured),
    )


def writable(target: Path) -> None:
    """Raises `UsageError` unless a report may be written to `target`: an HTML file that is new or was a report."""
    if target.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            "TB-OUT-006",
            f"A report is HTML, and {target.name} says something else.",
            "A browser or a reader would take the file for what its name says.",
            "End the name in .html; a browser prints it as PDF.",
        )
    with contextlib.suppress(OSError):
        if target.exists() and MARK.encode() not in target.read_bytes()[:LOOKED_AT]:
            raise UsageError(
                "TB-OUT-003",
                f"{target.name} exists and is no report.",
                "It would be overwritten.",
                "Name another file.",
            )


def _visible(value: object) -> object:
    """Text of users without the characters that are invisible or turn it around; HTML escapes the rest."""
    return shown(value, lines=True) if isinstance(value, str) and not isinstance(value, Markup) else value


def _buckets(result: Result) -> list[tuple[str, list[str]]]:
    titles = {"fail": "Stops the release", "review": "Needs a person", "pass": "Speaks for the release"}
    made = [
        (title, [r.text for r in result.decision.reasons if r.verdict == verdict]) for verdict, title in titles.items()
    ]
    return [(title, texts) for title, texts in made if texts]


def _charts(result: Result, primary: list[Finding]) -> list[charts.Chart]:
    drawn = [charts.cells(primary), charts.excesses(result.findings)]
    drawn += [charts.series(s) for f in result.findings for s in f.series]
    return [c for c in drawn if c is not None][:12]


def _unmeasured(result: Result) -> list[tuple[str, str, str]]:
    """Attacks with something unmeasured that could have been: name, what, and what it needs."""
    found: list[tuple[str, str, str]] = []
    for finding in result.findings:
        for name in ("measure", "control", "baseline", "positive_control"):
            measure = getattr(finding, name)
            if not isinstance(measure, Estimate) and measure.unmeasured != "not_applicable":
                found.append((charts.name_of(finding), name.replace("_", " "), measure.needs))
                break
    return found[:20]
