"""Does a file carry rows of people? What was seen in it, where, how surely, and what could not be looked into.

Nothing that is reported holds a value of the file or of an original: only kinds, places and numbers of rows.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from testbed.core import Array
from testbed.harness.artefact import nearby, rows, shapes
from testbed.harness.artefact.nearby import Index
from testbed.harness.artefact.originals import Original
from testbed.harness.release import identifiers
from testbed.subjects.artefacts import plain, walk
from testbed.subjects.artefacts.pieces import Cells, Grid, Limits, Marks, Piece, Raw, Text, Unseen, Where

Sure: TypeAlias = Literal["certain", "likely", "perhaps"]
MOST_LINES = 50_000
"""Different lines of one text, or cells of one column, in which identifiers are looked for."""
FEWEST_IDENTIFIERS = 3
"""Fewer identifiers may be an author's or a maker's."""
NOT_OF_PEOPLE = {identifiers.PAGE, identifiers.ADDRESS_ON_NET, identifiers.POSITION}
"""Kinds that files hold for other reasons: links, versions."""
NUMBERS = re.compile(r"(?<![\w.+-])(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?(?:[ ,;\t]+|$)){5,}")
"""Five and more plain numbers in a row: parameters of a model. A telephone number has a prefix, a zero or a sign."""
MAKERS = re.compile(r"[\w.+-]+@(?:[\w-]+\.)*yandex-team\.\w+")
"""Addresses that libraries write into each of their files: CatBoost's."""
LIKE_RECORDS = 20
"""Lines of one form that look like records."""
MOST_SERIES = 200
"""Arrays of one length that are compared as one table."""
SCALERS = (("mean_", "scale_"), ("center_", "scale_"), ("min_", "scale_"))
MOST_OFFSETS = 60


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that was seen. `original` names the table whose rows these are, if one was given and they were found.

    `rows` is the number of rows, people or identifiers; `columns` that of columns or None.
    """

    kind: str
    where: str
    sure: Sure
    rows: int
    columns: int | None
    text: str
    original: str | None = None


@dataclass(slots=True)
class Scanned:
    """What was seen in one file, and what was not looked into: place and reason."""

    name: str
    seen: list[Seen] = field(default_factory=list[Seen])
    unseen: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def scan(path: Path, originals: Sequence[Original] = (), limits: Limits | None = None) -> Scanned:
    """Look through one file. Raises `OSError` if it cannot be read."""
    found = Scanned(path.name)
    pieces = list(_once(walk.of_file(path, limits)))
    for piece in pieces:
        if isinstance(piece, Unseen):
            found.unseen.append((place(piece.where), piece.why))
        else:
            found.seen += _alone(piece)
    for original in originals:
        found.seen += _of_original(nearby.indexed(original), pieces)
    found.seen.sort(key=lambda s: (("certain", "likely", "perhaps").index(s.sure), -s.rows))
    found.unseen = list(dict.fromkeys(found.unseen))
    return found


def place(where: Where) -> str:
    return " > ".join(where) or "the file"


def _once(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Pieces without arrays that stood before: a model may keep its records twice."""
    seen: set[bytes] = set()
    for piece in pieces:
        if isinstance(piece, Grid):
            if piece.values.dtype.kind == "M":
                flat = np.datetime_as_string(piece.values.ravel()).tolist()
                yield Cells(piece.where, "data frame", [flat])
                continue
            digest = hashlib.blake2b(np.ascontiguousarray(piece.values).tobytes(), digest_size=16).digest()
            digest += str(piece.values.shape).encode()
            if digest in seen and piece.values.size > FEWEST_IDENTIFIERS:
                continue
            seen.add(digest)
        yield piece


