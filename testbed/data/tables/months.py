"""Names of months in the languages of Europe, from the Unicode Consortium's data."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable

from babel.dates import get_day_names, get_month_names

from testbed.data.tables.units import LANGUAGES

MORE = {"de": {"mrz": 3, "jänner": 1, "feber": 2}, "en": {"sept": 9}, "it": {"sett": 9}, "fr": {"fevr": 2, "fev": 2}}
FIRST_LETTERS = 3


def plainly(word: str) -> str:
    """A word in lower case, without a full stop and without accents."""
    apart = unicodedata.normalize("NFKD", word.casefold().strip("."))
    return "".join(c for c in apart if not unicodedata.combining(c)).replace("ı", "i")


@functools.cache
def months() -> dict[str, dict[str, int]]:
    """For each language its words for months (see `plainly`), and their numbers. English comes first."""
    return {language: _of(language) for language in LANGUAGES}


def _of(language: str) -> dict[str, int]:
    words: dict[str, int] = {}
    for context in ("format", "stand-alone"):
        for width in ("wide", "abbreviated"):
            for number, name in get_month_names(width, context, language).items():
                word = plainly(name)
                if not word.isdigit():
                    words.setdefault(word, number)
    words |= {plainly(w): n for w, n in MORE.get(language, {}).items()}
    short: dict[str, int | None] = {}
    for word, number in words.items():  # the first letters, where they are one month's
        start = word[:FIRST_LETTERS]
        short[start] = number if short.get(start, number) == number else None
    return {w: n for w, n in short.items() if n is not None} | words


@functools.cache
def every_word() -> frozenset[str]:
    """All words for months in all languages."""
    return frozenset(w for words in months().values() for w in words)


def numbers(words: Iterable[str]) -> dict[str, int] | None:
    """The month of each word, in the first language that has all these words; None if no language has."""
    plain = {word: plainly(word) for word in words}
    wanted = set(plain.values())
    for known in months().values():
        if wanted <= known.keys():
            return {word: known[own] for word, own in plain.items()}
    # Two languages in one column: a word counts if all languages that know it mean the same month.
    found: dict[str, int] = {}
    for word, own in plain.items():
        meant = {known[own] for known in months().values() if own in known}
        if len(meant) != 1:
            return None
        found[word] = meant.pop()
    return found


@functools.cache
def days_of_the_week() -> frozenset[str]:
    """The words for days of the week in all languages."""
    found = set[str]()
    for language in LANGUAGES:
        for context in ("format", "stand-alone"):
            for width in ("wide", "abbreviated", "short"):
                found |= {plainly(name) for name in get_day_names(width, context, language).values()}
    return frozenset({*found, "tues", "thur", "thurs", "sonnabend", "weds"})
