# pyright: strict
"""A result in other tools' formats: one file a format, found by being here.

Such a file has `SUFFIX`, the end of the written file's name, and `export(result) -> bytes`. Equal results give equal
bytes. An export holds what the result holds, and nothing else. It may also have:

- `export(result, given)`, if it takes the form of a dossier, and `read_back(content)`, the form in a file of its own
- `searched(result) -> {name: bytes}`, the texts that the disclosure gate searches if the file itself is no text. If the
  file is a zip file, they are the files in it, which can also be written as a folder
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from testbed.core.errors import UsageError, perhaps

if TYPE_CHECKING:
    from testbed.findings.schema import Result
    from testbed.report.facts import Facts

MARK = b"leakage-testbed"
"""What every export holds: a file without it is not overwritten."""


def names() -> list[str]:
    """The names of all formats. Nothing is imported."""
    return sorted(_files())


def export(result: Result, name: str, given: Facts | None = None) -> bytes:
    """The result in this format.

    Raises `UsageError` if there is no such format, or if it has no place for the form that is given.
    """
    return cast("bytes", _called(_module(name).export, result, name, given))


def searched(result: Result, name: str, content: bytes, given: Facts | None = None) -> dict[str, bytes]:
    """The texts of an export by name, for the disclosure gate: the file itself, or what it is made of."""
    module = _module(name)
    if hasattr(module, "searched"):
        return cast("dict[str, bytes]", _called(module.searched, result, name, given))
    return {f"result{module.SUFFIX}": content}


def again(result: Result, name: str, content: bytes) -> bytes:
    """The export as this version makes it, with the form that stands in the file, to compare the file with."""
    module = _module(name)
    return export(result, name, module.read_back(content) if hasattr(module, "read_back") else None)


def suffix(name: str) -> str:
    """The end of a file's name in this format. Raises `UsageError` if there is no such format."""
    return cast("str", _module(name).SUFFIX)


def is_folder(target: Path, name: str) -> bool:
    """Whether `target` is to be a folder with the files of the format's zip file: its name does not end in .zip."""
    return suffix(name).endswith(".zip") and target.suffix.lower() != ".zip"


def writable(target: Path, name: str) -> None:
    """Raises `UsageError` unless an export may be written to `target`: its name ends as the format's names do, and it
    is new or holds an export. A folder must be new or empty: an earlier one may hold somebody's review."""
    if is_folder(target, name):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UsageError(
                "TB-EXPORT-005",
                f"{target.name} exists and is not an empty folder.",
                "It may hold the review of whoever checked an earlier export.",
                "Name a new folder with --out.",
            )
        return
    if not target.name.lower().endswith(suffix(name)):
        raise UsageError(
            "TB-EXPORT-002",
            f"A file of the format {name} ends in {suffix(name)}, but the name {target.name} does not.",
            "Other programs would read the file as something else.",
            f"End the name in {suffix(name)}.",
        )
    if target.exists() and (not target.is_file() or MARK not in target.read_bytes()):
        raise UsageError(
            "TB-EXPORT-003",
            f"{target.name} exists and is not an export of this testbed.",
            "It would be overwritten.",
            "Name another file with --out.",
        )


def _files() -> dict[str, str]:
    """The file of each format by the format's name."""
    return {m.name.rstrip("_").replace("_", "-"): m.name for m in pkgutil.iter_modules(__path__)}


def _called(function: Any, result: Result, name: str, given: Facts | None) -> Any:
    if given is None:
        return function(result)
    if len(inspect.signature(function).parameters) < 2:
        raise UsageError(
            "TB-EXPORT-004",
            f"The format {name} has no place for a form.",
            "Its answers would be left out.",
            "Leave out --facts, or export to dossier.",
        )
    return function(result, given)


def _module(name: str) -> Any:
    if name not in names():
        raise UsageError(
            "TB-EXPORT-001",
            f"There is no format {name!r}.",
            "A result is exported to one of the formats that exist.",
            perhaps(name, names()),
        )
    return importlib.import_module(f"{__name__}.{_files()[name]}")
