"""The pieces of a file, by its contents: each format has its reader, and packed parts are read in turn.

A reader that fails leaves the part's bytes, which are then searched without a structure, and a note of what was not
looked into. No reader loads, imports or runs anything that a file names.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from testbed.core import Array
from testbed.subjects.artefacts import (
    arrays,
    columnar,
    formats,
    marked_up,
    notebooks,
    onnx_file,
    pickled,
    pictures,
    plain,
    r_objects,
    structured,
    tensors,
    workbooks,
)
from testbed.subjects.artefacts.pickles import Reader
from testbed.subjects.artefacts.pieces import Limits, Piece, Raw, Text, TooMuchError, Unseen, Where, code_name

CHUNK = 2**20
MOST_STORAGES = 200_000
NOT_READ = {
    "7z": "the archive is of a kind that is not unpacked",
    "RAR": "the archive is of a kind that is not unpacked",
    "lz4": "it is packed in a way that is not unpacked",
    "HDF5": "its arrays may be packed; only words and numbers as they stand were searched",
    "old Office file": "only words and numbers as they stand were searched",
    "DICOM": "only words and numbers as they stand were searched; its picture was not looked at",
    "program": "only words and numbers as they stand were searched",
}


def of_file(path: Path, limits: Limits | None = None) -> Iterator[Piece]:
    """The pieces of a file. Raises `OSError` if it cannot be read."""
    limits = limits or Limits()
    with path.open("rb") as file:
        data = file.read(limits.largest + 1)
    if len(data) > limits.largest:
        yield Unseen((), f"all beyond the first {limits.largest / 2**30:g} GiB")
        data = data[: limits.largest]
    yield from Walk(limits).pieces((), data, 0)


class Walk:
    """Reads packed parts within the limits of one scan."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def pieces(self, where: Where, data: bytes, depth: int) -> Iterator[Piece]:
        """The pieces of some bytes, which lie in so many packings."""
        if not data:
            return
        if depth > self.limits.depth:
            yield Unseen(where, "it is packed too deep")
            return
        kind = formats.of(data)
        here = (*where, kind) if kind not in ("text", "binary") else where
        try:
            yield from self._read(kind, here, data, depth)
        except TooMuchError as limit:
            yield Unseen(here, str(limit))
            yield Raw(here, data)
        except (ValueError, RecursionError, MemoryError, OSError, EOFError, ArithmeticError, LookupError) as error:
            yield from self._failed(here, data, error)
        except Exception as error:  # libraries raise errors of their own on damaged files
            yield from self._failed(here, data, error)

    def _failed(self, where: Where, data: bytes, error: Exception) -> Iterator[Piece]:
        yield Unseen(where, f"its reader stopped with {type(error).__name__}; words and numbers were searched")
        yield Raw(where, data)

    def _read(self, kind: str, where: Where, data: bytes, depth: int) -> Iterator[Piece]:
        def packed(inner: Where, held: bytes) -> Iterator[Piece]:
            return self.pieces(inner, held, depth + 1)

        unpackers: dict[str, Callable[[bytes], IO[bytes]]] = {
            "gzip": lambda b: cast(IO[bytes], gzip.GzipFile(fileobj=io.BytesIO(b))),
            "bzip2": lambda b: bz2.BZ2File(io.BytesIO(b)),
            "xz": _xz,
            "lzma": _xz,
            "zstd": columnar.zstd,
        }
        readers: dict[str, Callable[[], Iterator[Piece]]] = {
            "zip": lambda: self._zip(where, data, depth),
            "tar": lambda: self._tar(where, data, depth),
            "zlib": lambda: self._zlib(where, data, depth),
            "pickle": lambda: self._pickle(where, data, depth),
            "npy": lambda: arrays.of_npy(data, self._around(where, depth), self.limits),
            "safetensors": lambda: tensors.of_safetensors(data, where),
            "ONNX": lambda: onnx_file.pieces(data, where),
            "HTML": lambda: marked_up.of_html(formats.text_of(data), where, packed),
            "XML": lambda: marked_up.of_xml(data, where, packed),
            "JSON": lambda: notebooks.of_json_or_notebook(formats.text_of(data), where, packed),
            "PNG": lambda: pictures.of_png(data, where, packed),
            "JPEG": lambda: pictures.of_jpeg(data, where, packed),
            "PDF": lambda: pictures.of_pdf(data, where, packed),
            "Parquet": lambda: columnar.of_parquet(data, where, self.limits),
            "Arrow": lambda: columnar.of_arrow(data, where, self.limits),
            "SQLite": lambda: columnar.of_sqlite(data, where, self.limits),
            "R": lambda: r_objects.pieces(data, where),
            "text": lambda: plain.of_text(formats.text_of(data), where, packed),
        }
        if kind in unpackers:
            with unpackers[kind](data) as file:
                yield from self.pieces(where, self._take(file), depth + 1)
        elif kind in readers:
            yield from readers[kind]()
        else:
            if kind in NOT_READ:
                yield Unseen(where, NOT_READ[kind])
            yield Raw(where, data)

    def _take(self, file: IO[bytes], size: int | None = None) -> bytes:
        """The bytes of a packed part, at most as many as the limits allow. Raises `TooMuchError`."""
        most = min(self.limits.largest, max(self.limits.unpacked, 0))
        if size is not None and size > most:
            raise TooMuchError("a packed part is too large when unpacked")
        chunks: list[bytes] = []
        held = 0
        while chunk := file.read(CHUNK):
            held += len(chunk)
            if held > most:
                raise TooMuchError("a packed part is too large when unpacked")
            chunks.append(chunk)
        self.limits.part(held)
        return b"".join(chunks)

    def _zlib(self, where: Where, data: bytes, depth: int) -> Iterator[Piece]:
        made = zlib.decompressobj()
        most = min(self.limits.largest, max(self.limits.unpacked, 0))
        held = made.decompress(data, most + 1)
        if len(held) > most:
            raise TooMuchError("a packed part is too large when unpacked")
        self.limits.part(len(held))
        yield from self.pieces(where, held, depth + 1)
        if made.unused_data:
            yield from self.pieces((*where, "behind the packed part"), made.unused_data, depth + 1)

    def _around(
        self, where: Where, depth: int, storages: Callable[[Any], Array | None] | None = None
    ) -> pickled.Around:
        return pickled.Around(
            where, storages or (lambda _: None), lambda inner, held: self.pieces(inner, held, depth + 1)
        )

    def _pickle(self, where: Where, data: bytes, depth: int) -> Iterator[Piece]:
        """Pickles one after another, and the numbers behind them as torch wrote them before 1.6."""
        reader = Reader(data, self.limits)
        roots = [reader.read()]
        if roots[0] == tensors.MAGIC:
            roots += [reader.read() for _ in range(4)]
            storages = _behind(roots[3], roots[4], data, reader.stream.tell())
            yield from pickled.pieces(roots[3], self._around((*where[:-1], "torch file"), depth, storages))
            return
        yield from pickled.pieces(roots[0], self._around(where, depth))
        rest = data[reader.stream.tell() :]
        if rest.strip(b"\x00\n"):
            yield from self.pieces((*where, "behind the pickle"), rest, depth + 1)

    def _tar(self, where: Where, data: bytes, depth: int) -> Iterator[Piece]:
        names: list[str] = []
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for place, member in enumerate(archive, 1):
                names.append(member.name)
                file = archive.extractfile(member) if member.isreg() else None
                if file is not None:
                    here = (*where, f"member {place}")
                    yield from self.pieces(here, self._take(file, member.size), depth + 1)
        yield Text((*where, "names of members"), "\n".join(names))

    def _zip(self, where: Where, data: bytes, depth: int) -> Iterator[Piece]:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [i for i in archive.infolist() if not i.is_dir()]
            if len(members) > self.limits.parts:
                raise TooMuchError("there are too many packed parts")
            names = {i.filename for i in members}
            if archive.comment:
                yield Text((*where, "comment"), formats.text_of(archive.comment))
            read: set[str] = set()
            if any(n.startswith("xl/") for n in names):
                yield from workbooks.pieces(names, lambda n: self._member(archive, n), (*where[:-1], "Excel"), read)
            elif "schema.json" in names and b"__loader__" in self._member(archive, "schema.json")[:4096]:
                yield from self._skops(archive, (*where[:-1], "skops"), depth, read)
            elif tops := [n for n in names if n.endswith(("data.pkl", "constants.pkl"))]:
                yield from self._torch(archive, tops, (*where[:-1], "torch file"), depth, read)
            else:
                yield Text((*where, "names of members"), "\n".join(sorted(names)))
            for place, info in enumerate(members, 1):
                if info.filename in read:
                    continue
                here = (*where, f"member {place} of {len(members)}")
                if info.flag_bits & 1:
                    yield Unseen(here, "it is encrypted")
                    continue
                yield from self.pieces(here, self._member(archive, info.filename), depth + 1)

    def _member(self, archive: zipfile.ZipFile, name: str) -> bytes:
        with archive.open(name) as file:
            return self._take(file, archive.getinfo(name).file_size)

    def _torch(
        self, archive: zipfile.ZipFile, tops: list[str], where: Where, depth: int, read: set[str]
    ) -> Iterator[Piece]:
        for top in sorted(tops):
            folder = top.rpartition("/")[0]
            inner = "constants" if top.endswith("constants.pkl") else "data"

            def storages(reference: Any, folder: str = folder, inner: str = inner) -> Array | None:
                key = getattr(reference, "key", None)
                if not isinstance(key, tuple) or len(key) < 3:
                    return None
                code, name = tensors.storage_code(key[1]), f"{folder}/{inner}/{key[2]}".lstrip("/")
                if not code or name not in archive.NameToInfo:
                    return None
                read.add(name)
                return tensors.numbers(self._member(archive, name), code)

            read.add(top)
            root = Reader(self._member(archive, top), self.limits).read()
            yield from pickled.pieces(root, self._around(where, depth, storages))

    def _skops(self, archive: zipfile.ZipFile, where: Where, depth: int, read: set[str]) -> Iterator[Piece]:
        schema = self._member(archive, "schema.json")
        read.add("schema.json")
        held = structured.arrays_of_skops(schema)
        yield Text(where, "\n".join(structured.texts_of_skops(schema)), lines=False)
        for name, (holder, attribute) in held.items():
            if name not in archive.NameToInfo or not name.endswith(".npy"):
                continue
            read.add(name)
            own, attribute = code_name(holder), code_name(attribute)
            here = (*where, f"{own}.{attribute}" if own and attribute else own or "array")
            try:
                content = self._member(archive, name)
                yield from arrays.of_npy(content, self._around(here, depth), self.limits, own, attribute)
            except ValueError:
                yield Unseen(here, "an array of a kind that is not read")


