"""How one column is read in all tables together: as numbers, as dates, or as neither.

The cells of all tables decide together, so a column that one table writes as 56,4 kg and another as 56.4 is one of
numbers in both. Each distinct text is read once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from testbed.data.tables import compact_dates, dates, measures, spellings, templates
from testbed.data.tables.cells import Reading, Series, Texts, suffice, texts_of
from testbed.data.tables.date_forms import Written, shape

STRONG = 0.2
"""The smallest share of a column's dates that can be nothing but dates; a year alone may be a number."""
COARSE = 0.9
"""The smallest share of released dates that are partial, in a generalised column."""


def read(name: str, series: Mapping[str, Series], declared: str | None) -> list[Reading] | None:
    """The readings of a column (several where its cells hold several numbers), or None if it is a category.

    `declared` is the kind that the user gives, or None. Raises `InputError` for marks that can be read in two ways.
    """
    texts = {role: texts_of(values) for role, values in series.items()}
    if declared != "numeric":
        texts = {role: compact_dates.in_iso(own) for role, own in texts.items()}
    cells = sum((t.counted() for t in texts.values()), Counter[str]())
    if len(cells) > 1 or any(t.numbers is not None for t in texts.values()):
        for sign in [t for t in cells if spellings.SUPPRESSED.match(t)]:
            del cells[sign]
    wordy = all(t.numbers is None for t in texts.values())
    if declared in (None, "date"):
        found = _dates(texts, cells, declared is not None)
        if found is not None:
            return [found]
    if declared == "date" or not cells:
        return None
    several = measures.read(name, texts, cells, declared is not None)
    return templates.read(texts, cells) if several is None and wordy else several


def _dates(texts: Mapping[str, Texts], cells: Counter[str], declared: bool) -> Reading | None:
    """The column as dates, or None if it is none of dates. Numbers beside dates are years, or dates in digits alone."""
    if cells and (exact := dates.iso_days(list(cells))) is not None and all(t.numbers is None for t in texts.values()):
        whole = dict(zip(cells, exact.tolist(), strict=True))
        return Reading({role: dates.without_end(own.values(whole)) for role, own in texts.items()}, True)
    forms = _forms(cells)
    if not forms:
        return None
    if any(t.numbers is not None for t in texts.values()):
        texts = {role: _in_words(own) for role, own in texts.items()}
        cells = sum((t.counted() for t in texts.values()), Counter[str]())
        forms = _forms(cells)
    others = {t: n for t, n in cells.items() if t not in forms}
    total = sum(cells[t] for t in forms)
    strong = sum(cells[t] for t, f in forms.items() if not f.weak)
    digits = sum(cells[t] for t, f in forms.items() if f.day is not None)
    if strong < STRONG * total and not (len(forms) >= spellings.ENOUGH and digits >= COARSE * total):
        return None
    if not (suffice(len(forms), total, others) or (forms and not others) or declared):
        return None
    found = dates.moments(forms)
    others = {t: n for t, n in cells.items() if t not in found}
    if not (suffice(len(found), sum(cells[t] for t in found), others) or not others or declared):
        return None
    exact = _released_precision(texts["synthetic"], found)
    known = {t: moment.day for t, moment in found.items()}
    values = {role: dates.without_end(own.values(known)) for role, own in texts.items()}
    told: tuple[str, ...] = ()
    if exact:
        values = {r: v if r == "synthetic" else dates.coarsened(v, exact) for r, v in values.items()}
        told = (f"original and control are compared by {exact}, as the release writes it",)
    return Reading(values, True, "", told)


def _forms(cells: Counter[str]) -> dict[str, Written]:
    """The texts in the form of dates; none if they are fewer than half of the texts that are looked at first."""
    different = list(cells)
    some = different[:: 1 + len(different) // measures.SAMPLE]
    if sum(shape(t) is not None for t in some) < len(some) / 2:
        return {}
    return {t: form for t in different if (form := shape(t)) is not None}


def _in_words(own: Texts) -> Texts:
    """The same cells, numbers as text too."""
    if own.numbers is None:
        return own
    return replace(texts_of(pd.Series(own.numbers).map(spellings.text, na_action="ignore").astype(object)))


def _released_precision(released: Texts, found: Mapping[str, dates.Moment]) -> str:
    """The precision (week, month, quarter, year) of a release of partial dates; empty for whole dates."""
    counted = released.counted()
    by_precision = Counter[str]()
    for text, cells in counted.items():
        if text in found:
            by_precision[found[text].exact] += cells
    exact, most = by_precision.most_common(1)[0] if by_precision else ("day", 0)
    return exact if exact != "day" and most >= COARSE * by_precision.total() else ""
