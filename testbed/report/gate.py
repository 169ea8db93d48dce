"""The disclosure gate: it searches every artefact before it is written, and blocks it in case of doubt.

It blocks active content, external references and pictures of real data. For real data it also blocks any value of the
original or control table that fewer than `min_cell` people share: texts of six or more letters, codes of four or more
letters and digits, numbers of five or more digits, identifiers and dates, in whatever spelling (`values`, `searched`).
Exempt are the testbed's own words, column names, and facts of the run in their places; texts of users never are.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

from testbed.core.disclosure import MIN_CELL, People
from testbed.core.errors import DisclosureError
from testbed.findings.schema import Result
from testbed.report import values
from testbed.report.searched import Searched, layers

ACTIVE = re.compile(r"<\s*(script|iframe|object|embed|link|base|form)\b", re.IGNORECASE)
HANDLER = re.compile(r"javascript:|\bon\w+\s*=", re.IGNORECASE)
EXTERNAL = re.compile(
    r"\b(?:src|href|srcset|action|data|poster)\s*=\s*(?![\"']?(?:#|data:image/png;base64,))", re.IGNORECASE
)
STYLE = re.compile(r"url\(\s*[\"']?(?!#)|@import", re.IGNORECASE)
TAG = re.compile(r"<[^>]+>")
PICTURE = re.compile(r"(?<=data:image/png;base64,)[A-Za-z0-9+/=]*")
MARKUP = (".html", ".svg", ".xml")


def check(artefacts: Mapping[str, bytes], result: Result, people: People | None, min_cell: int = MIN_CELL) -> None:
    """Raises `DisclosureError` if an artefact may not be shared; it names the artefact and the column, never the value.

    `people` holds the tables of real people to search for; without them only active and external content is searched.
    """
    real = result.subject.data_class == "real"
    if real and result.disclosure.pictures:
        raise _blocked("result.json", "holds pictures of real data", PICTURED)
    if real and people is not None:
        typed(own_texts(result), people, min_cell)
    search(artefacts, people if real else None, min_cell, *exempt(result))


def exempt(result: Result) -> tuple[list[str], set[float]]:
    """Strings and numbers that are facts of the run, in which no value of a record is searched."""
    return _exempt(result), _exempt_numbers(result)


def typed(texts: Mapping[str, str], people: People, min_cell: int = MIN_CELL) -> None:
    """Raises `DisclosureError` if a text that a user typed tells of the people; it names the text by its key.

    It is cheap, so that names and options are looked at before the work.
    """
    if not _found(layers("\n".join(texts.values()), markup=False), people, min_cell, set(), own_text=True):
        return
    for name, text in texts.items():
        if column := _found(layers(text, markup=False), people, min_cell, set(), own_text=True):
            raise _blocked(name, _told(column, min_cell), f"Change the {name}: it may hold no value of a record.")


def search(
    artefacts: Mapping[str, bytes], people: People | None, min_cell: int, exempt: list[str], numbers: set[float]
) -> None:
    """Raises `DisclosureError` if an artefact holds active or external content, or tells of the people.

    `exempt` are strings, the longest first, and `numbers` are numbers that are facts of the run.
    """
    texts: dict[str, list[str]] = {}
    known = _pattern(exempt)
    for name, content in artefacts.items():
        text = content.decode("utf-8")
        if name.endswith((".html", ".svg")):
            # The base64 text of a picture may look like an event handler by chance: "/on...=".
            tags = [PICTURE.sub("", tag) for tag in TAG.findall(text)]
            if ACTIVE.search(text) or any(HANDLER.search(tag) for tag in tags):
                raise _blocked(name, "holds active content", REPORT_IT)
            if STYLE.search(text) or any(EXTERNAL.search(tag) for tag in tags):
                raise _blocked(name, "refers to something outside itself", REPORT_IT)
        if people is None:
            continue
        nodes = (known.sub(" ", node) if known else node for node in _nodes(name, text))
        texts[name] = [t for n in nodes for t in layers(n, name.endswith(MARKUP))]
    if people is None or not _found((t for each in texts.values() for t in each), people, min_cell, numbers):
        return
    for name, each in texts.items():
        if column := _found(iter(each), people, min_cell, numbers):
            raise _blocked(name, _told(column, min_cell), CHANGE)


def own_texts(result: Result) -> dict[str, str]:
    """The texts of a result that a user typed, by what they are; none of them is exempt."""
    run, subject, policy = result.run, result.subject, result.decision.policy
    texts = {"name (--name or the meta file)": subject.name, "licence in the meta file": subject.licence}
    if waivers := getattr(policy, "waivers", None):
        texts["policy's waivers"] = "\n".join(f"{w.name}\n{w.reason}" for w in waivers)
    texts["policy's id"] = getattr(policy, "id", "")
    texts["policy's basis"] = getattr(policy, "basis", None) or ""
    texts["scenario's name or question"] = f"{run.scenario}\n{run.question}"
    given = [run.params, *(f.attack.params for f in result.findings), *(d.params for d in result.defences)]
    texts["parameters of the run"] = "\n".join(str(v) for p in given for v in p.values() if isinstance(v, str))
    names = [*(f.attack.name for f in result.findings), *(d.name for d in result.defences)]
    texts["names of attacks and defences"] = "\n".join(dict.fromkeys(names))
    texts["units and notes of columns"] = "\n".join(t for c in subject.table for t in (c.unit or "", *c.notes) if t)
    return {name: text for name, text in texts.items() if text.strip()}


PICTURED = "Leave out the pictures: only public and synthetic data may be shown."
REPORT_IT = "Check that names and parameters hold no markup. If they hold none, please report a defect."
CHANGE = "Check that column names and parameters hold no values of records. If they hold none, please report a defect."
"""What to do about a refusal."""


def _told(column: str, min_cell: int) -> str:
    return f"holds a value of column {column!r} that fewer than {min_cell} people share"


def _found(
    texts: Iterator[str], people: People, min_cell: int, numbers: set[float], own_text: bool = False
) -> str | None:
    return values.rare(Searched.of(texts), people, min_cell, _known(people), numbers, own_text)


def _known(people: People) -> list[Searched]:
    """The words of the testbed and of the columns."""
    columns = dict.fromkeys(str(c) for frame in people.tables for c in frame.columns)
    return [_vocabulary(), Searched.of(columns, dated=False)]


def _nodes(name: str, text: str) -> Iterator[str]:
    """The texts of an artefact that stand by themselves: cells of a table, fields of JSON, or all of it."""
    if name.endswith(".csv"):
        yield from (cell for row in csv.reader(io.StringIO(text)) for cell in row)
        return
    if name.endswith((".json", ".sarif")):
        try:
            yield from _leaves(json.loads(text), name == "result.json")
        except (ValueError, RecursionError):
            yield text
        return
    yield text


def _leaves(value: Any, typed: bool) -> Iterator[str]:
    """The names and values of JSON; of a result no numbers, since its schema says what each of them is."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _leaves(inner, typed)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, typed)
    elif isinstance(value, str) or (not typed and isinstance(value, int | float)):
        yield str(value)


