"""HTML, SVG and other XML: tables, texts, attributes, comments, scripts, and what is packed in data addresses."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

from testbed.subjects.artefacts import structured
from testbed.subjects.artefacts.pickled import Packed
from testbed.subjects.artefacts.pieces import Cells, Marks, Piece, Text, Unseen, Where

ADDRESS = re.compile(r"data:([\w/+.-]*)((?:;[\w=-]+)*),([A-Za-z0-9+/=%_\-]{16,})")
ENTITIES = re.compile(rb"<!(?:DOCTYPE[^>[]*\[|ENTITY)", re.IGNORECASE)
SHOWN_AS_LINES = {"p", "div", "br", "li", "tr", "pre", "h1", "h2", "h3", "h4", "td", "th", "title", "option", "text"}
MARKS = {"circle", "use", "ellipse", "rect"}
FEWEST_MARKS = 30
"""Drawings of fewer marks are axes, legends and bars."""
PLAIN_ATTRIBUTES = {"class", "style", "id", "d", "transform", "xmlns", "href", "src", "viewbox", "points"}
"""Attributes that hold the form of a page and not its content."""


class _Page(HTMLParser):
    """Collects the tables and the texts of a page. Tables in tables become tables of their own."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[list[list[str]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.marks: set[tuple[str, str]] = set()
        self._open: list[list[list[str]]] = []
        self._cell = False
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = {k: v or "" for k, v in attrs}
        if tag == "table":
            self._open.append([])
        elif tag == "tr" and self._open:
            self._open[-1].append([])
        elif tag in ("td", "th") and self._open:
            if not self._open[-1]:
                self._open[-1].append([])
            self._open[-1][-1].append("")
            self._cell = True
        elif tag in ("script", "style"):
            self._within = tag
        if tag in MARKS:
            place = held.get("cx", held.get("x")), held.get("cy", held.get("y"))
            if place[0] and place[1]:
                self.marks.add((place[0], place[1]))
        if tag in SHOWN_AS_LINES:
            self.texts.append("\n")
        told = [v for k, v in held.items() if k not in PLAIN_ATTRIBUTES and len(v) > 3]
        if told:
            self.texts.append("\n" + "\n".join(told) + "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table" and self._open:
            self.tables.append(self._open.pop())
        elif tag in ("td", "th"):
            self._cell = False
        elif tag in ("script", "style"):
            self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "script":
            self.scripts.append(data)
        elif self._within == "style":
            return
        elif self._cell and self._open and self._open[-1] and self._open[-1][-1]:
            self._open[-1][-1][-1] += data
        else:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.texts.append(f"\n{data}\n")


def of_html(text: str, where: Where, packed: Packed, kind: str = "table in a page") -> Iterator[Piece]:
    """The pieces of a page."""
    page = _Page()
    page.feed(text)
    page.close()
    for place, rows in enumerate([*page.tables, *page._open], 1):  # pyright: ignore[reportPrivateUsage]
        if table := as_columns(rows):
            shown = "output" if kind == "output" else "table in a page"
            yield Cells((*where, f"table {place}"), shown, table)
    if said := "".join(page.texts).strip():
        yield Text((*where, "text"), said)
    for place, script in enumerate(page.scripts, 1):
        if script.strip():
            yield from structured.of_script(script, (*where, f"script {place}"), packed)
    if len(page.marks) >= FEWEST_MARKS:
        yield from _marks(page.marks, where)
    yield from in_addresses(text, where, packed)


def as_columns(rows: list[list[str]]) -> list[list[str]]:
    """The columns of a table's rows, of those rows that have the commonest number of cells."""
    lengths = [len(r) for r in rows if r]
    if not lengths:
        return []
    width = max(set(lengths), key=lambda n: (lengths.count(n), n))
    if width < 2:
        return []
    return [[r[i].strip() for r in rows if len(r) == width] for i in range(width)]


def _marks(places: set[tuple[str, str]], where: Where) -> Iterator[Piece]:
    """A cloud of marks: many places across, and many up and down."""
    if min(len({x for x, _ in places}), len({y for _, y in places})) >= FEWEST_MARKS / 2:
        yield Marks(where, len(places))


def in_addresses(text: str, where: Where, packed: Packed) -> Iterator[Piece]:
    """What is packed in addresses of the form data:...;base64,..."""
    for place, found in enumerate(ADDRESS.finditer(text), 1):
        try:
            data = base64.b64decode(found[3], validate=False) if "base64" in found[2] else unquote_to_bytes(found[3])
        except (binascii.Error, ValueError):
            continue
        yield from packed((*where, f"data address {place}"), data)


def of_xml(data: bytes, where: Where, packed: Packed) -> Iterator[Piece]:
    """Texts, attributes and comments of XML. One that defines entities is read as text alone."""
    if ENTITIES.search(data):
        yield Unseen(where, "it defines entities; it was read as text")
        yield Text(where, data.decode("utf-8", errors="replace"))
        return
    texts: list[str] = []
    marks: set[tuple[str, str]] = set()
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True, insert_pis=True))
    parser.feed(data)
    for element in parser.close().iter():
        tag = str(element.tag).rpartition("}")[2].lower()  # a comment's tag is a function
        texts += [t.strip() for t in (element.text, element.tail) if t and t.strip() and tag != "style"]
        x, y = element.get("cx", element.get("x")), element.get("cy", element.get("y"))
        if tag in MARKS and x and y:
            marks.add((x, y))
        for name, value in element.attrib.items():
            if value.startswith("data:"):
                yield from in_addresses(value, where, packed)
            elif name.rpartition("}")[2].lower() not in PLAIN_ATTRIBUTES and len(value) > 3:
                texts.append(value)
    if texts:
        yield Text((*where, "text"), "\n".join(texts))
    if len(marks) >= FEWEST_MARKS:
        yield from _marks(marks, where)
