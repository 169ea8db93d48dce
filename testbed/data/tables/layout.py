"""Where the table stands in a file: lines above and below it, two lines of names, and the separator of its fields.

Exports have titles above the names, units or labels below them, and totals or footnotes at the end. They are left out
where they cannot be records, and the reader says what was left out.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

Row = list[str]
SEPARATORS = "\t;|,"
"""Possible separators. If several fit, the first of them is chosen: a comma is then a decimal sign."""
ROWS, MOST_ABOVE, MOST_BELOW = 300, 50, 20
"""The rows by which the form is found, and the most rows above and below the table."""
AGREE = 0.9
"""The share of rows that must have the same number of fields, and of cells that must hold numbers in a column."""
MOST_HEADERS = 3
"""Lines of names, labels and units that may follow each other."""
NUMBER = re.compile(r"\W{0,3}\d")
POWER = re.compile(r"x?\s*10\s*[\^*]")
"""A unit that begins with a digit: 10^9/L, 10*3/uL, x10^9/l."""
NAME = re.compile(r"[^\W\d]\w*$")
RULED = re.compile(r"[-=_+ ]{2,}$")
UNIT = re.compile(
    r"[\[(<].*[\])>]$|.*[/%°‰^]|(?:k|m|µ|u|n)?(?:g|l|mol|m|s|u|iu|ie|eq|kat)$|(?:cm|dl|mmhg|kpa|hpa|bpm|°?c|°?f|h|d|y)$"
    r"|(?:years?|months?|weeks?|days?|hours?|minutes?|min|sec|yrs?|jahre?|monate?|tage?|stunden?|år|dagar|ans|jours"
    r"|años|anni|n/?a|-+|[dmy]{1,4}[-./][dmy]{1,4}[-./][dmy]{1,4})$",
    re.IGNORECASE,
)
TOTAL = re.compile(
    r"(?:(?:grand|sub)[ -]?)?(?:total|totals|totale|totaux|totalt|totaal|sum|summe|summa|suma|gesamt|insgesamt|mean"
    r"|average|mittelwert|medelvärde|moyenne|media|row count|rows)\b",
    re.IGNORECASE,
)
REMARK = re.compile(r"(?:#|//|\*|--)\s|\(?\d+ rows?\b", re.IGNORECASE)
GAPS = {"", "na", "n/a", "nan", "null", "none", "<na>", ".", "#n/a", "#na", "-", "--", "?"}
"""Words for a missing value, folded."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the table stands. Rows are counted from 0, blank ones too."""

    names: tuple[str, ...]
    first: int
    """The row of the first record."""
    above: int = 0
    """Rows above the names that are not blank."""
    further: int = 0
    """Lines of units or labels beside the line of names."""
    below: int = 0
    """Rows below the last record, blank ones too."""
    separator: str = ","
    headless: bool = False
    """Whether there are lines above a table that has no line of names."""

    def notes(self) -> list[str]:
        """What was left out, in words that quote nothing."""
        counted = [
            (self.above, "above the names"),
            (self.further, "of units or labels beside the names"),
            (self.below, "below the table (totals, footnotes)"),
        ]
        return [f"{n} line{'s' if n > 1 else ''} {where} left out" for n, where in counted if n]


def of_text(head: str, tail: str, whole: bool) -> Layout:
    """The layout of a delimited text, from its first lines and its last ones. A first line "sep=;" is obeyed.

    `whole` says whether the first lines are all there are.
    """
    declared = re.match(r"sep=(.)\r?\n", head)
    body = head[declared.end() :] if declared else head
    separator = declared[1] if declared else _separator(body)
    rows = list(islice(csv.reader(lines_of(body), delimiter=separator), ROWS))
    found = replace(of_rows(rows), separator=separator)
    records = rows[found.first :]
    if declared:
        found = replace(found, first=found.first + 1)
    return replace(found, below=_below_text(tail, separator, len(found.names), records, whole and len(rows) < ROWS))


def of_rows(rows: Sequence[Row]) -> Layout:
    """The layout of rows of cells, without what may stand below the last one."""
    filled = [i for i, row in enumerate(rows) if any(map(str.strip, row))]
    if not filled:
        return Layout((), 0)
    width = _width([rows[i] for i in filled])
    names, headless = _names_at(rows, filled, width)
    above = sum(i < names for i in filled)
    chosen, first, further = _header(rows, names, filled)
    return Layout(_named(chosen), first, above, further, headless=headless)


def below(rows: Sequence[Row], width: int, records: Sequence[Row], whole: bool) -> int:
    """The number of last rows that are no records: blank rows, footnotes and totals.

    They are compared with the first records; `whole` says whether these include the last rows.
    """
    left = 0
    for row in reversed(rows[-MOST_BELOW:]):
        others = records[: len(records) - left - 1] if whole else records
        if any(map(str.strip, row)) and not _no_record(row, width, others):
            break
        left += 1
    return left


def lines_of(text: str) -> list[str]:
    """The lines of a text with their ends, as a reader of CSV counts them."""
    return list(io.StringIO(text, newline=""))


def _separator(head: str) -> str:
    """The separator that gives the names and nearly all rows the same number of fields, or else the most frequent."""
    lines = lines_of(head)
    fitting: dict[str, int] = {}
    for mark in SEPARATORS:
        if mark in head:
            rows = [row for row in islice(csv.reader(lines, delimiter=mark), ROWS) if any(row)]
            width = _width(rows)
            starts = [i for i, row in enumerate(rows[:MOST_ABOVE]) if len(row) == width]
            if width > 1 and starts and _agreeing(rows[starts[0] :], width):
                fitting[mark] = starts[0]
    if fitting:
        return min(fitting, key=lambda mark: (fitting[mark], SEPARATORS.index(mark)))
    first = next((line for line in lines if line.strip()), "")
    return max(",;\t|", key=first.count)


