"""Excel workbooks (ECMA-376): shown and hidden sheets, caches of pivot tables and of other workbooks, comments."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

from testbed.subjects.artefacts.marked_up import ENTITIES
from testbed.subjects.artefacts.pieces import Cells, Piece, TableKind, Text, TooMuchError, Unseen, Where

REFERENCE = re.compile(r"([A-Z]{1,3})(\d+)$")
MOST_CELLS = 20_000_000
TEXTS = re.compile(r"xl/(?:comments\d*|threadedComments/.*|persons/.*|charts/.*|drawings/.*)\.xml|docProps/.*\.xml")
CACHED = re.compile(r"xl/(?:pivotCache/pivotCacheRecords\d+|externalLinks/externalLink\d+)\.xml")
DEFINITION = re.compile(r"xl/pivotCache/pivotCacheDefinition\d+\.xml")
Member = Callable[[str], bytes]


def pieces(names: set[str], member: Member, where: Where, read: set[str]) -> Iterator[Piece]:
    """The pieces of a workbook. `read` gets the names of the members that were read."""
    if not any(n.startswith("xl/worksheets/") and n.endswith(".xml") for n in names):
        yield Unseen(where, "its sheets are written in a binary form; only words were searched")
        return
    shared = _shared(member("xl/sharedStrings.xml")) if "xl/sharedStrings.xml" in names else []
    hidden = _hidden(member("xl/workbook.xml")) if "xl/workbook.xml" in names else set()
    read |= {"xl/sharedStrings.xml", "xl/styles.xml", "[Content_Types].xml"} & names
    read |= {n for n in names if n.startswith("xl/theme/") or n.endswith(".rels")}
    used = 0
    sheets = sorted(n for n in names if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", n))
    for name in sorted(sheets, key=lambda n: int(re.sub(r"\D", "", n))):
        number = int(re.sub(r"\D", "", name))
        kind: TableKind = "hidden sheet" if number in hidden else "sheet"
        read.add(name)
        columns, places = _sheet(member(name), shared)
        used += places
        if columns:
            yield Cells((*where, f"{kind} {number}"), kind, columns)
    for name in sorted(n for n in names if DEFINITION.fullmatch(n)):
        read.add(name)
        items = _items(member(name))
        records = name.replace("Definition", "Records")
        if records in names:
            read.add(records)
            if columns := _records(member(records), items):
                yield Cells((*where, "cache of a pivot table"), "cache", columns)
        if any(items):
            held = "\n".join(str(v) for column in items for v in column)
            yield Text((*where, "cache of a pivot table, its items"), held)
    for name in sorted(n for n in names if CACHED.fullmatch(n) and n not in read):
        read.add(name)
        if columns := _cached(member(name)):
            yield Cells((*where, "cache of another workbook"), "cache", columns)
    for name in sorted(n for n in names if TEXTS.fullmatch(n)):
        read.add(name)
        texts = _texts(member(name))
        if texts:
            yield Text((*where, "comments, charts and properties"), "\n".join(texts))
    if "xl/sharedStrings.xml" in names and len(shared) > used:
        yield Text((*where, "words that no sheet shows"), "\n".join(shared))


def _elements(data: bytes) -> Iterator[Any]:
    """The elements of XML, each when it ends. Raises `ValueError` for XML that defines entities."""
    if ENTITIES.search(data):
        raise ValueError("XML that defines entities")
    for _, element in ElementTree.iterparse(io.BytesIO(data), events=("end",)):
        yield element


def _tag(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _shared(data: bytes) -> list[str]:
    return ["".join(t.text or "" for t in e.iter() if _tag(t) == "t") for e in _elements(data) if _tag(e) == "si"]


def _hidden(data: bytes) -> set[int]:
    """The numbers of the sheets that are hidden, in the order of the workbook."""
    sheets = [e for e in _elements(data) if _tag(e) == "sheet"]
    return {i for i, e in enumerate(sheets, 1) if e.get("state") in ("hidden", "veryHidden")}


def _column(letters: str) -> int:
    place = 0
    for letter in letters:
        place = place * 26 + ord(letter) - 64
    return place - 1


def _sheet(data: bytes, shared: list[str]) -> tuple[list[list[Any]], int]:
    """The columns of a sheet, and how many different shared words it shows."""
    rows: dict[int, dict[int, Any]] = {}
    shown: set[int] = set()
    cells = 0
    for element in _elements(data):
        if _tag(element) == "row":
            element.clear()
        if _tag(element) != "c":
            continue
        found = REFERENCE.match(element.get("r") or "")
        text = next((t.text for t in element if _tag(t) == "v"), None)
        kind = element.get("t")
        if kind == "inlineStr":
            text = "".join(t.text or "" for t in element.iter() if _tag(t) == "t")
        if found is None or text is None:
            continue
        value: Any = text
        if kind == "s" and text.isdigit() and int(text) < len(shared):
            shown.add(int(text))
            value = shared[int(text)]
        rows.setdefault(int(found[2]), {})[_column(found[1])] = value
        cells += 1
        if cells > MOST_CELLS:
            raise TooMuchError("a sheet has too many cells")
    width = max((max(r) for r in rows.values()), default=-1) + 1
    if width * len(rows) > MOST_CELLS:
        raise TooMuchError("a sheet has too many cells")
    ordered = [rows[i] for i in sorted(rows)]
    return [[r.get(j) for r in ordered] for j in range(width)], len(shown)


def _items(data: bytes) -> list[list[Any]]:
    """The values that a pivot table's cache lists for each of its fields."""
    return [
        [v.get("v") for e in field if _tag(e) == "sharedItems" for v in e]
        for field in _elements(data)
        if _tag(field) == "cacheField"
    ]


def _records(data: bytes, items: list[list[Any]]) -> list[list[Any]]:
    """The rows that a pivot table was made from, which its cache keeps when the sheet is deleted."""
    rows: list[list[Any]] = []
    for element in _elements(data):
        if _tag(element) != "r":
            continue
        row: list[Any] = []
        for i, cell in enumerate(element):
            value = cell.get("v")
            if _tag(cell) == "x" and value and value.isdigit() and i < len(items) and int(value) < len(items[i]):
                value = items[i][int(value)]
            row.append(value)
        rows.append(row)
        element.clear()
    width = max(map(len, rows), default=0)
    if width * len(rows) > MOST_CELLS:
        raise TooMuchError("a cache has too many cells")
    return [[r[j] if j < len(r) else None for r in rows] for j in range(width)]


def _cached(data: bytes) -> list[list[Any]]:
    """The cells of another workbook that this one keeps."""
    rows = [
        {_column(f[1]): "".join(c.itertext()) for c in e if (f := REFERENCE.match(c.get("r") or ""))}
        for e in _elements(data)
        if _tag(e) == "row"
    ]
    width = max((max(r) for r in rows if r), default=-1) + 1
    if width * len(rows) > MOST_CELLS:
        raise TooMuchError("a cache has too many cells")
    return [[r.get(j) for r in rows] for j in range(width)]


def _texts(data: bytes) -> list[str]:
    return [t.strip() for e in _elements(data) for t in (e.text,) if t and t.strip()]
