"""Parts of hand-written SVG: texts, lines and marks. Coordinates have at most four digits, so that the disclosure gate
takes none for a measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from testbed.core.shown import shown

WIDTH = 760
INK, MUTED, GRID = "#1d2733", "#5b6773", "#dde2e7"


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing, a caption that says how to read it, and a table (header, rows) of the numbers behind it."""

    svg: Markup
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def _escape(words: str) -> Markup:
    return escape(shown(words))


def svg(height: float, title: str, description: str, parts: Sequence[str]) -> Markup:
    """A drawing with a title and a description, for those who do not see it."""
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{_escape(title)}</title><desc>{_escape(description)}</desc>{''.join(parts)}</svg>"
    )


def at(coordinate: float) -> str:
    """A coordinate as text."""
    return f"{coordinate:.1f}" if abs(coordinate) < 999.95 else f"{coordinate:.0f}"


def text(x: float, y: float, words: str, anchor: str = "start", colour: str = INK, size: int = 12) -> str:
    """A text at a place; what users wrote is escaped."""
    place = f'x="{at(x)}" y="{at(y)}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" fill="{colour}">{_escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1, dash: str = "") -> str:
    """A straight line."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    ends = f'x1="{at(x1)}" y1="{at(y1)}" x2="{at(x2)}" y2="{at(y2)}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width:g}"{dashed}/>'


def mark(kind: str, x: float, y: float, colour: str, r: float = 5, hollow: bool = False) -> str:
    """A filled or hollow mark: circle, square, diamond or triangle."""
    filled = f'fill="#ffffff" stroke="{colour}" stroke-width="2"' if hollow else f'fill="{colour}"'
    if kind == "circle":
        return f'<circle cx="{at(x)}" cy="{at(y)}" r="{r:g}" {filled}/>'
    corners = {
        "square": [(-r, -r), (r, -r), (r, r), (-r, r)],
        "diamond": [(0, -r - 1), (r + 1, 0), (0, r + 1), (-r - 1, 0)],
        "triangle": [(0, -r - 1), (r + 1, r), (-r - 1, r)],
    }[kind]
    points = " ".join(f"{at(x + dx)},{at(y + dy)}" for dx, dy in corners)
    return f'<polygon points="{points}" {filled}/>'


def clip(words: str, most: int = 36) -> str:
    """The text, cut where it is too long."""
    return words if len(words) <= most else words[: most - 1] + "…"
