"""Units of measurement: their spellings, and conversions that need no substance (kg and lb, mg/dl and g/l)."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from babel import Locale
from babel.units import format_unit

LANGUAGES = (
    *("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "nb", "fi", "pl", "cs", "sk", "hu", "ro"),
    *("hr", "sl", "et", "lv", "lt", "el", "bg", "tr", "uk", "is", "ca"),
)
"""Languages whose names of months and of units of time are read."""
PREFIXES = {"k": 1e3, "h": 1e2, "d": 1e-1, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
"""Metric prefixes; micro is written u, as in UCUM."""
PREFIXED = {
    "g": (1.0, "mass"),
    "m": (1.0, "length"),
    "l": (1e-3, "volume"),
    "mol": (1.0, "amount"),
    "s": (1.0, "time"),
    "pa": (1.0, "pressure"),
    "j": (1.0, "energy"),
    "cal": (4.184, "energy"),
    "eq": (1.0, "equivalents"),
    "u": (1.0, "activity"),
    "kat": (6e7, "activity"),
    "w": (1.0, "power"),
    "osm": (1.0, "osmoles"),
}
"""Units that take prefixes: the factor to the base unit of their dimension, and the dimension."""
PLAIN = {
    "lb": (453.59237, "mass"),
    "lbs": (453.59237, "mass"),
    "oz": (28.349523125, "mass"),
    "t": (1e6, "mass"),
    "in": (0.0254, "length"),
    "inch": (0.0254, "length"),
    '"': (0.0254, "length"),
    "inches": (0.0254, "length"),
    "ft": (0.3048, "length"),
    "feet": (0.3048, "length"),
    "mi": (1609.344, "length"),
    "iu": (1.0, "international"),
    "mmhg": (133.322387415, "pressure"),
    "bar": (1e5, "pressure"),
    "cmh2o": (98.0665, "pressure"),
    "st": (6350.29318, "mass"),
    "stone": (6350.29318, "mass"),
    "kilo": (1e3, "mass"),
    "gram": (1.0, "mass"),
    "%": (1e-2, ""),
    "‰": (1e-3, ""),
    "1": (1.0, ""),
    "ie": (1.0, "international"),
    "ui": (1.0, "international"),
    "min": (60.0, "time"),
    "h": (3600.0, "time"),
    "d": (86400.0, "time"),
    "wk": (604800.0, "time"),
    "mo": (2629800.0, "time"),
    "a": (31557600.0, "time"),
}
TEMPERATURES = {"c": (1.0, 273.15), "f": (5 / 9, 459.67 * 5 / 9), "k": (1.0, 0.0)}
"""Degrees: the factor to kelvin, and what is then added."""
MORE_TIMES = {
    "second": ["s", "sec", "secs", "sek"],
    "minute": ["min", "mins", "mn"],
    "hour": ["h", "hr", "hrs", "std", "hour(s)", "uur"],
    "day": ["d", "day(s)", "tg"],
    "week": ["w", "wk", "wks"],
    "month": ["mo", "mos", "mths", "mth", "mnd"],
    "year": ["y", "yr", "yrs", "yo", "y/o", "a", "jr", "years old", "year old", "jahre alt", "år"],
}
"""Short words. One letter that means several units (m, j, t, u) is left out."""
SHORTEST = 3
"""The fewest letters of a word for a unit of time that is taken from Babel."""
TIMES = {"second": "s", "minute": "min", "hour": "h", "day": "d", "week": "wk", "month": "mo", "year": "a"}
POWER_OF_TEN = re.compile(r"10\^(-?\d{1,2})(?!\d)")
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
COMPONENT = re.compile(r"([a-z%‰°\"]+)\^?(-?\d)?$")
CURRENCIES = {
    "€": "eur",
    "$": "usd",
    "us$": "usd",
    "£": "gbp",
    "¥": "jpy",
    "kr": "kr",
    "kr.": "kr",
    "zł": "pln",
    "kč": "czk",
    "fr.": "chf",
    "sfr.": "chf",
    "sfr": "chf",
    "lei": "ron",
    "₺": "try",
    "₹": "inr",
    "rs": "inr",
    "rs.": "inr",
    "₴": "uah",
    "r$": "brl",
    **{c: c for c in ("eur", "usd", "gbp", "jpy", "chf", "sek", "nok", "dkk", "isk", "pln", "czk", "huf", "ron")},
    **{c: c for c in ("bgn", "try", "uah", "cad", "aud", "brl", "inr", "cny")},
    "euro": "eur",
    "euros": "eur",
    "dollars": "usd",
    "kronor": "sek",
    "kroner": "kr",
    ":-": "kr",
}


class Scale(NamedTuple):
    """How a unit's numbers become those of its dimension's base: times `factor`, plus `offset`."""

    factor: float
    offset: float
    dimension: str


@functools.cache
def times() -> dict[str, str]:
    """Words for units of time in many languages, in lower case, and the unit: s, min, h, d, wk, mo or a (years)."""
    words: dict[str, str] = {}
    for language in LANGUAGES:
        locale = Locale.parse(language)
        for unit, short in TIMES.items():
            for length in ("long", "short", "narrow"):
                for number in (1, 2, 5):
                    text = format_unit(number, f"duration-{unit}", length, locale=locale).replace("\u00a0", " ")
                    word = re.sub(r"^[\d\s]+", "", text).casefold().strip()
                    word = word.rstrip(".")
                    if len(word) >= SHORTEST:
                        words.setdefault(word, short)
    for unit, more in MORE_TIMES.items():
        words.update(dict.fromkeys(more, TIMES[unit]))
    return words


def plainly(unit: str) -> str:
    """A unit in one spelling, so that spellings of one unit are equal: mg/dL, mg / dl and milligrams per dl."""
    text = " ".join(unit.replace("μ", "u").replace("µ", "u").split()).casefold()
    if text in CURRENCIES:
        return CURRENCIES[text]
    text = text.strip("()") if text.startswith("(") else text
    text = re.sub(r"^[x*×·]? ?10 ?(?:\*\*?|\^|e|(?=[⁰¹²³⁴-⁹⁻]|(?:3|6|9|12)/))", "10^", text).translate(SUPERSCRIPTS)
    text = re.sub(r"\s*(?:/|\bper\b|\bpro\b)\s*", "/", text)
    text = re.sub(r"/\{?1[.,]73[\s_]?m\^?2\}?", "/1.73m2", text)
    text = re.sub(r"^mcg\b", "ug", text).replace("/mcl", "/ul").replace("/mm3", "/ul").replace("/cmm", "/ul")
    text = re.sub(r"mm ?\[?hg\]?", "mmhg", text).replace("ccm", "ml")
    words = times()
    if (word := text.rstrip(".")) in words:
        return words[word]
    return re.sub(r"^(?:mg|g)%$", lambda m: m[0][:-1] + "/dl", text)


@functools.lru_cache(4096)
def scale(unit: str) -> Scale | None:
    """How a unit is converted, or None for an unknown unit. `unit` is as `plainly` writes it."""
    text = unit.replace(" ", "")
    if (degrees := re.fullmatch(r"(?:°|deg|cel|\[deg)?([cfk])(?:el)?\]?", text)) and text not in ("c", "f", "k"):
        factor, offset = TEMPERATURES[degrees[1]]
        return Scale(factor, offset, "temperature")
    if text == "cel":
        return Scale(*TEMPERATURES["c"], "temperature")
    factor, powers = 1.0, dict[str, int]()
    if power := POWER_OF_TEN.match(text):
        factor *= 10.0 ** int(power[1])
        text = text[power.end() :]
    for i, part in enumerate(text.split("/")):
        direction = 1 if i == 0 else -1
        if re.fullmatch(r"1\.73m\^?2", part):  # body surface
            powers["body surface"] = powers.get("body surface", 0) + direction
            continue
        for component in filter(None, re.split(r"[.*·](?!\d)", part)):
            known = _component(component)
            if known is None:
                return None
            one, dimension, exponent = known
            factor *= one ** (direction * exponent)
            if dimension == "volume":
                dimension, exponent = "length", 3 * exponent
            powers[dimension] = powers.get(dimension, 0) + direction * exponent
    named = ".".join(f"{d}{p}" for d, p in sorted(powers.items()) if p and d)
    return Scale(factor, 0.0, named)


def _component(text: str) -> tuple[float, str, int] | None:
    """The factor, the dimension and the power of one part of a unit, such as dl or m2."""
    match = COMPONENT.match(text)
    if not match:
        return None
    name, power = match[1], int(match[2] or 1)
    if name in PLAIN:
        factor, dimension = PLAIN[name]
        return factor, dimension, power
    if name in PREFIXED:
        factor, dimension = PREFIXED[name]
        return factor, dimension, power
    if name[0] in PREFIXES and name[1:] in PREFIXED:
        factor, dimension = PREFIXED[name[1:]]
        return factor * PREFIXES[name[0]], dimension, power
    return (1.0, "cells", power) if name in ("cells", "cell", "copies") else None
