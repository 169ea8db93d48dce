"""The meta file of a user's table: kinds of columns, the person, secrets, links."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.core import settings
from testbed.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class MetaFile:
    """The contents of a meta file. `columns` maps a column's name to its kind (numeric, categorical, date, drop)."""

    person: str | None = None
    secrets: tuple[str, ...] = ()
    link: tuple[Any, ...] = ()
    """Each link is a text `a,b:c,d`, or two lists of names."""
    columns: dict[str, str] | None = None
    map: dict[str, dict[Any, Any]] | None = None
    """Values to be replaced in all tables, by column: `smoker: {Yes: 1, No: 0}`."""
    data_class: str | None = None
    licence: str = "not stated"
    name: str | None = None
    target: str | None = None
    """The column to predict. Like `site`, it is used by scenarios on the same table (`testbed.data.own_tables`)."""
    site: str | None = None
    encoding: str | None = None
    """The encoding of text files, such as cp1250, where it is neither UTF-8 nor UTF-16."""

    @staticmethod
    def read(path: Path) -> MetaFile:
        """The meta file at a path. Raises `UsageError` if it cannot be read or says anything else."""
        bad = UsageError(
            "TB-DATA-062",
            "The meta file cannot be used.",
            f"It must be YAML with some of: {', '.join(MetaFile.__dataclass_fields__)}.",
            "See docs/evaluate.md for an example.",
        )
        try:
            given: Any = settings.load(path)
        except settings.SettingsError as error:
            raise UsageError(bad.id, bad.what, f"{error} {bad.why}", bad.fix) from None
        if not isinstance(given, dict) or set(given) - set(MetaFile.__dataclass_fields__):
            raise bad
        for key in ("secrets", "link"):
            if key in given:
                given[key] = tuple(given[key]) if isinstance(given[key], list) else (given[key],)
                if not all(isinstance(v, str) or (key == "link" and _two_lists(v)) for v in given[key]):
                    raise bad
        columns = given.get("columns") or {}
        maps = given.get("map") or {}
        if not isinstance(maps, dict) or not all(isinstance(k, str) and isinstance(v, dict) for k, v in maps.items()):
            raise bad
        if any(isinstance(v, dict | list) for own in maps.values() for v in own.values()):
            raise bad
        one = ("person", "data_class", "licence", "name", "target", "site", "encoding")
        texts = [given[k] for k in one if given.get(k) is not None]
        if not isinstance(columns, dict) or not all(isinstance(v, str) for v in [*texts, *columns, *columns.values()]):
            raise bad
        return MetaFile(**given)


def _two_lists(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(s, list) and all(isinstance(n, str) for n in s) for s in value)
