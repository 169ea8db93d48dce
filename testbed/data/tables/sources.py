"""The bytes of a user's text file: how they are packed, how letters are written in them, and whether they are text.

A file may be compressed (gzip, bzip2, xz, zstd, or a zip archive of one file). Its text may be UTF-8 or UTF-16, with or
without a byte order mark, or one byte a letter as Windows writes it in Western Europe.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from testbed.core.errors import InputError, UsageError
from testbed.data.tables.refusals import refuse

LARGEST_TEXT = 4 * 2**30
"""The largest text that is read, in bytes, unpacked."""
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
HEAD, TAIL, CHUNK = 2**18, 2**16, 2**20
"""The bytes at the beginning and at the end by which a text's form is found, and the bytes read at a time."""
LINES, LONGEST_HEAD = 20, 2**25
"""The beginning holds at least so many lines, unless they have more bytes than the second."""
ZEROS = 0.2
"""UTF-16 without a byte order mark has more than this share of zero bytes, all at odd or all at even places."""
BROKEN = 4
"""A text is damaged UTF-8, and no other encoding, if it holds this many times as many whole signs as broken ones."""
WESTERN = "cp1252"
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"))
MARKS_16 = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
SIGNATURES = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"SQLite format": "an SQLite database",
    b"$FL2": "an SPSS file",
    b"$FL3": "an SPSS file",
    b"ARROW1": "an Arrow file",
    b"ORC": "an ORC file",
    b"\x7fELF": "a program",
}
"""The first bytes of files that are no text, and what they are."""


@dataclass(frozen=True, slots=True)
class Source:
    """A text file that was looked through once."""

    path: Path
    encoding: str
    head: str
    """The text of its first bytes, to the end of a line."""
    tail: str
    """The text of its last bytes, from the beginning of a line; all of it if the file is short."""
    whole: bool
    """Whether `head` is all of the text."""

    @property
    def packed(self) -> bool:
        """Whether the text must be unpacked."""
        return self.path.suffix.lower() in PACKED

    def bytes_(self) -> IO[bytes]:
        return unpacked(self.path)

    def text(self) -> str:
        """All of the text."""
        with io.TextIOWrapper(self.bytes_(), encoding=self.encoding, newline="") as text:
            return text.read()


