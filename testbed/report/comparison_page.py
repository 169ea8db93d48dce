"""A comparison as files: `comparison.html`, one page without scripts, `comparison.csv`, and `comparison.json`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from testbed.core.shown import cell, shown
from testbed.findings.comparison import pairs
from testbed.findings.comparison.schema import Comparison, Difference, Leak, Setting, Use
from testbed.findings.numbers import interval, number, short
from testbed.findings.schema import Estimate, Measure
from testbed.report import frontier, templates

LARGEST_PAGE = 300_000
MOST_SETTINGS, MOST_COLUMNS, MOST_ATTACKS, MOST_PAIRS = 120, 24, 40, 150
"""What the page shows at most. All of it stands in the JSON file, and all settings in the CSV file."""
VERDICTS = {
    "pass": ("PASS", "✓", "A setting meets the policy against the strongest attacker that was run."),
    "review": ("REVIEW", "?", "A person must decide which setting to use."),
    "fail": ("FAIL", "✕", "No setting that was tested meets the policy."),
    "none": ("NO VERDICT", "–", "No policy was applied: these are measurements only."),
}
ADAPTIVE = {
    True: "tried by an attacker that knows it",
    False: "only tried by attackers that do not know it",
}
WHY = {
    "other_code": "of code that has changed since",
    "other_data": "of data that have changed since",
    "failed": "failed",
    "damaged": "whose result.json is not the one that was written",
}


def to_json(compared: Comparison) -> str:
    """The text of `comparison.json`."""
    return compared.model_dump_json(by_alias=True, exclude_none=True, indent=2) + "\n"


def render(compared: Comparison) -> str:
    """The page as the text of one HTML file under 300 KB; the more settings, the fewer of them it shows."""
    for share in (1.0, 0.5, 0.2, 0.05):
        page = _page(compared, share)
        if len(page.encode()) < LARGEST_PAGE:
            break
    return page


def _page(compared: Comparison, share: float) -> str:
    environment = templates.environment()
    environment.filters |= {"interval": interval, "short": short, "points": _points, "probability": _probability}
    environment.filters |= {"range": _range, "breakable": _breakable}
    most = max(2, round(MOST_SETTINGS * share))
    columns, matrix, hidden = _matrix(compared, max(2, round(MOST_COLUMNS * share)))
    ranked = sorted(compared.differences, key=lambda d: (d.adjusted_p is None, d.adjusted_p or 0.0))
    return environment.get_template("comparison.html.j2").render(
        c=compared,
        css=Markup(templates.style()),
        verdict=VERDICTS[compared.decision.verdict],
        use=compared.main_utility,
        most=most,
        places={s.name: n for n, s in enumerate(compared.settings, 1)},
        charts=frontier.charts(compared),
        columns=columns,
        matrix=matrix,
        hidden=hidden,
        differences=ranked[: max(2, round(MOST_PAIRS * share))],
        sure=pairs.SURE,
        adaptive=ADAPTIVE,
        why=WHY,
        times=list(compared.run.environment.seconds.items())[:most],
    )


def _points(value: float) -> str:
    return number(value, "excess")


def _range(measure: Estimate) -> str:
    low, high = (number(v, measure.metric).partition(" ")[0] for v in (measure.low, measure.high))
    return f"{low} to {high}"


def _breakable(name: str) -> Markup:
    """A setting's name that may be broken after a comma or an equals sign, and nowhere else."""
    return Markup(str(escape(shown(name))).replace("=", "=<wbr>"))


def _probability(p: float) -> str:
    return "below .001" if p < 0.001 else f"{p:.3f}"