def _alone(piece: Piece) -> Iterator[Seen]:
    """What a piece shows without an original."""
    where = place(piece.where)
    if isinstance(piece, Grid):
        shape = " x ".join(map(str, piece.values.shape))
        count = len(piece.values) if piece.values.ndim else 0
        width = int(np.prod(piece.values.shape[1:])) if piece.values.ndim > 1 else None
        if shapes.holds_records(piece):
            text = f"a {piece.holder} keeps the records that it was trained on ({shape})"
            yield Seen("training records", where, "certain", count, width, text)
        elif shapes.like_records(piece):
            text = f"an array of {shape} numbers has the form and the values of records"
            yield Seen("table-shaped array", where, "perhaps", count, width, text)
    elif isinstance(piece, Cells):
        count = piece.rows - (piece.names is None and piece.kind not in ("data frame", "cache"))
        if piece.kind in TAKEN:
            sure, text = TAKEN[piece.kind]
            yield Seen("words of training data", where, sure, count, None, text.format(count))
        elif shapes.like_table(piece):
            sure = "perhaps" if piece.kind in ("file", "table in a page") else "likely"
            text = f"a {WORDS[piece.kind]} of {count} rows and {len(piece.columns)} columns"
            yield Seen("table", where, sure, count, len(piece.columns), text)
        yield from _identifiers(piece, where)
    elif isinstance(piece, Text):
        yield from _in_lines(piece.text, where)
        if piece.lines and (count := _like_records(piece.text)):
            text = f"{count} lines of one form, with words that belong to people"
            yield Seen("lines like records", where, "perhaps", count, None, text)
    elif isinstance(piece, Raw):
        yield from _in_lines(plain.words_of(piece.data, 8), where)
    elif isinstance(piece, Marks):
        text = f"a drawing of {piece.count} single marks, perhaps one for each record"
        yield Seen("marks", where, "perhaps", piece.count, None, text)


TAKEN: dict[str, tuple[Sure, str]] = {
    "vocabulary": ("likely", "a vocabulary of {} words, as vectorisers take it from the texts they are trained on"),
    "categories": ("perhaps", "{} different values of a column of words, as encoders keep them"),
}
"""How sure it is that words are those of training data, and the sentence."""
WORDS = {
    "data frame": "data frame",
    "sheet": "sheet",
    "hidden sheet": "hidden sheet",
    "cache": "cache",
    "table in a page": "table in a page",
    "output": "table in an output",
    "file": "table",
}


def _identifiers(cells: Cells, where: str) -> Iterator[Seen]:
    for number, column in enumerate(cells.columns, 1):
        name = cells.names[number - 1] if cells.names else str(column[0]) if column else ""
        values = dict.fromkeys(v for v in column if isinstance(v, str | int | float) and not isinstance(v, bool))
        yield from _told(name, list(values)[:MOST_LINES], f"{where} > column {number}")


def _in_lines(text: str, where: str) -> Iterator[Seen]:
    """Identifiers in the lines of a text that hold an @, a form of address or several digits."""
    kept = (NUMBERS.sub(" ", MAKERS.sub(" ", line.strip()[:2000])) for line in text.splitlines())
    lines = dict.fromkeys(kept)
    yield from _told("", list(lines)[:MOST_LINES], where)


def _told(name: str, values: Sequence[str | int | float], where: str) -> Iterator[Seen]:
    for found in identifiers.scan(name, values):
        if not found.believed or found.kind in NOT_OF_PEOPLE:
            continue
        count = len(found.values)
        sure: Sure = "likely" if found.strong and count >= FEWEST_IDENTIFIERS else "perhaps"
        yield Seen("identifiers", where, sure, count, None, f"{count} of the kind {found.kind}")


PERSONAL = re.compile(
    r"(?<![a-z])(?:patient|subject|person|mrn|ssn|dob|birth|born|age|sex|gender|diagnos\w*|admi\w+|ward|icd)(?![a-z])",
    re.IGNORECASE,
)


def _like_records(text: str) -> int:
    """The number of lines of the commonest form (digits made one), if they vary in three places and are of people."""
    forms: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines()[:MOST_LINES]:
        if PERSONAL.search(line):
            forms[re.sub(r"\d+(?:\.\d+)?", "#", line.strip())].append(line)
    form, lines = max(forms.items(), key=lambda f: len(f[1]), default=("", []))
    return len(lines) if len(set(lines)) >= LIKE_RECORDS and form.count("#") >= 3 else 0


