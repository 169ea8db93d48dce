"""The disclosure gate: it searches every artefact before it is written, and blocks it in case of doubt.

It blocks active content, external references and pictures of real data. For real data it also blocks any value of the
original or control table that fewer than `min_cell` people share: strings of six or more characters, numbers of five or
more significant digits, identifiers and dates, also inside base64 and gzip. Exempt are the testbed's own words, column
names, and facts of the run such as its id, seed and counts of guesses.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import html
import re
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from testbed.core.disclosure import MIN_CELL, People
from testbed.core.errors import DisclosureError
from testbed.core.readings import spellings
from testbed.findings.schema import Result

SHORTEST_STRING = 6
SHORTEST_IDENTIFIER = 4
SIGNIFICANT_DIGITS = 5
"""The smallest sizes that are searched for: characters of a string, of a person's identifier, digits of a number."""
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?(?![\w])")
BLOB = re.compile(r"[A-Za-z0-9+/_-]{32,}={0,2}")
ACTIVE = re.compile(r"<\s*(script|iframe|object|embed|link|base|form)\b", re.IGNORECASE)
HANDLER = re.compile(r"javascript:|\bon\w+\s*=", re.IGNORECASE)
EXTERNAL = re.compile(
    r"\b(?:src|href|srcset|action|data|poster)\s*=\s*(?![\"']?(?:#|data:image/png;base64,))", re.IGNORECASE
)
STYLE = re.compile(r"url\(\s*[\"']?(?!#)|@import", re.IGNORECASE)
BLANKS = re.compile(r"\s+")
ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
TAG = re.compile(r"<[^>]+>")
PICTURE = re.compile(r"(?<=data:image/png;base64,)[A-Za-z0-9+/=]*")


def check(artefacts: Mapping[str, bytes], result: Result, people: People | None, min_cell: int = MIN_CELL) -> None:
    """Raises `DisclosureError` if an artefact may not be shared; it names the artefact and the column, never the value.

    `people` holds the tables of real people to search for; without them only active and external content is searched.
    """
    real = result.subject.data_class == "real"
    if real and result.disclosure.pictures:
        raise _blocked("result.json", "holds pictures of real data")
    search(artefacts, people if real else None, min_cell, *exempt(result))


def exempt(result: Result) -> tuple[list[str], set[float]]:
    """Strings and numbers that are facts of the run, in which no value of a record is searched."""
    return _exempt(result), _exempt_numbers(result)


def search(
    artefacts: Mapping[str, bytes], people: People | None, min_cell: int, exempt: list[str], numbers: set[float]
) -> None:
    """Raises `DisclosureError` if an artefact holds active or external content, or tells of the people.

    `exempt` are strings, the longest first, and `numbers` are numbers that are facts of the run.
    """
    for name, content in artefacts.items():
        text = content.decode("utf-8")
        if name.endswith((".html", ".svg")):
            # The base64 text of a picture may look like an event handler by chance: "/on...=".
            tags = [PICTURE.sub("", tag) for tag in TAG.findall(text)]
            if ACTIVE.search(text) or any(HANDLER.search(tag) for tag in tags):
                raise _blocked(name, "holds active content")
            if STYLE.search(text) or any(EXTERNAL.search(tag) for tag in tags):
                raise _blocked(name, "refers to something outside itself")
        if people is None:
            continue
        for layer in _layers(text):
            cleaned = _without(layer, exempt)
            if column := _rare_value(cleaned, people, min_cell, numbers):
                raise _blocked(name, f"holds a value of column {column!r} that fewer than {min_cell} people share")


def _blocked(name: str, why: str) -> DisclosureError:
    return DisclosureError(
        "TB-GATE-001",
        f"The disclosure gate stopped {name}: it {why}.",
        "Nothing was written: a shared file must not describe single people.",
        "Check that column names and parameters hold no values of records. If they hold none, please report a defect.",
    )


def _layers(text: str) -> Iterator[str]:
    """The text itself, the text without tags and entities, and every text found inside its base64 or gzip parts."""
    yield text
    yield html.unescape(TAG.sub(" ", text))
    if ESCAPED.search(text):
        yield ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    for blob in BLOB.findall(text):
        yield from _decoded(blob)


def _decoded(blob: str, depth: int = 3) -> Iterator[str]:
    try:
        raw = base64.b64decode(blob.replace("-", "+").replace("_", "/") + "=" * (-len(blob.rstrip("=")) % 4))
    except (binascii.Error, ValueError):
        return
    for unpack in (gzip.decompress, zlib.decompress, lambda b: b):
        try:
            inner = unpack(raw)
        except (OSError, EOFError, zlib.error):
            continue
        text = inner.decode("utf-8", errors="ignore")
        if sum(c.isprintable() or c.isspace() for c in text) < 0.9 * len(inner):
            continue
        yield text
        if depth:
            for deeper in BLOB.findall(text):
                yield from _decoded(deeper, depth - 1)


