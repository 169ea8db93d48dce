"""What stands beside a picture: texts of PNG, comments and camera data of JPEG, and texts of PDF."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from testbed.subjects.artefacts import formats, plain
from testbed.subjects.artefacts.pickled import Packed
from testbed.subjects.artefacts.pieces import Piece, Text, Unseen, Where

LARGEST_STREAM = 2**26
STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)
LITERAL = re.compile(rb"\((?:[^()\\]|\\.)*\)")
HEXED = re.compile(rb"<([0-9A-Fa-f\s]{4,})>")


def of_png(data: bytes, where: Where, packed: Packed) -> Iterator[Piece]:
    """The texts of a PNG file, and what is written behind its end. The picture itself is not looked at."""
    place = 8
    while place + 8 <= len(data):
        size, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if size > len(data) - place - 8:
            raise ValueError("a part longer than the file")
        content = data[place + 8 : place + 8 + size]
        place += 12 + size
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            yield from _text_of_png(kind, content, (*where, "metadata"), packed)
        if kind == b"IEND":
            break
    if data[place:].strip(b"\x00"):
        yield from packed((*where, "behind the picture"), data[place:])


def _text_of_png(kind: bytes, content: bytes, where: Where, packed: Packed) -> Iterator[Piece]:
    key, _, rest = content.partition(b"\x00")
    if kind == b"zTXt":
        rest = _inflated(rest[1:])
    elif kind == b"iTXt":
        squeezed, rest = rest[:1] == b"\x01", rest[2:]
        rest = rest.split(b"\x00", 2)[-1]
        rest = _inflated(rest) if squeezed else rest
    elif kind == b"eXIf":
        yield Text(where, plain.words_of(content), lines=False)
        return
    yield from plain.of_text(f"{key.decode('latin-1')}\n{formats.text_of(rest)}", where, packed)


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, LARGEST_STREAM)
    except zlib.error:
        return b""


def of_jpeg(data: bytes, where: Where, packed: Packed) -> Iterator[Piece]:
    """The comments and the camera's data of a JPEG file, and what is written behind its end."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] not in (0xDA, 0xD9):
        kind, size = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        content = data[place + 4 : place + 2 + size]
        if kind == 0xFE or 0xE1 <= kind <= 0xEF:
            yield Text((*where, "metadata"), plain.words_of(content), lines=False)
        place += 2 + size
    end = data.rfind(b"\xff\xd9")
    if end >= 0 and data[end + 2 :].strip(b"\x00"):
        yield from packed((*where, "behind the picture"), data[end + 2 :])


def of_pdf(data: bytes, where: Where, packed: Packed) -> Iterator[Piece]:
    """The texts of a PDF that stand in it as letters, also in packed streams."""
    yield Unseen(where, "text in fonts of its own, and pictures: copy the text out of it, and scan that as well")
    texts = [_literal(m[0]) for m in LITERAL.finditer(STREAM.sub(b"", data))]
    for found in STREAM.finditer(data):
        content = _inflated(found[1]) or found[1]
        if formats.is_text(content[: formats.HEAD]):
            if b"<x:xmpmeta" in content or b"<rdf:" in content:
                texts.append(formats.text_of(content))
            else:
                texts += _drawn(content)
        elif formats.of(content) not in ("binary", "text", "JPEG"):
            yield from packed((*where, "attachment"), content)
    if texts:
        yield Text(where, "\n".join(texts))


def _drawn(content: bytes) -> list[str]:
    """The texts that a page draws, one a drawing command."""
    lines: list[str] = []
    for command in re.split(rb"\bT[jJ]\b", content):
        parts = [_literal(m[0]) for m in LITERAL.finditer(command)]
        parts += [
            bytes.fromhex(re.sub(rb"\s", b"", m[1]).decode()[: len(m[1]) // 2 * 2][: 2 * 10**6]).decode("latin-1")
            for m in HEXED.finditer(command)
            if len(re.sub(rb"\s", b"", m[1])) % 2 == 0
        ]
        if parts:
            lines.append("".join(parts))
    return lines


def _literal(found: bytes) -> str:
    inner = re.sub(rb"\\([()\\])", rb"\1", found[1:-1])
    return inner.decode("utf-16-be", errors="ignore") if inner.startswith(b"\xfe\xff") else inner.decode("latin-1")
