"""Charts as hand-written SVG, drawn from the result's statistics alone, so that no record can reach them.

Every chart has a title and a description, and a table of the same numbers follows it. Coordinates have at most four
digits, so that the disclosure gate takes none for a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from testbed.findings.numbers import interval, number
from testbed.findings.schema import Estimate, Finding, Limit, Measure, Series
from testbed.report.drawing import GRID, INK, MUTED, WIDTH
from testbed.report.drawing import Chart as Chart
from testbed.report.drawing import at as _at
from testbed.report.drawing import clip as _clip
from testbed.report.drawing import line as _line
from testbed.report.drawing import mark as _mark
from testbed.report.drawing import svg as _svg
from testbed.report.drawing import text as _text

LEFT, RIGHT, ROW = 250, 24, 26
COLOURS = {"measure": "#a3333d", "control": "#1f5f8b", "baseline": "#6b6b6b", "positive control": "#8a6d00"}
MARKS = {"measure": "circle", "control": "square", "baseline": "diamond", "positive control": "triangle"}
MOST_ROWS = 14
"""Rows of the excess chart at most."""


def _axis(low: float, high: float, top: float, bottom: float, label: str, percent: bool) -> tuple[list[str], float]:
    """Grid lines with labels: their SVG parts, and the pixels per unit of the axis."""
    scale = (WIDTH - LEFT - RIGHT) / (high - low)
    step = next(s for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if (high - low) / s <= 8)
    parts: list[str] = []
    tick = math.ceil(low / step - 1e-9) * step
    while tick <= high + 1e-9:
        x = LEFT + (tick - low) * scale
        parts.append(_line(x, top, x, bottom, GRID))
        words = f"{100 * tick:.3g} %" if percent else f"{tick:.3g}"
        parts.append(_text(x, bottom + 16, words, "middle", MUTED, 11))
        tick += step
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, bottom + 34, label, "middle", MUTED, 11))
    return parts, scale


def name_of(finding: Finding) -> str:
    """The risk in words, with the attack's name if it differs, and the target if there is one."""
    risk = finding.risk.replace("_", " ")
    attack = "" if finding.attack.name == finding.risk else f" ({finding.attack.name})"
    return f"{risk}{attack}: {finding.target}" if finding.target else risk + attack


NO_SHARES = ("psnr_db", "epsilon_lower", "epsilon_upper")
"""Metrics that are no share of guesses, and have no place on an axis from 0 to 1."""


def cells(findings: Sequence[Finding]) -> Chart | None:
    """Chart of the attack's success with its control, baseline and positive control, one block a finding.

    None if no finding was measured as a share of guesses.
    """
    shown = [f for f in findings if isinstance(f.measure, Estimate) and f.measure.metric not in NO_SHARES]
    if not shown:
        return None
    block = 4 * 15 + 18
    bottom = 34 + block * len(shown)
    parts, scale = _axis(0, 1, 26, bottom, "share of guesses that are right", True)
    rows: list[list[str]] = []
    x = LEFT
    for name, kind in MARKS.items():
        parts += [_mark(kind, x, 10, COLOURS[name], 4), _text(x + 9, 14, name, size=11)]
        x += 30 + 7 * len(name)
    for i, finding in enumerate(shown):
        y = 34 + block * i
        parts.append(_text(0, y + 34, _clip(name_of(finding))))
        measures: dict[str, Measure] = {
            "measure": finding.measure,
            "control": finding.control,
            "baseline": finding.baseline,
            "positive control": finding.positive_control,
        }
        for j, (name, measure) in enumerate(measures.items()):
            if isinstance(measure, Estimate):
                at = y + 12 + 15 * j
                ends = (LEFT + measure.low * scale, LEFT + measure.high * scale)
                parts.append(_line(ends[0], at, ends[1], at, COLOURS[name], 2))
                parts.append(_mark(MARKS[name], LEFT + measure.value * scale, at, COLOURS[name], 4.5))
        rows.append([name_of(finding), *(interval(m) for m in measures.values())])
    caption = (
        "Further right is worse for the people in the data. The measure (circle) is the attack's success on them. The "
        "control (square) is its success on people whose records were not used. The distance from control to measure "
        "is leakage. The baseline (diamond) is success by luck and prior knowledge. The positive control (triangle) "
        "shows that the attack can succeed."
    )
    svg = _svg(bottom + 42, "Attack, control, baseline and positive control", caption, parts)
    return Chart(svg, caption, ["attack", *measures_header()], rows)