def _exempt(result: Result) -> list[str]:
    """Strings that are facts of the run (id, digests, versions, policy, licence), longest first: they are exempt."""
    run = result.run
    strings = [run.id, run.created, run.scenario, run.environment.python, run.environment.system, run.tool.version]
    strings += [f"{k} {v}" for k, v in run.environment.packages.items()]
    strings += [*run.environment.packages, *run.environment.packages.values()]
    policy = result.decision.policy
    strings += [policy.id, policy.sha256] if hasattr(policy, "sha256") else []  # type: ignore[union-attr]
    strings += [result.subject.licence, result.subject.size_band]
    strings += [p.png_base64 for p in result.disclosure.pictures]
    if proof := result.proof:
        strings += [proof.findings, proof.decision, proof.content, proof.key or "", *(i.digest for i in proof.inputs)]
    # The report prints the date without its time.
    strings += [run.created[:10]]
    return sorted({s for s in strings if len(s) >= 3}, key=len, reverse=True)


def _exempt_numbers(result: Result) -> set[float]:
    numbers = {float(result.run.seed), result.run.duration_s, result.run.environment.cpu_seconds}
    numbers |= set((result.run.environment.client_round or {}).values())
    for finding in result.findings:
        numbers |= {float(finding.attack.requested), float(finding.attack.performed)}
        for measure in (
            finding.measure,
            finding.control,
            finding.baseline,
            finding.excess,
            finding.residual,
            finding.positive_control,
        ):
            numbers.add(float(getattr(measure, "n", 0)))
        numbers |= {float(v) for v in finding.attack.params.values() if isinstance(v, int | float)}
    for column in result.subject.table:
        for measure in (column.likeness, column.copies, column.control_copies):
            numbers.add(float(getattr(measure, "n", 0)))
    return numbers


def _without(text: str, exempt: list[str]) -> str:
    for string in exempt:
        text = re.sub(r"(?<![\w.@])" + re.escape(string) + r"(?![\w@]|\.\w)", " ", text)
    return text


def _rare_value(text: str, people: People, min_cell: int, exempt: set[float]) -> str | None:
    """The column of the first value in the text that fewer than `min_cell` people share, or None."""
    folded = BLANKS.sub(" ", text).casefold()
    grams = {
        size: {folded[i : i + size] for i in range(len(folded) - size + 1)}
        for size in (SHORTEST_IDENTIFIER, SHORTEST_STRING)
    }
    numbers = np.array(sorted(_numbers(text) - exempt))
    for frame in people.tables:
        names = _vocabulary() + " \n" + " \n".join(map(str, frame.columns)).casefold()
        persons = frame[people.person] if people.person in frame.columns else None
        for column in frame.columns:
            values = frame[column]
            if values.dtype == object:
                values = values.map(_hashable, na_action="ignore")
            shortest = SHORTEST_IDENTIFIER if column == people.person else SHORTEST_STRING
            if values.dtype.kind in "iuf":
                hit = np.isin(np.asarray(values, dtype=float), numbers)
                candidates = set(np.asarray(values[hit], dtype=float).tolist())
            else:

                @cache
                def held(spelling: str, shortest: int = shortest, names: str = names) -> bool:
                    return _held(spelling, folded, grams[shortest], shortest, names, numbers)

                candidates = {v for v in values.dropna().unique() if any(map(held, spellings(v)))}
            for value in candidates:
                rows = values == value
                count = int(rows.sum()) if persons is None else persons[rows].nunique()
                if count < min_cell:
                    return str(column)
    return None


def _hashable(value: Any) -> Any:
    return value if hasattr(value, "isoformat") else str(value)


def _held(value: str, folded: str, grams: set[str], shortest: int, names: str, numbers: Any) -> bool:
    """Whether the text holds the value as a word of its own, other than as one of `names`, or as one of `numbers`."""
    word = BLANKS.sub(" ", value.strip()).casefold()
    if len(word) < shortest or word[:shortest] not in grams:
        return False
    if word.replace(".", "").isdigit() and _is_number(word):
        return _digits(word) >= SIGNIFICANT_DIGITS and bool(np.isin(float(word), numbers))
    pattern = re.compile(r"(?<!\w)" + re.escape(word) + r"(?!\w)")
    return bool(pattern.search(folded)) and not pattern.search(names)


def _numbers(text: str) -> set[float]:
    """Numbers of five or more significant digits; a comma is read both as a decimal comma and as a separator."""
    numbers: set[float] = set()
    for token in NUMBER.findall(text):
        for spelling in (token.replace(",", ""), token.replace(",", ".")):
            if _is_number(spelling) and _digits(spelling) >= SIGNIFICANT_DIGITS:
                numbers.add(float(spelling))
                numbers.add(-float(spelling))
    return numbers


def _digits(token: str) -> int:
    mantissa = re.split("[eE]", token)[0].lstrip("+-")
    digits = mantissa.replace(".", "").lstrip("0")
    return len(digits if "." in mantissa else digits.rstrip("0"))


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


@cache
def _vocabulary() -> str:
    """The text of the testbed's own sources: a word that stands there says nothing about the data."""
    words: list[str] = []

    def read(folder: Any) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                read(entry)
            elif entry.name.endswith((".py", ".j2", ".css", ".yaml")):
                words.append(entry.read_text(encoding="utf-8"))

    read(resources.files("testbed"))
    return "\n".join(words).casefold()
