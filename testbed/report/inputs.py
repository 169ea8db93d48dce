"""What a result is about, for its report: files' names, sizes as bands, digests, and the command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.core.disclosure import People
from testbed.core.errors import DisclosureError
from testbed.data import fingerprints
from testbed.findings.assemble import size_band
from testbed.findings.proof import sealed
from testbed.findings.schema import Input, Result
from testbed.report import gate

RELEASED = "synthetic"
"""The role of the table that goes out. Its receiver can check its digest, because it is computed without a key."""
FEWEST_PUBLIC = 100
"""The fewest rows of a released table whose digest has no key: a smaller one could be found by trying."""
NO_TABLE = "not a table"
WITHHELD = "withheld: the name holds a value of a record"


@dataclass(frozen=True, slots=True)
class Given:
    """An input: a pandas table, or the path of another file; `name` is what the report calls it."""

    name: str
    content: Any

    @property
    def rows(self) -> int | None:
        return None if isinstance(self.content, Path) else len(self.content)


def proven(
    result: Result, given: Mapping[str, Given], people: People | None = None, command: str | None = None
) -> Result:
    """The result with the digests of its inputs, by role, and the command line; sealed again.

    Names and words of the command in which the disclosure gate finds a value of a record are withheld. Raises
    `UsageError` if the site's key is needed and cannot be used.
    """
    real = result.subject.data_class == "real"
    plain = {role for role, one in given.items() if not real or (role == RELEASED and (one.rows or 0) >= FEWEST_PUBLIC)}
    key = fingerprints.site_key() if set(given) - plain else None
    words = shlex.split(command or "")
    shown = _shown([*(one.name for one in given.values()), *words], result, people)
    inputs = [
        Input(
            role=role,
            name=one.name if one.name in shown else WITHHELD,
            rows=NO_TABLE if one.rows is None else size_band(one.rows),
            digest=digest(one, fingerprints.PUBLIC if key is None or role in plain else key),
            keyed=role not in plain,
        )
        for role, one in given.items()
    ]
    told = " ".join(shlex.quote(word) if word in shown else "…" for word in words) or None
    return sealed(result, command=told, inputs=inputs, key=key.name if key else None)


def of_scenario(params: Mapping[str, Any]) -> dict[str, Given]:
    """The user's own tables among a scenario's parameters, by role; data sets that the testbed ships are not listed."""
    from testbed.data import own_tables

    named = str(params.get("data") or "").split(",")
    paths = [name.strip() for name in named if own_tables.is_own(name.strip())]
    roles = ["data"] if len(paths) == 1 else [f"data {i}" for i in range(1, len(paths) + 1)]
    return {role: Given(Path(name).name, own_tables.load_table(name)) for role, name in zip(roles, paths, strict=True)}


def digest(given: Given, key: fingerprints.Key) -> str:
    """The digest of an input: of a table's rows in any order, of another file's bytes."""
    if isinstance(given.content, Path):
        return fingerprints.of_file(given.content, key)
    return fingerprints.of_table(given.content, key)


def _shown(texts: list[str], result: Result, people: People | None) -> set[str]:
    """Those of the texts in which the gate finds no value of a record."""
    if people is None or result.subject.data_class != "real":
        return set(texts)

    def harmless(*some: str) -> bool:
        try:
            gate.typed({"name": "\n".join(some)}, people, result.disclosure.min_cell)
        except DisclosureError:
            return False
        return True

    return set(texts) if harmless(*texts) else {text for text in texts if harmless(text)}
