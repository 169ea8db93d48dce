# pyright: strict
"""The report's frame in other languages: one catalogue a language, in the form of gettext.

The frame is what every report says: verdicts, headings, names of risks, how to read the numbers. Sentences about one
result (findings, reasons, notes) are written in English, and stay so.
"""

from __future__ import annotations

import functools
import gettext
import io
from collections.abc import Callable
from importlib import resources

from markupsafe import Markup

ENGLISH = "en"
LANGUAGES = (ENGLISH, "sv")
"""The languages of a report."""


def page(lang: str) -> str:
    """The name of a report's file: report.html, or report.sv.html for another language than English."""
    return "report.html" if lang == ENGLISH else f"report.{lang}.html"


def frame(lang: str) -> Callable[[str], Markup]:
    """A function from a text that stands in a template to that text in a language. It is the testbed's own: HTML."""
    known = catalogue(lang)

    def translated(text: str) -> Markup:
        return Markup(known.gettext(text))

    return translated


def word(lang: str) -> Callable[[str], str]:
    """A function from a word of a result to that word in a language. It may be anybody's, so it is no HTML.

    One that the catalogue does not hold stays as it is.
    """
    known = catalogue(lang)

    def translated(text: str) -> str:
        return known.gettext(text) if text else text

    return translated


@functools.cache
def catalogue(lang: str) -> gettext.NullTranslations:
    """The catalogue of a language, compiled from its text in locale/. Raises `KeyError` for an unknown language."""
    if lang not in LANGUAGES:
        raise KeyError(lang)
    if lang == ENGLISH:
        return gettext.NullTranslations()
    from babel.messages import mofile, pofile

    compiled = io.BytesIO()
    text = resources.files("testbed.report").joinpath("locale", f"{lang}.po").read_bytes()
    mofile.write_mo(compiled, pofile.read_po(io.BytesIO(text), locale=lang))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
