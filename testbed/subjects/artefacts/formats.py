"""Of which format are some bytes, by their contents and not by a name."""

from __future__ import annotations

import re

from testbed.subjects.artefacts.pickles import is_pickle

STARTS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x5d\x00\x00", "lzma"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x93NUMPY", "npy"),
    (b"PAR1", "Parquet"),
    (b"ARROW1", "Arrow"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"RDX2\n", "R"),
    (b"RDX3\n", "R"),
    (b"X\n\x00\x00\x00\x02", "R"),
    (b"X\n\x00\x00\x00\x03", "R"),
    (b"SQLite format 3\x00", "SQLite"),
    (b"%PDF", "PDF"),
    (b"\xd0\xcf\x11\xe0", "old Office file"),
    (b"7z\xbc\xaf", "7z"),
    (b"Rar!", "RAR"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
)
ZLIB = (b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")
HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)*(?:<!doctype html|<html|<head|<body|<table|<div)", re.IGNORECASE | re.DOTALL)
XML = re.compile(rb"\s*(?:<\?xml|<!--|<!DOCTYPE|<svg|<[A-Za-z_][\w.:-]*[\s/>])", re.IGNORECASE)
ASCII_PICKLE = re.compile(rb"(?:\(?[dl]p\d+\n|c[\w.]+\n\w+\n|\(c[\w.]+\n\w+\n|\(i[\w.]+\n\w+\n)")
TAR_MAGIC, TAR_PLACE = b"ustar", 257
HEAD = 4096
MANY = 0.05
"""Text has at most this share of control characters."""


def of(data: bytes) -> str:
    """The name of the format, `text`, or `binary` for anything that is not known."""
    for start, name in STARTS:
        if data.startswith(start):
            return name
    if is_pickle(data) or (ASCII_PICKLE.match(data) and data.rstrip().endswith(b".")):
        return "pickle"
    if data[TAR_PLACE : TAR_PLACE + 5] == TAR_MAGIC:
        return "tar"
    if data[128:132] == b"DICM":
        return "DICOM"
    if data.startswith(ZLIB) and len(data) > 2 and (data[0] << 8 | data[1]) % 31 == 0:
        return "zlib"
    if len(data) > 9 and data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8:
        return "safetensors"
    head = data[:HEAD]
    if looks_like_onnx(data):
        return "ONNX"
    if not is_text(head):
        return "binary"
    if HTML.match(head):
        return "HTML"
    stripped = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if stripped[:1] in (b"{", b"["):
        return "JSON"
    return "XML" if XML.match(head.removeprefix(b"\xef\xbb\xbf")) else "text"


def is_text(head: bytes) -> bool:
    """Whether bytes are text: UTF-16 with its mark, or few control characters and no zero byte."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    control = sum(c < 32 and c not in (9, 10, 12, 13, 27) for c in head)
    return 0 not in head and control <= MANY * len(head)


def looks_like_onnx(data: bytes) -> bool:
    """Whether bytes begin with an ONNX model's version, and a second field of the message follows."""
    if len(data) < 16 or data[0] != 0x08 or not 1 <= data[1] <= 30:
        return False
    return data[2] in (0x12, 0x1A, 0x22, 0x28, 0x3A, 0x42)


def text_of(data: bytes) -> str:
    """Bytes as text: UTF-16 with its mark, UTF-8, else one byte a letter."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")
