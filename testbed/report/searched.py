# pyright: strict
"""Texts made comparable: the gate looks for values of people, and not for one of their spellings.

Letters are folded (case, accents, width, invisible characters), and what lies between letters and digits is left out.
Dates are read as days, numbers as numbers, and encoded parts are decoded. Two texts that a page puts side by side stay
two texts.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import html
import re
import unicodedata
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

TOKEN = re.compile(r"[^\W_]+")
PIECE = re.compile(r"\d+|[^\W\d_]+")
NUMBER = re.compile(
    r"(?<![\d.,])(?:\d{1,3}(?:[ '\u2019]\d{3})+|\d{1,3}(?:\.\d{3}){2,}|\d+(?:[.,]\d+)*)(?:[.,]\d+)?(?:e[-+]?\d+)?(?!\d)"
)
TAGS = re.compile(r"<style\b.*?</style>|<[^>]*>", re.IGNORECASE | re.DOTALL)
QUOTED = re.compile(r"([\w:-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
DRAWN = {
    *("viewbox", "d", "points", "transform", "width", "height"),
    *("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "dx", "dy", "r", "rx", "ry"),
}
"""Attributes that hold coordinates, each a number by itself."""
ESCAPES = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
MONTHS = (
    *("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    *("januari", "februari", "mars", "april", "maj", "juni", "juli", "augusti", "september", "oktober"),
    *("januar", "februar", "marz", "mai", "dezember", "janvier", "fevrier", "avril", "juin", "juillet", "aout"),
    *("septembre", "octobre", "novembre", "decembre", "december", "november", "october", "okt", "dez"),
)
"""Names of months, folded, in English, Swedish, German and French; also how longer ones begin."""
NUMBERS_OF_MONTHS = {
    **{name: i + 1 for i, name in enumerate(MONTHS[:12])},
    "mai": 5,
    "maj": 5,
    "okt": 10,
    "dez": 12,
    "aou": 8,
    "avr": 4,
    "fev": 2,
}
DATES = (
    (re.compile(r"(?<!\d)(\d{4})([-/. ]?)(\d{1,2})\2(\d{1,2})(?!\d)"), "ymd"),
    (re.compile(r"(?<![\d.])(\d{1,2})([-/. ])(\d{1,2})\2(\d{4}|\d\d)(?![\d])"), "dmy"),
    (re.compile(r"(?<![\d.])(\d{2})([-/. ])(\d{2})\2(\d{2})(?![\d])"), "ymd"),
)
WRITTEN = (
    re.compile(r"(?<!\d)(\d{1,2})\.? ?(?:st|nd|rd|th)?(?: of)? ?([^\W\d_]{3,9})\.?,? ?(\d{4})(?!\d)"),
    re.compile(r"([^\W\d_]{3,9})\.? ?(\d{1,2})(?:st|nd|rd|th)?,? (\d{4})(?!\d)"),
)
BLOBS: tuple[tuple[re.Pattern[str], Callable[[str], bytes]], ...] = (
    (
        re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}"),
        lambda t: base64.b64decode(_filled(t.replace("-", "+").replace("_", "/"), 4)),
    ),
    (re.compile(r"[A-Z2-7]{8,}={0,6}"), lambda t: base64.b32decode(_filled(t, 8))),
    (re.compile(r"(?:[0-9a-fA-F]{2}){5,}"), binascii.unhexlify),
    (re.compile(r"[!-~]{8,}"), base64.b85decode),
    (re.compile(r"[!-u]{8,}"), base64.a85decode),
)
"""What encoded text looks like, and how it is decoded."""
MARKUP = (".html", ".svg", ".xml", ".junit.xml")

Day = tuple[int, int, int]


def _filled(text: str, width: int) -> str:
    bare = text.rstrip("=")
    return bare + "=" * (-len(bare) % width)


def folded(text: str) -> str:
    """The text without case, accents, widths and invisible characters."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in text if unicodedata.category(c) not in ("Mn", "Cf"))
        text = text.replace("\u00f8", "o").replace("\u0142", "l").replace("\u0111", "d")
    return text.casefold()