def _of_original(index: Index, pieces: list[Piece]) -> Iterator[Seen]:
    """Which rows and identifiers of an original stand in the pieces."""
    original = index.original
    everywhere: dict[str, tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
    scalings = _scalings(pieces)
    for piece in [*pieces, *_series(pieces)]:
        if isinstance(piece, Unseen | Marks):
            continue
        people, named = _in_piece(index, piece, scalings)
        where = place(piece.where)
        everywhere[where][0].update(people)
        everywhere[where][1].update(named)
    for where, (people, named) in everywhere.items():
        if people:
            text = f"{len(people)} of its {original.rows} rows stand here"
            yield Seen("rows of the original", where, "certain", len(people), None, text, original.name)
        if named:
            text = f"values that each name one person alone: {len(named)} of them stand here"
            yield Seen("identifiers of the original", where, "certain", len(named), None, text, original.name)


def _in_piece(index: Index, piece: Piece, scalings: list[tuple[Array, Array]]) -> tuple[set[int], set[int]]:
    original = index.original
    if isinstance(piece, Grid):
        return _in_grid(index, piece, scalings), set()
    if isinstance(piece, Cells):
        people = rows.among(original, rows.of_columns(piece.columns, piece.names))
        lines = "\n".join(" ".join(_shown(c[i]) for c in piece.columns) for i in range(piece.rows))
        more, named = nearby.in_text(index, lines, True)
        return (people | more if piece.kind in ("output", "table in a page") or not people else people), named
    if isinstance(piece, Text):
        return nearby.in_text(index, piece.text, piece.lines)
    if isinstance(piece, Raw):
        people, named = nearby.in_text(index, plain.words_of(piece.data), False)
        return people | nearby.in_bytes(index, piece.data), named
    return set(), set()


def _shown(value: object) -> str:
    return "" if value is None else value.isoformat() if hasattr(value, "isoformat") else str(value)  # pyright: ignore


def _in_grid(index: Index, grid: Grid, scalings: list[tuple[Array, Array]]) -> set[int]:
    """Rows in an array: as it is, turned round, and with a scaling of the same file taken back."""
    values = grid.values
    if values.dtype.kind not in "iufb" or values.ndim == 0 or values.size < rows.FEWEST_CELLS:
        return set()
    if values.ndim == 1:
        return nearby.in_numbers(index, values)
    flat = values.reshape(len(values), -1)
    original = index.original
    people = rows.among(original, rows.of_array(flat))
    if flat.shape[0] <= rows.MOST_FIELDS < flat.shape[1] or (flat.shape[0] < flat.shape[1] and flat.shape[0] <= 100):
        people |= rows.among(original, rows.of_array(flat.T))
    for shift, scale in scalings:
        width = len(scale)
        if not rows.FEWEST_CELLS <= width <= flat.shape[1]:
            continue
        coarse = 1e-5 if flat.dtype.itemsize <= 4 else 1e-9
        for offset in range(min(flat.shape[1] - width + 1, MOST_OFFSETS)):
            back = flat[:, offset : offset + width].astype(np.float64) * scale + shift
            fields = rows.of_array(back)
            people |= rows.among(original, rows.Fields(fields.numbers, fields.texts, None, coarse))
    return people


def _scalings(pieces: list[Piece]) -> list[tuple[Array, Array]]:
    """Shift and scale (d,) of each scaler in the file: stored = (record - shift) / scale."""
    found: dict[tuple[Where, str], dict[str, list[Array]]] = defaultdict(lambda: defaultdict(list))
    for piece in pieces:
        if isinstance(piece, Grid) and piece.values.ndim == 1 and piece.values.dtype.kind == "f" and piece.holder:
            found[piece.where[:-1], piece.holder][piece.name].append(piece.values)
    made: list[tuple[Array, Array]] = []
    for held in found.values():
        for shift_name, scale_name in SCALERS:
            for shift, scale in zip(held.get(shift_name, []), held.get(scale_name, []), strict=False):
                if shift.shape != scale.shape:
                    continue
                if shift_name == "min_":  # stored = record * scale + min
                    with np.errstate(all="ignore"):
                        made.append((-shift / scale, 1 / scale))
                else:
                    made.append((shift, scale))
    return [(a, b) for a, b in made if np.isfinite(a).all() and np.isfinite(b).all()]


def _series(pieces: list[Piece]) -> Iterator[Cells]:
    """Arrays and columns of one length that stand apart in a file, as one table."""
    groups: dict[tuple[Where, int], list[list[object]]] = defaultdict(list)
    for piece in pieces:
        if isinstance(piece, Grid) and piece.values.ndim == 1 and piece.values.dtype.kind in "iufb":
            if len(piece.values) >= rows.FEWEST_CELLS:
                groups[piece.where[:1], len(piece.values)].append(piece.values.tolist())
        elif isinstance(piece, Cells) and len(piece.columns) == 1:
            groups[piece.where[:1], piece.rows].append(piece.columns[0])
    for (where, _), columns in groups.items():
        if rows.FEWEST_CELLS <= len(columns) <= MOST_SERIES:
            yield Cells((*where, "arrays of one length"), "data frame", columns)