def _matrix(compared: Comparison, most: int) -> tuple[list[str], list[tuple[str, list[str]]], int]:
    """Attacks by settings: the names of the columns, the rows, and how many of both are not shown."""
    columns = [s.name for s in compared.settings]
    rows: dict[str, dict[str, str]] = {}
    for entry in compared.matrix:
        target = f": {entry.target}" if entry.target else ""
        name = f"{'● ' if entry.primary else ''}{entry.risk.replace('_', ' ')} ({entry.attack}{target})"
        rows.setdefault(name, {})[entry.setting] = _cell(entry.excess)
    shown_rows = sorted(rows.items(), key=lambda row: not row[0].startswith("●"))[:MOST_ATTACKS]
    hidden = len(rows) - len(shown_rows) + max(0, len(columns) - most)
    names = columns[:most]
    return names, [(name, [row.get(column, "–") for column in names]) for name, row in shown_rows], hidden


def _cell(measure: Measure) -> str:
    if not isinstance(measure, Estimate):
        return f"({measure.unmeasured.replace('_', ' ')})"
    return "{} ({} to {})".format(
        *(_points(v).removesuffix(" points") for v in (measure.value, measure.low, measure.high))
    )


COLUMNS = ("setting", "runs", "risk", "attack", "attacks")
ENDS = ("measure", "control", "excess")


def table(compared: Comparison) -> tuple[list[str], list[list[Any]]]:
    """Header and lines of one table: a line a setting and risk, with every figure of utility."""
    keys = list(dict.fromkeys(k for s in compared.settings for k in s.params))
    uses = list(dict.fromkeys(u.name for s in compared.settings for u in s.utility))
    header = [*COLUMNS, *(f"param:{k}" for k in keys)]
    header += [f"{name}{end}" for name in ENDS for end in ("", "_low", "_high")]
    header += ["excess_upper_of_all", "limit", "verdict", "letters", "dominated", "guarantee", "epsilon", "adaptive"]
    header += ["bytes", "bytes_smallest"]
    header += [f"{kind}:{name}{end}" for name in uses for kind in ("utility", "cost") for end in ("", "_low", "_high")]
    lines = [[*_of_leak(s, leak, keys), *_of_use(s, uses)] for s in compared.settings for leak in s.leaks]
    return header, lines


def to_csv(compared: Comparison) -> str:
    """The text of `comparison.csv`; no spreadsheet computes any of its cells."""
    header, lines = table(compared)
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerows([*map(cell, line)] for line in (header, *lines))
    return written.getvalue()


def _of_leak(setting: Setting, leak: Leak, keys: Sequence[str]) -> list[Any]:
    row: list[Any] = [setting.name, setting.runs, leak.risk, leak.attack, leak.attacks]
    row += [setting.params.get(k) for k in keys]
    row += [end for name in ENDS for end in _ends(getattr(leak, name))]
    row += [leak.upper, getattr(leak.limit, "excess", None), leak.verdict, leak.letters, leak.dominated]
    row.append(" + ".join(p.guarantee for p in setting.protections) or "no defence")
    row.append(
        " + ".join(f"{e.value:g}" if isinstance(e := p.epsilon, Estimate) else "none" for p in setting.protections)
    )
    row.append(" + ".join("yes" if p.adaptive else "no" for p in setting.protections))
    row += [setting.traffic.dense, setting.traffic.smallest] if setting.traffic else [None, None]
    return row


def _of_use(setting: Setting, uses: Sequence[str]) -> list[Any]:
    by_name: dict[str, Use] = {u.name: u for u in setting.utility}
    found = [by_name.get(name) for name in uses]
    return [end for use in found for m in ((use.measure, use.cost) if use else (None, None)) for end in _ends(m)]


def _ends(measure: Measure | None) -> tuple[Any, Any, Any]:
    """Value, low and high; empty if it is unmeasured."""
    return (measure.value, measure.low, measure.high) if isinstance(measure, Estimate) else (None, None, None)


def differences_frame(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    """One row a pair, for a data frame."""
    return [
        {
            "risk": d.risk,
            "one": d.one,
            "other": d.other,
            **dict(zip(("difference", "low", "high"), _ends(d.difference), strict=True)),
            "p": d.p,
            "adjusted_p": d.adjusted_p,
        }
        for d in differences
    ]
