"""Plain text: tables by their separators or by columns of blanks, packed parts within, and the rest as lines."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import re
from collections.abc import Iterator

from testbed.subjects.artefacts import formats
from testbed.subjects.artefacts.pickled import Packed
from testbed.subjects.artefacts.pieces import Cells, Piece, TableKind, Text, Where

BLOB = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{24,}={0,2}(?![A-Za-z0-9+/_-])")
HEX = re.compile(r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{2}){24,}(?![0-9A-Za-z])")
WRAPPED = re.compile(r"(?:[A-Za-z0-9+/]{60,76}\r?\n){2,}[A-Za-z0-9+/]*={0,2}")
"""Base64 over several lines, as mail and openssl write it."""
SEPARATORS = (",", ";", "\t", "|")
FEWEST_ROWS, FEWEST_COLUMNS = 3, 3
SHARE = 0.9
"""The share of lines that must have the commonest number of cells."""
GAPS = re.compile(r"\s{2,}|\t")
MOST_BLOBS = 20_000
SAMPLE = 2_000


def of_text(text: str, where: Where, packed: Packed, *, lines: bool = True, output: bool = False) -> Iterator[Piece]:
    """The pieces of a text: a table if it is one, and the lines."""
    shown: TableKind = "output" if output else "file"
    table = _separated(text) if lines else None
    if table is not None:
        yield Cells(where, shown, table)
    else:
        yield Text(where, text, lines)
        if lines:
            for block in _blocks(text):
                yield Cells(where, shown, block)
    yield from _in_blobs(text, where, packed)


def _separated(text: str) -> list[list[str]] | None:
    """The columns of a text that is a table with separators, else None."""
    head = [line for line in text[: 2**20].splitlines() if line.strip()][:SAMPLE]
    if len(head) < FEWEST_ROWS:
        return None
    counts = {s: [line.count(s) for line in head] for s in SEPARATORS}
    best = max(SEPARATORS, key=lambda s: (_steady(counts[s]), max(counts[s])))
    usual = max(set(counts[best]), key=counts[best].count)
    if usual < FEWEST_COLUMNS - 1 and not (usual == 1 and best != "," and _steady(counts[best]) == 1):
        return None
    if _steady(counts[best]) < SHARE and not any('"' in line for line in head):
        return None
    csv.field_size_limit(2**31 - 1)
    rows = [r for r in csv.reader(io.StringIO(text), delimiter=best) if r]
    lengths = [len(r) for r in rows]
    width = max(set(lengths), key=lengths.count)
    if lengths.count(width) < SHARE * len(rows) or width < 2:
        return None
    return [[r[i].strip() for r in rows if len(r) == width] for i in range(width)]


def _steady(counts: list[int]) -> float:
    """The share of lines with the commonest number of separators, 0 if that number is 0."""
    usual = max(set(counts), key=counts.count)
    return counts.count(usual) / len(counts) if usual else 0.0


def _blocks(text: str) -> Iterator[list[list[str]]]:
    """Blocks of neighbouring lines that are parted by wide gaps, as pandas prints a table."""
    block: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        cells = GAPS.split(line.strip()) if line.strip() else []
        if len(cells) >= FEWEST_COLUMNS and (not block or abs(len(cells) - len(block[-1])) <= 1):
            block.append(cells)
            continue
        if len(block) > FEWEST_ROWS:
            lengths = [len(r) for r in block]
            width = max(set(lengths), key=lengths.count)
            rows = [r for r in block if len(r) == width]
            if len(rows) >= FEWEST_ROWS:
                yield [[r[i] for r in rows] for i in range(width)]
        block = []


def _in_blobs(text: str, where: Where, packed: Packed) -> Iterator[Piece]:
    """What stands in base64 or in hexadecimal digits within a text."""
    found = [(m[0], False) for m in WRAPPED.finditer(text)]
    left = WRAPPED.sub("\n", text) if found else text
    found += [(m[0], True) for m in HEX.finditer(left)] + [(m[0], False) for m in BLOB.finditer(left)]
    for place, (blob, digits) in enumerate(found[:MOST_BLOBS], 1):
        if (data := decoded(blob, digits)) is not None:
            yield from packed((*where, f"packed text {place}"), data)


SMALLEST_BINARY = 64
"""Bytes of no known format that are worth a look: a shorter run may be any word or digest."""


def decoded(blob: str, digits: bool) -> bytes | None:
    """The bytes of a run of base64 or of digits, if they are text, of a known format, or many; else None."""
    try:
        if digits:
            data = bytes.fromhex(blob)
        else:
            whole = re.sub(r"\s", "", blob).replace("-", "+").replace("_", "/").rstrip("=")
            data = base64.b64decode(whole + "=" * (-len(whole) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    kind = formats.of(data)
    if kind in ("text", "HTML", "XML", "JSON"):
        text = data.decode("utf-8", errors="replace")
        readable = sum(c.isprintable() or c.isspace() for c in text) - 4 * text.count("\ufffd")
        return data if readable > SHARE * len(text) else None
    return data if kind != "binary" or len(data) >= SMALLEST_BINARY else None


def words_of(data: bytes, fewest: int = 4) -> str:
    """The readable runs in bytes, a line each: of one byte a letter, and of two as Windows writes them."""
    one = re.findall(rb"[\x20-\x7e\xc3-\xf4\x80-\xbf]{%d,}" % fewest, data)
    two = re.findall(rb"(?:[\x20-\x7e]\x00){%d,}" % fewest, data)
    texts = [b.decode("utf-8", errors="ignore") for b in one] + [b.decode("utf-16-le", errors="ignore") for b in two]
    return "\n".join(texts)