def measures_header() -> list[str]:
    return list(MARKS)


def excesses(findings: Sequence[Finding]) -> Chart | None:
    """Chart of the excess of every attack over its control, deciding attacks first, with the policy's limits."""
    measured = [(f, f.excess) for f in findings if isinstance(f.excess, Estimate)]
    ordered = sorted(measured, key=lambda m: (not m[0].primary, -m[1].value))
    if not ordered:
        return None
    shown = ordered[:MOST_ROWS]
    limits = [f.limit.excess for f, _ in shown if isinstance(f.limit, Limit)]
    low = min(0.0, *(e.low for _, e in shown)) if shown else 0.0
    high = max(0.02, *(e.high for _, e in shown), *limits) if shown else 1.0
    pad = 0.04 * (high - low)
    low, high = low - pad, high + pad
    bottom = 24 + ROW * len(shown)
    parts, scale = _axis(low, high, 12, bottom, "excess over people whose records were not used", True)
    parts.append(_line(LEFT - low * scale, 12, LEFT - low * scale, bottom, INK, 1.4))
    for i, (finding, excess) in enumerate(shown):
        y = 26 + ROW * i
        colour = COLOURS["measure"] if finding.primary else COLOURS["control"]
        parts.append(_text(0, y + 4, _clip(("● " if finding.primary else "") + name_of(finding))))
        parts.append(_line(LEFT + (excess.low - low) * scale, y, LEFT + (excess.high - low) * scale, y, colour, 2))
        parts.append(
            _mark("circle" if finding.primary else "diamond", LEFT + (excess.value - low) * scale, y, colour, 4)
        )
        if isinstance(finding.limit, Limit):
            at = LEFT + (finding.limit.excess - low) * scale
            parts.append(_line(at, y - 12, at, y + 12, INK, 2, "3 3"))
    caption = "Further right is worse. Zero means that the attack learnt nothing beyond what it learns about anyone. "
    caption += "Each end of a line is a bound with 95 % confidence. ● marks attacks that decide. A dashed line is the "
    caption += "policy's limit. "
    if len(ordered) > len(shown):
        caption += f"The other {len(ordered) - len(shown)} attacks stand in the table of findings only."
    rows = [[name_of(f), "decides" if f.primary else "informs", interval(e)] for f, e in shown]
    return Chart(
        _svg(bottom + 42, "Excess over the control", caption, parts), caption, ["attack", "role", "excess"], rows
    )


def series(given: Series) -> Chart | None:
    """Chart of a finding's own series: a ROC on logarithmic axes, bars with intervals, or a line. None if empty."""
    if given.kind == "bars":
        return _bars(given)
    if not given.x:
        return None
    return _roc(given) if given.kind == "roc" else _lines(given)


def _bars(given: Series) -> Chart | None:
    if not given.labels:
        return None
    apart = "distance" in given.x_label
    percent = "dB" not in given.x_label and not apart
    ends = [*given.low, *given.high, *given.x, 0.0]
    low, high = min(ends), max(ends)
    high = high + 0.05 * (high - low) if high > low else low + 1
    bottom = 20 + 20 * len(given.labels)
    parts, scale = _axis(low, high, 8, bottom, given.x_label, percent)
    for i, label in enumerate(given.labels):
        y = 20 + 20 * i
        parts.append(_text(0, y + 4, _clip(label)))
        if given.low and given.high:
            parts.append(
                _line(LEFT + (given.low[i] - low) * scale, y, LEFT + (given.high[i] - low) * scale, y, MUTED, 2)
            )
        parts.append(_mark("circle", LEFT + (given.x[i] - low) * scale, y, COLOURS["control"], 4))
    direction = "Further left is more alike." if apart else "Further right is more."
    caption = f"{given.name}: {given.x_label}, by {given.y_label}. {direction}"
    metric = "rate" if percent else "auc" if apart else "psnr_db"
    rows = [
        [label, number(given.x[i], metric)]
        + ([number(given.low[i], metric), number(given.high[i], metric)] if given.low else [])
        for i, label in enumerate(given.labels)
    ]
    header = [given.y_label, "value", *(["from", "to"] if given.low else [])]
    return Chart(_svg(bottom + 42, given.name, caption, parts), caption, header, rows)