def _agreeing(rows: Sequence[Row], width: int) -> bool:
    return sum(len(row) == width for row in rows) >= AGREE * len(rows)


def _width(rows: Sequence[Row]) -> int:
    """The most common number of fields; of equally common ones the largest."""
    counted = Counter(len(row) for row in rows)
    return max(counted, key=lambda n: (counted[n], n)) if counted else 0


def _names_at(rows: Sequence[Row], filled: Sequence[int], width: int) -> tuple[int, bool]:
    """The row of the names, and whether there is none although lines stand above the table.

    Lines are skipped only if each is a remark or has fewer fields than the table, and a row of names follows.
    """
    first = filled[0]
    if width < 2 or not (_sparse(rows[first], width) or _remark(rows[first])):
        return first, False
    for i in filled[: MOST_ABOVE + 1]:
        if not (_sparse(rows[i], width) or _remark(rows[i])):
            if len(rows[i]) >= width and _like_names(rows[i], width):
                return i, False
            break
    titled = sum(map(bool, map(str.strip, rows[first]))) < 2 and width > 2
    return first, titled


def _sparse(row: Row, width: int) -> bool:
    """Whether a row has so few filled cells that it cannot be the table's names or a record."""
    cells = sum(map(bool, map(str.strip, row)))
    return cells < 2 <= width or (cells <= width / 2 < width - 1 and len(row) < width)


def _remark(row: Row) -> bool:
    return bool(row) and REMARK.match(row[0].strip()) is not None


def _like_names(row: Row, width: int) -> bool:
    cells = [c.strip() for c in row[:width]]
    known = [c for c in cells if c]
    return len(known) >= AGREE * width and len(set(known)) == len(known) and not any(map(_number, known))


def _number(cell: str) -> bool:
    return NUMBER.match(cell) is not None and POWER.match(cell) is None


def _header(rows: Sequence[Row], names: int, filled: Sequence[int]) -> tuple[Row, int, int]:
    """The row of names, the row of the first record, and the number of further lines of names."""
    lines = [rows[names]]
    at = names + 1
    after = [i for i in filled if i > names]
    for place, i in enumerate(after[:MOST_HEADERS]):
        cells = [c.strip() for c in rows[i]]
        if all(RULED.match(c) for c in cells if c) and len([c for c in cells if c]) == len(lines[0]):
            at = i + 1
            continue
        if len(lines) == MOST_HEADERS or not _further(rows[i], [rows[j] for j in after[place + 1 :]], len(lines[0])):
            break
        lines.append(rows[i])
        at = i + 1
    chosen = lines[0]
    for line in lines[1:]:
        cells, upper = [c.strip() for c in line], [c.strip() for c in chosen]
        codes = all(NAME.match(c) for c in cells) and len(set(cells)) == len(cells)
        if codes and not all(NAME.match(c) for c in upper) and not all(UNIT.match(c) for c in cells):
            chosen = line
    return chosen, at, len(lines) - 1


def _further(row: Row, records: Sequence[Row], width: int) -> bool:
    """Whether a row is a second line of names (units, labels), and no record.

    Its cells hold no number and none stands in its column again, and above columns of numbers they are units, or all
    cells are different labels.
    """
    cells = [c.strip() for c in row] + [""] * (width - len(row))
    if len(cells) != width or len(records) < 3:
        return False
    told = {j: c for j, c in enumerate(cells) if c.casefold() not in GAPS or c == "-"}
    if not told or any(map(_number, told.values())):
        return False
    above_numbers: list[str] = []
    for j, cell in told.items():
        column = [r[j].strip() for r in records if j < len(r) and r[j].strip().casefold() not in GAPS]
        if cell in column:
            return False
        if column and sum(map(_number, column)) >= AGREE * len(column):
            above_numbers.append(cell)
    if not above_numbers:
        return False
    labels = len(told) == width and len(set(told.values())) == width and len(above_numbers) > 1
    return labels or all(UNIT.match(c) or c.startswith("{") for c in above_numbers)


def _named(row: Row) -> tuple[str, ...]:
    """The names of columns without blanks around them; a column without a name gets its number."""
    return tuple(name.strip() or f"Unnamed: {i}" for i, name in enumerate(row))


def _no_record(row: Row, width: int, records: Sequence[Row]) -> bool:
    """Whether a last row is a footnote or a total: it has one field where records have several, or begins with a word
    such as Total that stands in no other row."""
    cells = [c.strip() for c in row]
    known = [c for c in cells if c]
    if width < 2 or not records:
        return False
    if len(cells) == 1:
        return True
    place = cells.index(known[0])
    column = [r[place].strip() for r in records if place < len(r)]
    if len(known) == 1 and (_remark([known[0]]) or (" " in known[0] and not any(" " in c for c in column))):
        return place == 0 and not all(_number(c) for c in known)
    return TOTAL.match(known[0]) is not None and not any(TOTAL.match(c) for c in column)


def _below_text(tail: str, separator: str, width: int, records: Sequence[Row], whole: bool) -> int:
    """The number of last lines of a text that are no records.

    The end of a quoted field of several lines has an odd number of quotes, and ends the search.
    """
    lines = lines_of(tail)[-MOST_BELOW:]
    last: list[Row] = []
    for line in reversed(lines):
        if line.count('"') % 2:
            break
        last.insert(0, next(csv.reader([line], delimiter=separator), []))
    left = below(last, width, records, whole)
    return left if any(last[len(last) - left :]) else 0