def tokens(text: str) -> list[str]:
    """The runs of letters and digits of a text, folded."""
    return TOKEN.findall(folded(text))


def days(text: str) -> set[Day]:
    """The days that a text names, in each way in which its dates can be read; `text` is folded."""
    found: set[Day] = set()
    for pattern, order in DATES:
        for match in pattern.finditer(text):
            one, other, third = int(match[1]), int(match[3]), int(match[4])
            read = [(one, other, third)] if order == "ymd" else [(third, other, one), (third, one, other)]
            found |= {d for day in read if (d := _day(*day))}
    for i, pattern in enumerate(WRITTEN):
        for match in pattern.finditer(text):
            day, month = (match[1], match[2]) if i == 0 else (match[2], match[1])
            known = NUMBERS_OF_MONTHS.get(month[:3]) if month[:3] in MONTHS or month in MONTHS else None
            known = {"juil": 7, "juin": 6, "juli": 7, "juni": 6}.get(month[:4], known)
            if known and (d := _day(int(match[3]), known, int(day))):
                found.add(d)
    return found


def _day(year: int, month: int, day: int) -> Day | None:
    year += 0 if year > 99 else 2000 if year < 30 else 1900
    return (year, month, day) if 1800 <= year < 2200 and 1 <= month <= 12 and 1 <= day <= 31 else None


def numbers(text: str) -> set[tuple[float, int]]:
    """The numbers of a folded text as they may be read, each with its decimals; a sign is left out."""
    found: set[tuple[float, int]] = set()
    for match in NUMBER.finditer(text):
        if _within_a_word(text, match):
            continue
        token = re.sub(r"[ '\u2019]", "", match[0])
        for spelling in {token.replace(",", ""), token.replace(",", "."), token.replace(".", "").replace(",", ".")}:
            try:
                value = float(spelling)
            except ValueError:
                continue
            mantissa, _, power = spelling.partition("e")
            decimals = len(mantissa.partition(".")[2]) - int(power or 0)
            found.add((value, decimals))
    return found


def _within_a_word(text: str, match: re.Match[str]) -> bool:
    """Is the number a part of a digest or another long word? A unit of up to four letters may be glued to it."""
    before = re.search(r"[^\W_]*$", text[max(0, match.start() - 6) : match.start()])
    after = re.match(r"[^\W_]*", text[match.end() : match.end() + 6])
    return any(m is not None and (len(m[0]) > 4 or any(c.isdigit() for c in m[0])) for m in (before, after))


@dataclass(slots=True)
class Searched:
    """Texts in which values are looked up. Each text is a text of its own: no value is found across two of them."""

    compact: str = ""
    """All texts without what lies between letters and digits, with a line's end between two of them."""
    starts: list[int] = field(default_factory=list[int])
    """Where a token begins in `compact`."""
    days: set[Day] = field(default_factory=set[Day])
    numbers: set[tuple[float, int]] = field(default_factory=set[tuple[float, int]])

    @staticmethod
    def of(texts: Iterable[str], dated: bool = True) -> Searched:
        made = Searched()
        pieces: list[str] = []
        length = 0
        for text in texts:
            plain = folded(text)
            if dated and any(c.isdigit() for c in plain):
                made.days |= days(plain)
                made.numbers |= numbers(plain)
            end = 0
            for match in TOKEN.finditer(plain):
                before, gap = pieces[-1] if pieces and end else "", plain[end : match.start()]
                if before[-1:].isdigit() and match[0][0].isdigit() and not _joins(gap, plain, before, match):
                    pieces.append("\t")
                    length += 1
                made.starts.append(length)
                pieces.append(match[0])
                length += len(match[0])
                end = match.end()
            pieces.append("\n")
            length += 1
        made.compact = "".join(pieces)
        return made

    def holds(self, key: str) -> bool:
        """Is the key there, as a word or glued to one? Digits are never cut out of other digits."""
        at = self.compact.find(key)
        while at >= 0:
            if self._stands(key, at):
                return True
            at = self.compact.find(key, at + 1)
        return False

    def _stands(self, key: str, at: int) -> bool:
        before, after = self.compact[at - 1 : at], self.compact[at + len(key) : at + len(key) + 1]
        first, last = self._begins(at), after in ("", "\n", "\t") or self._begins(at + len(key))
        if not first and (not before or (key[0].isdigit() and before.isdigit())):
            return False
        if not last and key[-1].isdigit() and after.isdigit():
            return False
        if first and last:
            return True
        # Glued at one end of a longer word, or where letters and digits meet.
        left = first or before.isdigit() != key[0].isdigit()
        right = last or after.isdigit() != key[-1].isdigit()
        return (left and right) or ((first or last) and len(key) >= 7 and not key.isdigit())

    def _begins(self, at: int) -> bool:
        place = bisect_left(self.starts, at)
        return place < len(self.starts) and self.starts[place] == at