def _xz(data: bytes) -> IO[bytes]:
    return lzma.open(io.BytesIO(data))


def _behind(root: Any, keys: Any, data: bytes, start: int) -> Callable[[Any], Array | None]:
    """The storages behind the pickles of an old torch file: for each key its count, and the numbers."""
    codes: dict[str, str] = {}
    stack: list[Any] = [root]
    seen: set[int] = set()
    while stack:
        node = stack.pop()
        if id(node) in seen or node is None or isinstance(node, str | bytes | int | float):
            continue
        seen.add(id(node))
        if type(node).__name__ == "Stored" and isinstance(node.key, tuple) and len(node.key) >= 3:
            codes[str(node.key[2])] = tensors.storage_code(node.key[1])
        stack += [getattr(node, name, None) for name in ("args", "state", "items", "pairs")]
        if isinstance(node, list | tuple):
            stack.extend(node)
    held: dict[str, Array] = {}
    for key in (keys if isinstance(keys, list) else [])[:MOST_STORAGES]:
        code = codes.get(str(key), "")
        width = tensors.width(code) if code else 0
        count = int.from_bytes(data[start : start + 8], "little")
        if not width or count * width > len(data) - start - 8:
            break
        held[str(key)] = tensors.numbers(data[start + 8 : start + 8 + count * width], code)
        start += 8 + count * width

    def of(reference: Any) -> Array | None:
        key = getattr(reference, "key", None)
        return held.get(str(key[2])) if isinstance(key, tuple) and len(key) >= 3 else None

    return of