def unpacked(path: Path) -> IO[bytes]:
    """The file's bytes, unpacked by its ending. Raises `UsageError` for a zip archive of several files."""
    ending = path.suffix.lower()
    if ending == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if ending == ".bz2":
        return bz2.open(path, "rb")
    if ending == ".xz":
        return lzma.open(path, "rb")
    if ending == ".zst":
        import pyarrow as pa

        return cast(IO[bytes], pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"))
    if ending == ".zip":
        archive = zipfile.ZipFile(path)
        inner = [i for i in archive.infolist() if not i.is_dir() and not i.filename.startswith("__MACOSX/")]
        if len(inner) != 1 or inner[0].flag_bits & 1:
            raise UsageError(
                "TB-DATA-078",
                "The zip archive does not hold exactly one file that can be read.",
                f"It holds {len(inner)} files." if len(inner) != 1 else "Its file is encrypted.",
                "Unpack it, and give the table's own file.",
            )
        return archive.open(inner[0])
    return path.open("rb")


def inner_name(path: Path) -> str:
    """The name of the table's file without the ending of its packing; in a zip archive, the name of the packed file."""
    if path.suffix.lower() not in PACKED:
        return path.name
    if path.suffix.lower() == ".zip" and zipfile.is_zipfile(path):
        with unpacked(path) as file:
            return Path(str(getattr(file, "name", path.stem))).name
    return path.stem


def source(path: Path, role: str, encoding: str | None = None) -> Source:
    """The file's text, looked through once.

    `encoding` is the one that the user declares. Raises `InputError` for text that is too large, is no text, or is in
    another encoding than the declared one.
    """
    _small_enough(path.stat().st_size if path.suffix.lower() not in PACKED else 0, role)
    head, tail, size = b"", b"", 0
    utf8 = _Utf8()
    for chunk in _chunks(path):
        size += len(chunk)
        _small_enough(size, role)
        if len(head) < LONGEST_HEAD and (len(head) < HEAD or head.count(b"\n") < LINES):
            head += chunk
        tail = (tail + chunk)[-TAIL:]
        utf8.add(chunk)
    utf8.add(b"", final=True)
    if head.count(b"\n", 0, HEAD) >= LINES:
        head = head[:HEAD]
    whole = size <= len(head)
    found = encoding or _encoding(head, utf8.valid, role)
    try:
        return Source(
            path, found, _lines(head, found, whole), _last(tail, _of_mark(head, found), size <= len(tail)), whole
        )
    except (UnicodeDecodeError, LookupError):
        raise _no_text(role, f"It is not text in the encoding {found}.") from None


class _Utf8:
    """Whether bytes that come in chunks are UTF-8."""

    def __init__(self) -> None:
        self.valid = True
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def add(self, chunk: bytes, final: bool = False) -> None:
        if self.valid:
            try:
                self._decoder.decode(chunk, final)
            except UnicodeDecodeError:
                self.valid = False


def _chunks(path: Path) -> Iterator[bytes]:
    with unpacked(path) as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _small_enough(size: int, role: str) -> None:
    if size > LARGEST_TEXT:
        raise refuse(
            57,
            f"The {role} file is {size / 2**30:.1f} GiB of text.",
            f"Reading more than {LARGEST_TEXT / 2**30:g} GiB of text takes many times that size in memory.",
            "Save it as Parquet, which is read column by column, or evaluate a random sample of people.",
        )


def _no_text(role: str, why: str) -> InputError:
    return refuse(
        32,
        f"The {role} file is not text that can be read.",
        why,
        "Save it as UTF-8 or Parquet, or name its encoding in the meta file (encoding: cp1250).",
    )


def _encoding(head: bytes, is_utf8: bool, role: str) -> str:
    for start, what in SIGNATURES.items():
        if head.startswith(start):
            raise refuse(
                32,
                f"The {role} file is not text.",
                f"Its first bytes are those of {what}.",
                "Give the file its proper ending, such as .parquet, .xlsx or .gz, or export the table as CSV.",
            )
    for mark, encoding in (*MARKS, *MARKS_16):
        if head.startswith(mark):
            return encoding
    zeros = [head[i::2].count(0) for i in (0, 1)]
    if max(zeros) > ZEROS * len(head) and min(zeros) <= max(zeros) / 10:
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    if sum(zeros) or any(head.count(c) for c in (0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0E, 0x0F)):
        raise _no_text(role, "It holds bytes that stand in no text.")
    if is_utf8:
        return "utf-8"
    text = head.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    if broken and sum(ord(c) > 127 for c in text) - broken > BROKEN * broken:
        raise _no_text(role, "It is UTF-8 with some broken bytes, as after a cut.")
    try:
        head.decode(WESTERN)
    except UnicodeDecodeError:
        return "latin-1"
    return WESTERN


def _lines(head: bytes, encoding: str, whole: bool) -> str:
    """The head's text, to the end of its last whole line."""
    text = codecs.getincrementaldecoder(encoding)().decode(head, final=whole)
    if whole or "\n" not in text:
        return text
    return text[: text.rindex("\n") + 1]


def _last(tail: bytes, encoding: str, whole: bool) -> str:
    """The tail's text. It may begin within a letter or a line, which is left out; empty if no line end is seen."""
    text = tail.decode(encoding, errors="ignore")
    return text.lstrip("\ufeff") if whole else text.partition("\n")[2]


def _of_mark(head: bytes, encoding: str) -> str:
    """The encoding of what follows a byte order mark."""
    if encoding in ("utf-16", "utf-32"):
        little = head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF16_LE))
        return f"{encoding}-le" if little else f"{encoding}-be"
    return "utf-8" if encoding == "utf-8-sig" else encoding


def note(found: Source, declared: str | None) -> str:
    """What to say about an encoding that was guessed; empty if there was nothing to guess."""
    if declared or found.encoding not in (WESTERN, "latin-1", "utf-16-le", "utf-16-be"):
        return ""
    name = {WESTERN: "Windows-1252 (Western Europe)", "latin-1": "ISO 8859-1"}.get(found.encoding, "UTF-16")
    return f"it was read as {name}, as it is not UTF-8; the meta file can name another encoding"
