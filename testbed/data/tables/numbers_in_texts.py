"""Numbers in the texts of a category: a column that was declared one may hold quantities (`84 (fasting)`, `128/76`)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from testbed.data.tables.described import CODED

NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
READ = 2
"""Numbers that are read in each text, such as the two of a blood pressure."""
MANY, SHARE = 20, 0.5
"""Numbers are read if more than so many different texts are there, more than this share of them with a number."""
SENTENCE = 4
"""Words from which a text is free text, and its numbers are no quantity."""


def numbers_in(texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """The first numbers of each text, NaN where there is none; empty if the texts are codes or sentences, or few of
    them hold a number."""
    found = [NUMBER.findall(str(text)) for text in texts]
    codes = sum(CODED.match(str(text).casefold()) is not None for text in texts)
    if codes > SHARE * len(texts):
        return ()
    sentences = sum(len(str(text).split()) > SENTENCE for text in texts)
    if len(texts) <= MANY or sum(map(bool, found)) <= SHARE * len(texts) or sentences >= SHARE * len(texts):
        return ()
    return tuple(tuple(_read(one)) for one in found)


def _read(found: Sequence[str]) -> list[float]:
    read = [float(n.replace(",", ".")) for n in found[:READ]]
    return read + [float("nan")] * (READ - len(read))