def _blocked(name: str, why: str, fix: str) -> DisclosureError:
    return DisclosureError(
        "TB-GATE-001",
        f"The disclosure gate stopped {name}: it {why}.",
        "Nothing was written: a shared file must not describe single people.",
        fix,
    )


def _exempt(result: Result) -> list[str]:
    """Strings that the testbed made (id, date, digests, versions), longest first: they are exempt."""
    run = result.run
    strings = [run.id, run.created, run.environment.python, run.environment.system, run.tool.version]
    strings += [f"{k} {v}" for k, v in run.environment.packages.items()]
    strings += [*run.environment.packages, *run.environment.packages.values()]
    policy = result.decision.policy
    strings += [policy.sha256] if hasattr(policy, "sha256") else []  # type: ignore[union-attr]
    strings += [result.subject.size_band]
    if proof := result.proof:
        digests = [proof.findings, proof.decision, proof.content, *(i.digest for i in proof.inputs)]
        strings += [proof.key or "", *digests, *(d[:16] for d in digests)]
    # The report prints the date without its time.
    strings += [run.created[:10]]
    return sorted({s for s in strings if len(s) >= 3}, key=len, reverse=True)


def _exempt_numbers(result: Result) -> set[float]:
    """All numbers of the result: its schema says what each is. Rates are shown in per cent too."""
    numbers: set[float] = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict | list):
            for inner in value.values() if isinstance(value, dict) else value:
                collect(inner)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers.update((abs(float(value)), float(f"{abs(100 * value):.4g}")))

    collect(result.dump())
    return numbers


def _pattern(exempt: list[str]) -> re.Pattern[str] | None:
    strings = "|".join(re.escape(s) for s in exempt)
    return re.compile(rf"(?<![\w.@])(?:{strings})(?![\w@]|\.\w)") if strings else None


@cache
def _vocabulary() -> Searched:
    """The text of the testbed's own sources: a word that stands there says nothing about the data."""
    words: list[str] = []

    def read(folder: Any) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                read(entry)
            elif entry.name.endswith((".py", ".j2", ".css", ".yaml", ".po")):
                words.extend(entry.read_text(encoding="utf-8").splitlines())

    read(resources.files("testbed"))
    return Searched.of(words, dated=False)
