# pyright: strict
"""The templates of all pages: everything is escaped, an unknown name is an error, and invisible characters show."""

from __future__ import annotations

from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from testbed.core.shown import shown


def environment(room: str = "report") -> Environment:
    """An environment for the templates of a room of the package. Filters are added to it by who needs them."""
    made = Environment(
        loader=PackageLoader("testbed", room), autoescape=True, undefined=StrictUndefined, finalize=_visible
    )
    made.trim_blocks = made.lstrip_blocks = True
    return made


def style() -> str:
    """The report's style sheet."""
    return resources.files("testbed.report").joinpath("report.css").read_text(encoding="utf-8")


def _visible(value: object) -> object:
    """A value with invisible and direction-changing characters of its text made visible; the template escapes HTML."""
    return shown(value, lines=True) if isinstance(value, str) and not isinstance(value, Markup) else value
