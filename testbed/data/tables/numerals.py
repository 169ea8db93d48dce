"""Numerals as people write them: decimal points or commas, marks between thousands, any sign for minus."""

from __future__ import annotations

import re
from collections.abc import Iterable

from testbed.data.tables.refusals import named, refuse

SIGNS = str.maketrans(
    {"−": "-", "–": "-", "—": "-", "’": "'", "٫": ".", **dict.fromkeys("\u00a0\u202f\u2009\u2007", " ")}
)
"""Signs that are written in several ways: minus and dashes, apostrophes, blanks that break no line."""
NUMERAL = r"(?:\d{1,3}(?:[ '_]\d{3})+(?!\d)|\d+|(?=[.,]\d))(?:[.,]\d+)*(?:[eE][-+]?\d{1,3}(?!\w))?"
"""A run of digits with marks; `decimal_sign` tells whether it is a number."""
PLAIN = re.compile(r"\d*([.,])\d+$|\d+$")
GROUPED = re.compile(r"\d{1,3}(?:(\.)\d{3}(?:\.\d{3})*(?:,\d+)?|(,)(?:\d{3}(?:,\d{3})*|(?:\d{2},)+\d{3})(?:\.\d+)?)$")
"""Groups of three digits, or as in India groups of two before the last three."""
SAMPLE = 2000
"""Numerals that are looked at first."""
GROUP = re.compile("[ '_]")


class AmbiguousError(Exception):
    """All marks of a column's numerals may be decimal commas or marks between thousands."""


def ambiguous(name: str, role: str) -> Exception:
    """The refusal of a column whose marks can be read in two ways."""
    return refuse(
        55,
        f"Column {named([name])} of the {role} file has commas that may be decimal signs or thousands marks.",
        "One reading is a thousand times as large as the other.",
        "Write decimal points, and no marks for thousands. If its values are classes, declare it categorical "
        "(meta file).",
    )


def decimal_sign(numeral: str) -> str:
    """The decimal sign that a numeral must have: "." or ",", both if either fits, empty if it is no number."""
    if numeral.isdecimal():
        return ".,"
    body, *power = re.split("[eE]", numeral) if "e" in numeral or "E" in numeral else (numeral,)
    ungrouped = GROUP.sub("", body)
    grouped = ungrouped != body or bool(power)
    body = ungrouped
    plain, groups = PLAIN.match(body), GROUPED.match(body)
    if plain and not plain[1]:
        return ".,"
    if plain and (not groups or grouped or body[0] == "0"):
        return plain[1] or ".,"
    if not groups:
        return ""
    if plain:  # one mark, before exactly three digits
        return "?"
    return "," if groups[1] else "."


def consensus(numerals: Iterable[str]) -> str:
    """The decimal sign that the numerals of a column agree on, or an empty text if they leave it open.

    Where both signs occur, the more frequent one is returned.
    """
    every = [n for n in numerals if not n.isdecimal()]
    for some in (every[:: 1 + len(every) // SAMPLE], every):
        signs = [decimal_sign(n) for n in some]
        points, commas = signs.count("."), signs.count(",")
        if points or commas:
            return "." if points >= commas else ","
    return ""


def value(numeral: str, decimal: str) -> float:
    """The number that a numeral stands for; `decimal` is the column's decimal sign, for marks that fit both.

    NaN for what is no number. Raises `AmbiguousError` for a comma that fits both where the sign is unknown.
    """
    own = decimal_sign(numeral)
    if not own:
        return float("nan")
    if own == "?":
        if not decimal and "," in numeral:
            raise AmbiguousError
        own = decimal or "."
    own = "." if own == ".," else own
    text = GROUP.sub("", numeral).replace("," if own == "." else ".", "")
    return float(text.replace(",", "."))