def _joins(gap: str, text: str, before: str, match: re.Match[str]) -> bool:
    """Do two runs with digits belong together? Not in a list (`1, 2`), and not where the point is a decimal one."""
    if len(gap) != 1 or gap not in " -./'\u2019:_+\u00a0\u2010\u2011\u2012\u2013":
        return False
    if gap != "." or not (before.isdigit() and match[0].isdigit()):
        return True
    return bool(re.match(r"\.\d", text[match.end() :]) or re.search(r"\d\.\d+\.$", text[: match.start()]))


def layers(text: str, markup: bool) -> Iterator[str]:
    """The texts of an artefact, one by one, and each text found inside its encoded parts.

    In markup, the texts between tags and the values of attributes are looked at.
    """
    nodes = _nodes(text) if markup else [text]
    for node in nodes:
        yield node
        yield from unpacked(node)


def _nodes(text: str) -> Iterator[str]:
    for node in TAGS.split(text):
        if node.strip():
            yield html.unescape(node)
    for tag in TAGS.findall(text):
        for name, one, other in QUOTED.findall(tag):
            quoted = one or other
            if name.lower() in DRAWN:
                yield from re.split(r"[\s,A-Za-z()-]+", quoted)
            elif "base64," not in quoted:
                yield html.unescape(quoted)


def unpacked(text: str, depth: int = 3) -> Iterator[str]:
    """Each text inside the encoded parts of a text: escapes, per cent signs, bases 16 to 85, gzip, zlib."""
    if "\\" in text and (found := ESCAPES.sub(lambda m: chr(int(m[1] or m[2], 16)), text)) != text:
        yield found
    if "%" in text and (found := unquote(text)) != text:
        yield found
    if "&" in text and (found := html.unescape(text)) != text:
        yield found
    for pattern, decode in BLOBS:
        for blob in pattern.findall(text):
            for inner in _decoded(blob, decode):
                yield inner
                if depth:
                    yield from unpacked(inner, depth - 1)


def _decoded(blob: str, decode: Callable[[str], bytes]) -> Iterator[str]:
    try:
        raw = decode(blob)
    except (binascii.Error, ValueError):
        return
    packers = [gzip.decompress] * (raw[:2] == b"\x1f\x8b") + [zlib.decompress] * (raw[:1] == b"\x78")
    for unpack in (*packers, bytes):
        try:
            inner = unpack(raw)
            text = inner.decode("utf-8", errors="strict" if len(inner) < 24 else "ignore")
        except (OSError, EOFError, zlib.error, UnicodeDecodeError):
            continue
        if len(text) >= 3 and sum(c.isprintable() or c.isspace() for c in text) >= 0.9 * len(
            inner.decode("utf-8", "replace")
        ):
            yield text
