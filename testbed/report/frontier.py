# pyright: strict
"""Charts of a comparison: leakage against utility, and the excess of each setting, with the policy's limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from testbed.findings.comparison.schema import Comparison, Leak, Setting
from testbed.findings.comparison.settings import leak_of, utility_of
from testbed.findings.numbers import interval, number
from testbed.findings.schema import Estimate, Limit, Risk
from testbed.report.drawing import GRID, INK, MUTED, WIDTH, Chart, clip, line, mark, svg, text

LEFT, TOP, HEIGHT, SIDE = 80.0, 16.0, 340.0, 24.0
LEAKY, SAFE = "#a3333d", "#e3f0e7"
MOST_POINTS = 40
"""Settings that a chart shows at most, those that nothing dominates first."""
NAMES, ROW = 250.0, 24.0


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to pixels, along one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        span = self.high - self.low
        step = next(s for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 100) if span / s <= 8)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _scale(values: Sequence[float], start: float, end: float) -> _Scale:
    low, high = min(values), max(values)
    pad = 0.05 * (high - low) or 0.05
    return _Scale(low - pad, high + pad, start, end)


def _points(compared: Comparison, risk: Risk) -> list[tuple[int, Setting, Leak, Estimate]]:
    """The settings with a measured excess, each with its number in the table, as many as fit."""
    found = [
        (place, setting, leak, leak.excess)
        for place, setting in enumerate(compared.settings, 1)
        if (leak := leak_of(setting, risk)) is not None and isinstance(leak.excess, Estimate)
    ]
    ahead = sorted(found, key=lambda point: (point[2].dominated, point[0]))[:MOST_POINTS]
    return sorted(ahead, key=lambda point: point[0])


def charts(compared: Comparison) -> list[Chart]:
    """For each risk the frontier where utility was measured, else the excess of each setting."""
    risks: list[Risk] = [leak.risk for setting in compared.settings for leak in setting.leaks]
    risks = list(dict.fromkeys(risks))
    drawn = [frontier(compared, risk) or excesses(compared, risk) for risk in risks[:6]]
    return [chart for chart in drawn if chart is not None]


def frontier(compared: Comparison, risk: Risk) -> Chart | None:
    """Chart of leakage (up is worse) against utility (right is better), with intervals both ways and the area that the
    policy accepts. None if fewer than two settings have both."""
    use = compared.main_utility
    points = [(n, s, k, e, u) for n, s, k, e in _points(compared, risk) if (u := utility_of(s, use)) is not None]
    if len(points) < 2:
        return None
    limits = [k.limit.excess for _, _, k, _, _ in points if isinstance(k.limit, Limit)]
    across = _scale([v for *_, u in points for v in (u.low, u.high)], LEFT, WIDTH - SIDE)
    up = _scale([0.0, *limits, *(v for _, _, _, e, _ in points for v in (e.low, e.high))], TOP + HEIGHT, TOP)
    parts: list[str] = []
    if limits:
        y = up(min(limits))
        parts.append(_area(LEFT, y, WIDTH - SIDE, TOP + HEIGHT))
    percent = points[0][4].metric not in ("auc", "psnr_db")
    for tick in across.ticks():
        parts.append(line(across(tick), TOP, across(tick), TOP + HEIGHT, GRID))
        words = f"{100 * tick:.3g} %" if percent else f"{tick:.3g}"
        parts.append(text(across(tick), TOP + HEIGHT + 16, words, "middle", MUTED, 11))
    for tick in up.ticks():
        parts.append(line(LEFT, up(tick), WIDTH - SIDE, up(tick), GRID))
        parts.append(text(LEFT - 6, up(tick) + 4, f"{100 * tick:.3g}", "end", MUTED, 11))
    if limits:
        parts.append(line(LEFT, up(min(limits)), WIDTH - SIDE, up(min(limits)), INK, 1.5, "4 3"))
        parts.append(text(WIDTH - SIDE - 4, up(min(limits)) - 5, "the policy's limit", "end", INK, 11))
    for place, _, leak, excess, useful in points:
        x, y = across(useful.value), up(excess.value)
        parts.append(line(across(useful.low), y, across(useful.high), y, LEAKY, 1.2))
        parts.append(line(x, up(excess.low), x, up(excess.high), LEAKY, 1.2))
        parts.append(mark("circle", x, y, LEAKY, 5, hollow=leak.dominated))
        parts.append(text(x + 8, y - 6, str(place), colour=INK, size=11))
    parts.append(text((LEFT + WIDTH - SIDE) / 2, TOP + HEIGHT + 34, clip(str(use), 90), "middle", MUTED, 11))
    parts.append(text(LEFT, TOP - 5, "excess in points", "start", MUTED, 11))
    caption = "Further down leaks less, further right is more useful. Numbers are those of the settings in the table. "
    caption += (
        "Lines are intervals. A hollow point is dominated: another setting leaks no more, is no less useful, and "
    )
    caption += "is better in one of the two. "
    caption += "The policy accepts the shaded area." if limits else "No policy was applied."
    rows = [[str(n), s.name, interval(e), interval(u), "yes" if k.dominated else "no"] for n, s, k, e, u in points]
    title = f"Leakage against utility: {risk.replace('_', ' ')}"
    return Chart(
        svg(TOP + HEIGHT + 42, title, caption, parts),
        caption,
        ["number", "setting", "excess", str(use), "dominated"],
        rows,
    )


def excesses(compared: Comparison, risk: Risk) -> Chart | None:
    """Chart of the strongest attack's excess under each setting, with the area that the policy accepts."""
    points = _points(compared, risk)
    if not points:
        return None
    limits = [k.limit.excess for _, _, k, _ in points if isinstance(k.limit, Limit)]
    bottom = 16 + ROW * len(points)
    across = _scale([0.0, *limits, *(v for *_, e in points for v in (e.low, e.high))], NAMES, WIDTH - SIDE)
    parts = [_area(NAMES, 8, across(min(limits)), bottom)] if limits else []
    for tick in across.ticks():
        parts.append(line(across(tick), 8, across(tick), bottom, GRID))
        parts.append(text(across(tick), bottom + 16, f"{100 * tick:.3g}", "middle", MUTED, 11))
    if limits:
        parts.append(line(across(min(limits)), 8, across(min(limits)), bottom, INK, 1.5, "4 3"))
    for row, (place, setting, _, excess) in enumerate(points):
        y = 22 + ROW * row
        parts.append(text(0, y + 4, clip(f"{place}  {setting.name}")))
        parts.append(line(across(excess.low), y, across(excess.high), y, LEAKY, 2))
        parts.append(mark("circle", across(excess.value), y, LEAKY, 4))
    parts.append(text((NAMES + WIDTH - SIDE) / 2, bottom + 34, "excess in points", "middle", MUTED, 11))
    caption = "Further right leaks more. Each point is the strongest attack that was run under a setting, and its line "
    caption += "is the interval. " + ("The policy accepts the shaded area." if limits else "No policy was applied.")
    rows = [[str(n), s.name, k.attack, number(e.value, "excess"), interval(e)] for n, s, k, e in points]
    title = f"Leakage of each setting: {risk.replace('_', ' ')}"
    header = ["number", "setting", "strongest attack", "excess", "with its interval"]
    return Chart(svg(bottom + 42, title, caption, parts), caption, header, rows)


def _area(left: float, top: float, right: float, bottom: float) -> str:
    place = f'x="{left:.1f}" y="{top:.1f}" width="{max(0.0, right - left):.1f}" height="{max(0.0, bottom - top):.1f}"'
    return f'<rect {place} fill="{SAFE}"/>'