def _lines(given: Series) -> Chart:
    """Chart of shares (y) by a quantity (x), from zero, with the interval of each share where there is one."""
    size, left, top = 320.0, 90.0, 14.0
    most = max(given.x)

    def at(x: float, share: float) -> str:
        return f"{_at(left + x / most * size if most > 0 else left)},{_at(top + size - share * size)}"

    parts = [f'<rect x="{left:g}" y="{top:g}" width="{size:g}" height="{size:g}" fill="none" stroke="{GRID}"/>']
    for x, low, high in zip(given.x, given.low, given.high, strict=False):
        parts.append(f'<polyline points="{at(x, low)} {at(x, high)}" stroke="{MUTED}" stroke-width="2"/>')
    points = " ".join(at(x, y) for x, y in zip(given.x, given.y, strict=True))
    parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS["measure"]}" stroke-width="2"/>')
    parts += [_text(left - 6, top + size * (1 - s) + 4, f"{100 * s:.0f} %", "end", MUTED, 11) for s in (0.0, 0.5, 1.0)]
    parts += [_text(left, top + size + 16, "0", "middle", MUTED, 11)]
    parts += [_text(left + size, top + size + 16, f"{most:g}", "middle", MUTED, 11)]
    parts.append(_text(left + size / 2, top + size + 34, given.x_label, "middle", MUTED, 11))
    parts.append(_text(left + size + 12, top + 12, f"upwards: {given.y_label}", "start", MUTED, 11))
    caption = f"{given.name}: {given.y_label}, by {given.x_label}. Higher is more."
    rows = [
        [f"{x:g}", number(y, "rate"), *(number(end[i], "rate") for end in (given.low, given.high) if end)]
        for i, (x, y) in enumerate(zip(given.x, given.y, strict=True))
    ]
    header = [given.x_label, given.y_label, *(["from", "to"] if given.low else [])]
    return Chart(_svg(top + size + 42, given.name, caption, parts), caption, header, rows)


def _roc(given: Series) -> Chart:
    size, left, top = 320.0, 90.0, 14.0
    floor = min(v for v in [*given.x, *given.y, 0.1] if v > 0)

    def place(value: float) -> float:
        return 0.0 if value <= floor else 1 - math.log(value) / math.log(floor)

    parts = [f'<rect x="{left:g}" y="{top:g}" width="{size:g}" height="{size:g}" fill="none" stroke="{GRID}"/>']
    tick = 1.0
    while tick >= floor * 0.999:
        at = place(tick) * size
        parts += [
            _line(left + at, top, left + at, top + size, GRID),
            _line(left, top + size - at, left + size, top + size - at, GRID),
        ]
        label = f"{100 * tick:.3g} %"
        parts += [
            _text(left + at, top + size + 16, label, "middle", MUTED, 11),
            _text(left - 6, top + size - at + 4, label, "end", MUTED, 11),
        ]
        tick /= 10
    points = " ".join(
        f"{_at(left + place(x) * size)},{_at(top + size - place(y) * size)}"
        for x, y in zip(given.x, given.y, strict=True)
    )
    parts.append(_line(left, top + size, left + size, top, MUTED, 1.4, "5 4"))
    parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS["measure"]}" stroke-width="2"/>')
    parts.append(_text(left + size / 2, top + size + 34, given.x_label, "middle", MUTED, 11))
    parts.append(_text(left + size + 12, top + 12, f"upwards: {given.y_label}", "start", MUTED, 11))
    parts.append(_text(left + size + 12, top + 30, "dashed: guessing", "start", MUTED, 11))
    caption = (
        f"{given.name}, with logarithmic axes: the share of members recognised, by the share of non-members wrongly "
        "accused. Above the dashed line the attack is better than guessing, which is worse for the people in the data."
    )
    rows = [[number(x, "rate"), number(y, "rate")] for x, y in zip(given.x, given.y, strict=True)]
    return Chart(_svg(top + size + 42, given.name, caption, parts), caption, [given.x_label, given.y_label], rows)
